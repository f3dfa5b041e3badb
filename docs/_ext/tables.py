"""Tables of the documentation, made of files that programs wrote: no figure is typed where it is read.

``python docs/_ext/tables.py`` puts them into README.md and the pages, between ``<!-- table NAME -->`` and
``<!-- end of table -->``; a test fails where one is not what its file says. The files are
``accuracy.csv`` (`benchmarks/accuracy.py --out`), ``time.csv`` (`benchmarks/time.py --out`), ``ranking.csv``
(`benchmarks/ranking.py --out`), ``uncertainty.csv`` (`benchmarks/uncertainty.py --out`), ``growth.csv``
(`benchmarks/growth.py --out`), ``cluster.csv`` (`benchmarks/dask_cluster.py cluster`) and ``speed.csv``, kept by hand: what
the programs that it names printed. The public names of modules, on the page of the reference, are put there in the same way.
"""

from __future__ import annotations

import csv
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path

DOCS = Path(__file__).parents[1]
FILES = [
    *(DOCS.parent / name for name in ("README.md", "benchmarks/README.md")),
    *(DOCS / name for name in ("accuracy.md", "speed.md", "reference.md", "cluster.md")),
]
MARKED = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

HUNDRED, SMALL = "ml-100k, u1 to u5", "ml-latest-small, 90/10, 3 seeds"
ALL_TIME, OWN_TIME = "ml-100k, last fifth by time", "ml-100k, own last fifth"
ERRORS = {  # what a table calls a model, and what the file does
    "Surprise 1.1.5, baseline": "surprise-baseline, k = 20",
    "`BiasALS()`": "BiasALS()",
    "LensKit 2026.4.0, biased MF": "lenskit-biasedmf, k = 20",
    "Surprise, SVD": "surprise-svd, k = 20",
    "skrecsys 0.9.0, ALS": "skrecsys-als, k = 20",
    "cmfrec 3.5.1": "cmfrec, k = 20",
    "`FactorALS(implicit_features=None)`": "FactorALS(20, implicit_features=None)",
    "cmfrec, implicit features": "cmfrec-implicit, k = 20",
    "the same, retuned for latest-small": "cmfrec-implicit, retuned",
    "SMURFF 1.1, BPMF, 200 draws": "smurff-bpmf, k = 20",
    "myFM 0.5.0, Gibbs, 200 draws": "myfm, k = 20",
    "SMURFF, Macau with rated-item sets of both sides": "smurff-macau, k = 20",
    "myFM, with implicit features on both sides": "myfm-svdpp, k = 20",
    "**`FactorALS()`**": "FactorALS(20)",
    "`FactorALS(40)`": "FactorALS(40)",
    "`BayesALS(implicit_features=None)`, 200 draws": "BayesALS(implicit_features=None)",
    "`BayesALS()`, 200 draws": "BayesALS()",
    '`BayesALS(likelihood="ordinal", implicit_features=None)`': "BayesALS(likelihood='ordinal', implicit_features=None)",
    '`BayesALS(likelihood="ordinal")`': "BayesALS(likelihood='ordinal')",
}
LISTS = {
    "popularity": "popularity",
    '`FactorALS()`, highest predictions (`strategy="mean"`)': 'FactorALS(), strategy="mean"',
    "the same, best of `min_ratings` and strategies": "the same, best of min_ratings and strategies",
    "the same plus c log(1 + count)": "FactorALS(), predicted + c log(1 + count)",
    "`FactorALS()`, its default lists": "FactorALS()",
    "`RankALS()`, the first by predicted rating": "RankALS(), then order by FactorALS()",
    "**`RankALS()`**": "RankALS()",
    "`RankALS(40)`": "RankALS(40)",
    "EASE on pairs": "EASE on pairs",
    "EASE on ratings - 2": "EASE on ratings - 2",
    "implicit, ALS on pairs": "implicit, ALS on pairs",
    "implicit, ALS on ratings - 2": "implicit, ALS on ratings - 2",
    "skrecsys, ItemKNN on pairs": "skrecsys, ItemKNN on pairs",
    "LensKit, ImplicitMF on pairs": "LensKit, ImplicitMF on pairs",
}


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows of a table in this folder."""
    with open(DOCS / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def errors_of(model: str, of: str, part: int | None = None) -> str:
    """Return the test RMSE of a model on a set, or of one of its parts; nothing where it was not measured."""
    for row in rows_of("accuracy.csv"):
        if (row["set"], row["model"]) == (of, model):
            return row["rmse"] if part is None else "".join(row["parts"].split()[part : part + 1])
    return ""


def listed(model: str, of: str, split: str, relevant: str, measure: str, digits: int = 3) -> str:
    """Return a measure of a model's lists, rounded."""
    for row in rows_of("ranking.csv"):
        if (row["set"], row["split"], row["relevant"], row["model"]) == (of, split, relevant, model):
            return f"{float(row[measure]):.{digits}f}"
    return ""


def errors() -> str:
    """Return the test RMSE of all models on random splits."""
    return table(
        ["", "MovieLens 100k, u1 to u5", "u1", "latest-small, 90/10, 3 seeds"],
        [[label, errors_of(m, HUNDRED), errors_of(m, HUNDRED, 0), errors_of(m, SMALL)] for label, m in ERRORS.items()],
    )


def errors_with_features() -> str:
    """Return the test RMSE of models that are told features."""
    models = {
        "`FactorALS()`": "FactorALS(20) with features",
        "`FactorALS(40)`": "FactorALS(40) with features",
        "`BayesALS()`": "BayesALS() with features",
        '`BayesALS(likelihood="ordinal")`': "BayesALS(likelihood='ordinal') with features",
    }
    return table(
        ["", "ml-100k, u1 to u5", "u1", "latest-small"],
        [[label, errors_of(m, HUNDRED), errors_of(m, HUNDRED, 0), errors_of(m, SMALL)] for label, m in models.items()],
    )


def errors_by_time() -> str:
    """Return the test RMSE of splits by time."""
    models = {
        "`BiasALS()`": "BiasALS()",
        "`FactorALS(implicit_features=None)`": "FactorALS(20, implicit_features=None)",
        "`FactorALS()`": "FactorALS(20)",
        "`FactorALS()` with features": "FactorALS(20) with features",
    }
    return table(
        ["", "last fifth of all", "own last fifth"],
        [[label, errors_of(m, ALL_TIME), errors_of(m, OWN_TIME)] for label, m in models.items()],
    )


def errors_with_time() -> str:
    """Return the test RMSE of models with offsets of time, at random and by time."""
    found = {(row["set"], row["model"]): row for row in rows_of("time.csv")}
    small_all, small_own = "ml-latest-small, last fifth by time", "ml-latest-small, own last fifth"

    def cell(of: str, model: str) -> str:
        row = found.get((of, model))
        if row is None:
            return ""
        return row["rmse"] if "time=" not in model else f"{row['rmse']} ({row['without']})"

    rows = []
    for label, kind, told in (
        ("`FactorALS(%s)`", "FactorALS(20%s)", ""),
        ("`FactorALS(%s)` with features", "FactorALS(20%s) with features", ""),
        ("`FactorALS(40%s)` with features", "FactorALS(40%s) with features", ", "),
        ("`BayesALS(%s)`", "BayesALS(%s)", ""),
    ):
        for time in ("", "day", "session"):
            ours = f'{told}time="{time}"' if time else ""
            separator = "" if "(%s" in kind else ", "
            model = kind % (f"{separator}time={time}" if time else "")
            sets = (HUNDRED, SMALL, OWN_TIME, small_own, ALL_TIME, small_all)
            u1 = found.get((HUNDRED, model), {"parts": ""})["parts"].split()[:1]
            cells = [cell(of, model) for of in sets]
            rows.append([label % ours, cells[0], "".join(u1), *cells[1:]])
    return table(
        ["", "ML-100k, u1 to u5", "u1", "latest-small", "own last fifth, ML-100k", "latest-small", "last fifth of all, ML-100k",
         "latest-small"],
        rows,
    )  # fmt: skip


def uncertainty() -> str:
    """Return what intervals hold of test ratings, and how likely these are."""
    head = ["", "50 %", "80 %", "90 %", "95 %", "NLL", "of one deviation", "correlation"]
    rows = []
    for row in rows_of("uncertainty.csv"):
        shares = [f"{100 * float(row[f'in {level}%']):.1f}" for level in (50, 80, 90, 95)]
        constant = f"{float(row['const']):.3f}" if row["const"] else ""
        of, call = row["set"].split(",")[0].replace("ml-latest", "latest"), row["model"]
        rows.append(
            [
                f"{of}, `{call if call.endswith(')') else f'{call}()'}`",
                *shares,
                f"{float(row['NLL']):.3f}",
                constant,
                f"{float(row['rho']):.2f}",
            ]
        )
    return table(head, rows)


def probabilities() -> str:
    """Return how far the probabilities of rating steps are from the shares of test ratings."""
    head = ["", "largest of each step, points", "by chance", "beyond two deviations", "root mean square", "by chance", "left",
            "log probability"]  # fmt: skip
    names = ("largest", "by chance", "beyond", "rms", "noise", "left", "log probability")
    found = [row for row in rows_of("uncertainty.csv") if row["largest"]]
    return table(head, [[row["set"].split(", ")[0], *(row[name] for name in names)] for row in found])


def lists_by_time() -> str:
    """Return the measures of lists where each user's last ratings are held out."""
    names = ["recall@10", "hit_rate@10", "map@10", "coverage@10", "novelty@10", "recall@100"]
    rows = []
    for label, m in LISTS.items():
        ndcg = [
            f"{listed(m, of, 'time', 'liked', 'ndcg@10')} / {listed(m, of, 'time', 'any', 'ndcg@10')}"
            for of in ("ml-100k", "latest-small")
        ]
        others = [listed(m, "ml-100k", "time", "liked", name, 2 if "novelty" in name else 3) for name in names]
        rows.append([label, *ndcg, *others])
    return table(
        ["last fifth of each user", "ML-100k, NDCG@10 liked / any", "latest-small", "ML-100k, recall@10", "hit rate@10",
         "MAP@10", "coverage@10", "novelty@10", "recall@100"],
        rows,
    )  # fmt: skip


def lists_of_new_users() -> str:
    """Return the measures of lists for users who were not in the fit."""
    rows = []
    for label, m in LISTS.items():
        ndcg = [
            f"{listed(m, of, 'users', 'liked', 'ndcg@10')} / {listed(m, of, 'users', 'any', 'ndcg@10')}"
            for of in ("ml-100k", "latest-small")
        ]
        rows.append(
            [label, *ndcg, *(listed(m, "ml-100k", "users", "liked", name) for name in ("recall@10", "recall@100"))]
        )
    return table(
        ["new users", "ML-100k, NDCG@10 liked / any", "latest-small", "ML-100k, recall@10", "recall@100"], rows
    )


def in_short() -> str:
    """Return README's table: errors and lists side by side, of several settings the best."""

    def best(models: str, of: str) -> str:
        found = [float(x) for model in models.split(";") if (x := errors_of(model, of))]
        return f"{min(found):.3f}" if found else ""

    def row(label: str, errors: str, lists: str) -> list[str]:
        return [
            label,
            *(best(errors, of) for of in (HUNDRED, SMALL)),
            *(listed(lists, of, "time", "liked", "ndcg@10") for of in ("ml-100k", "latest-small")),
        ]

    return table(
        ["", "error, ML-100k", "error, latest-small", "lists, ML-100k", "lists, latest-small"],
        [
            row("`BiasALS()`, or for lists what is popular", "BiasALS()", "popularity"),
            row("Surprise, SVD", "surprise-svd, k = 20", ""),
            row(
                "LensKit, biased MF; for lists implicit MF", "lenskit-biasedmf, k = 20", "LensKit, ImplicitMF on pairs"
            ),
            row("cmfrec", "cmfrec, k = 20;cmfrec-implicit, k = 20;cmfrec-implicit, retuned", ""),
            row("implicit, ALS on ratings", "", "implicit, ALS on ratings - 2"),
            row("EASE on ratings", "", "EASE on ratings - 2"),
            row("myFM, 200 draws", "myfm-svdpp, k = 20", ""),
            row("**`FactorALS()`**", "FactorALS(20)", "FactorALS()"),
            row("the same with features of films and users", "FactorALS(20) with features", ""),
            row("**`RankALS()`**, for lists alone", "", "RankALS()"),
        ],
    )


def speed(*, in_readme: bool) -> str:
    """Return what takes how long beside others: for README in short, for the benchmarks with the programs."""
    rows = rows_of("speed.csv")
    if in_readme:
        return table(
            ["", "alsx", "beside"], [[row["what"], row["alsx"], row["beside"]] for row in rows if row["in_readme"]]
        )
    return table(
        ["", "program", "alsx", "beside"],
        [[row["what"], f"`{row['program']}`", row["alsx"], row["beside"]] for row in rows],
    )


def growth() -> str:
    """Return how seconds and memory grow with the number of ratings and with the rank."""
    rows = sorted(rows_of("growth.csv"), key=lambda row: (int(row["ratings"]), int(row["k"]), int(row["threads"])))
    return table(
        ["ratings", "users and items", "k", "threads", "seconds an iteration", "MB beside the matrix"],
        [
            [f"{int(row['ratings']):,}", f"{int(row['rows']):,}", row["k"], row["threads"],
             f"{float(row['seconds']):.3g}", f"{int(row['bytes']) / 1e6:.0f}"]
            for row in rows
        ],
    )  # fmt: skip


def cluster() -> str:
    """Return what a fit on two processes took, beside the estimate."""
    found = {row["figure"]: float(row["value"]) for row in rows_of("cluster.csv")}
    what = f"{found['ratings']:,.0f} ratings, {found['users']:,.0f} users, {found['items']:,.0f} items, k = {found['k']:.0f}"
    names = {"memory of a worker beyond what its imports take": ("peak_gb", "peak_estimate_gb"),
             "rows of tables sent in an iteration": ("planned_gb", "traffic_estimate_gb")}  # fmt: skip
    rows = [[name, *(f"{found[x]:.2g} GB" for x in own)] for name, own in names.items()]
    moved = f"all that workers sent each other, Dask's own moving of work among it: {found['moved_gb']:.2g} GB"
    return table([f"{what}; two processes", "measured", "estimated"], [*rows, [moved, "", ""]])


def public_names(module: str) -> str:
    """Return what makes a page for each public function and class of a module, functions first."""
    found = importlib.import_module(module)
    blocks = ["```{eval-rst}", f".. automodule:: {module}", "   :no-members:", ""]
    for classes in (False, True):
        names = [name for name in found.__all__ if inspect.isclass(getattr(found, name)) is classes]
        if names:
            blocks += [".. autosummary::", "   :toctree: generated"]
            blocks += ["   :template: class.rst"] * classes
            blocks += ["   :nosignatures:", "", *(f"   {name}" for name in names), ""]
    return "\n".join([*blocks[:-1], "```"]) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "errors": errors,
    "errors-with-features": errors_with_features,
    "errors-by-time": errors_by_time,
    "errors-with-time": errors_with_time,
    "uncertainty": uncertainty,
    "probabilities": probabilities,
    "lists-by-time": lists_by_time,
    "lists-of-new-users": lists_of_new_users,
    "in-short": in_short,
    "speed": functools.partial(speed, in_readme=False),
    "speed-in-short": functools.partial(speed, in_readme=True),
    "growth": growth,
    "cluster": cluster,
    **{
        f"names-{module}": functools.partial(public_names, f"alsx.{module}")
        for module in ("model_selection", "metrics", "datasets", "plot", "explorer")
    },
}


def written(text: str) -> str:
    """Return a text with its tables as the files say them."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


if __name__ == "__main__":
    for file in FILES:
        file.write_text(written(file.read_text(encoding="utf-8")), encoding="utf-8")
