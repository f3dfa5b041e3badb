"""The commands on saved models, and what `fit` takes besides ratings: driven as processes, and within this one."""

import csv
import io
import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_commands import ROOT, command, fails, run  # noqa: F401

import alsx
from alsx.datasets import load_demo


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model of the demo with titles, saved by the command line."""
    folder = tmp_path_factory.mktemp("saved")
    run("-m", "alsx", "fit", "demo", "--k=4", "--iterations=4", "--model=m.npz", folder=folder)
    return folder / "m.npz"


def parsed(out, form):
    """Records of JSON or CSV."""
    return json.loads(out) if form == "json" else list(csv.DictReader(io.StringIO(out)))


def test_the_console_script(saved, tmp_path):
    """`alsx` runs what ``python -m alsx`` runs, under its own name."""
    scripts = {entry.name: entry.value for entry in metadata.entry_points(group="console_scripts")}
    if (ROOT / "pyproject.toml").exists():
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert project["scripts"] == {"alsx": "alsx.__main__:main"}
    assert scripts.get("alsx", "alsx.__main__:main") == "alsx.__main__:main"
    script = tmp_path / "alsx"
    script.write_text("import sys\nfrom alsx.__main__ import main\nsys.exit(main())\n")
    out = run(script, folder=tmp_path).stdout
    assert "alsx COMMAND --help explains one" in out
    assert "python -m alsx COMMAND" not in out
    out = run(script, "recommend", saved, "5", "--n=2", "--json", folder=tmp_path)
    assert len(json.loads(out.stdout)) == 2
    assert run(script, "recommend", "none.npz", "5", folder=tmp_path, code=2).stderr.count("\n") == 1


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_lists_in_every_form(saved, command, form):  # noqa: F811
    model = alsx.load(saved)
    out = command("alsx", "recommend", saved, 5, "--n=4", f"--format={form}", "--min-ratings=5").out
    ids, _ = model.recommend(5, 4, min_ratings=5)
    titles = load_demo().titles(ids, years=True)
    if form == "table":
        lines = out.splitlines()
        assert lines[0].split() == ["rank", "item", "predicted", "ratings", "title"]
        assert [line.split()[1] for line in lines[2:]] == [str(x) for x in ids]
        for line, title in zip(lines[2:], titles, strict=True):
            assert line.endswith(title)
        return
    records = parsed(out, form)
    assert [int(record["item"]) for record in records] == ids.tolist()
    assert [record["title"] for record in records] == titles
    np.testing.assert_allclose([float(x["predicted"]) for x in records], model.predict(5, ids))


def test_filters_and_somebody_new(saved, command):  # noqa: F811
    model = alsx.load(saved)
    out = json.loads(command("alsx", "recommend", saved, 5, "--candidates=1,2,3,4,5,6", "--exclude=2", "--json").out)
    expected = model.recommend(5, candidates=[1, 2, 3, 4, 5, 6], exclude=[2], as_frame="arrow")["item"].to_pylist()
    assert [record["item"] for record in out] == expected
    out = json.loads(command("alsx", "recommend", saved, "--rated=1:5,7:2.5", "--n=3", "--json").out)
    assert [record["item"] for record in out] == model.recommend(ratings={1: 5.0, 7: 2.5}, n=3)[0].tolist()
    somebody = model.fold_in([(9999, 1), (9999, 7)], [5.0, 2.5])
    for record in out:
        assert record["predicted"] == pytest.approx(somebody.predict(9999, record["item"]), abs=1e-5)
    out = json.loads(command("alsx", "recommend", saved, 5, "--strategy=lower", "--n=3", "--json").out)
    assert [record["item"] for record in out] == model.recommend(5, 3, strategy="lower")[0].tolist()
    rated = model.item_ids_[model._seen.indices[slice(*model._seen.indptr[4:6])]][:1]
    assert command("alsx", "recommend", saved, 5, f"--candidates={rated[0]}").out == "No item is left to recommend.\n"
    assert json.loads(command("alsx", "recommend", saved, 5, f"--candidates={rated[0]}", "--json").out) == []


def test_lists_of_all_users_are_a_file(saved, tmp_path):
    out = run("-m", "alsx", "recommend", saved, "--out=all.parquet", "--n=3", folder=tmp_path)
    assert "all.parquet" in out.stdout
    assert pq.read_table(tmp_path / "all.parquet").equals(alsx.load(saved).recommend_all(n=3))


def test_similar_users_and_items(saved, command):  # noqa: F811
    model = alsx.load(saved)
    out = json.loads(command("alsx", "similar", saved, 7, "--n=3", "--users", "--json").out)
    assert [record["user"] for record in out] == model.similar_users(7, 3)[0].tolist()
    out = parsed(command("alsx", "similar", saved, 7, "--n=3", "--format=csv").out, "csv")
    assert [int(record["item"]) for record in out] == model.similar_items(7, 3)[0].tolist()


def test_explanations_add_up(saved, command):  # noqa: F811
    model = alsx.load(saved)
    for form in ("json", "csv"):
        records = parsed(command("alsx", "explain", saved, 5, 7, "--n=3", f"--format={form}").out, form)
        assert records[-1]["part"] == "predicted"
        parts = [float(record["contribution"]) for record in records]
        assert sum(parts[:-1]) == pytest.approx(parts[-1], abs=1e-4)
        assert parts[-1] == pytest.approx(model.predict(5, 7, clip=False), abs=1e-6)
    table = command("alsx", "explain", saved, 5, 7, "--n=3").out.splitlines()
    assert table[0].split() == ["part", "item", "rating", "contribution", "what"]
    assert load_demo().titles([7], years=True)[0] in "\n".join(table)


def test_vectors_and_pictures_are_files(saved, tmp_path):
    run("-m", "alsx", "export", saved, "--out=items.parquet", folder=tmp_path)
    run("-m", "alsx", "export", saved, "--out=users.parquet", "--side=user", folder=tmp_path)
    model = alsx.load(saved)
    assert pq.read_table(tmp_path / "items.parquet").equals(model.to_arrow())
    assert pq.read_table(tmp_path / "users.parquet").equals(model.to_arrow("user"))
    run("-m", "alsx", "plot", saved, "--kind=history", "--out=h.png", folder=tmp_path)
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    run("-m", "alsx", "plot", saved, "--kind=factors", "--out=f.png", "--min-ratings=1", folder=tmp_path)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    run("-m", "alsx", "plot", saved, "--min-ratings=1", folder=tmp_path)
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_kinds_of_models_and_features_from_files(tmp_path, command):  # noqa: F811
    rng = np.random.default_rng(0)
    cells = rng.choice(40 * 30, 400, replace=False)
    lines = [f"{x // 30},{x % 30},{rng.integers(1, 6)}" for x in cells]
    (tmp_path / "r.csv").write_text("\n".join(["user,item,rating", *lines]))
    (tmp_path / "items.csv").write_text(
        "\n".join(["item,kind,title", *(f"{x},{'ab'[x % 2]},Film {x}" for x in range(33))])
    )
    (tmp_path / "kinds.csv").write_text("\n".join(["item,kind", *(f"{x},{'ab'[x % 2]}" for x in range(33))]))
    (tmp_path / "users.csv").write_text("\n".join(["user,age", *(f"{x},{20 + x}" for x in range(40))]))
    command("alsx", "fit", "r.csv", "--k=2", "--iterations=2", "--item-features=kinds.csv", "--user-features=users.csv",
            "--titles=items.csv", "--model=f.npz")  # fmt: skip
    model = alsx.load(tmp_path / "f.npz")
    assert len(model.item_ids_) == 33
    assert {*model.feature_effects_["feature"].to_pylist()} == {"kind=a", "kind=b", "age", "intercept"}
    assert "Film" in command("alsx", "recommend", "f.npz", 3).out
    for kind, name in (("bias", "BiasALS"), ("bayes", "BayesALS"), ("FactorALS", "FactorALS")):
        out = command(
            "alsx", "fit", "r.csv", f"--model-kind={kind}", "--k=2", "--iterations=3", f"--model={kind}.npz"
        ).out
        assert name in out
        assert type(alsx.load(tmp_path / f"{kind}.npz")).__name__ == name
    assert alsx.load(tmp_path / "bayes.npz").n_samples == 3


def test_lists_are_measured(saved, command):  # noqa: F811
    out = json.loads(
        command("alsx", "evaluate", saved, "demo", "--lists=ndcg,recall", "--n=5", "--min-rating=4", "--json").out
    )
    scores = alsx.metrics.evaluate(alsx.load(saved), load_demo().ratings, 5, metrics=("ndcg", "recall"), min_rating=4.0)
    assert {name: out[0][name] for name in ("ndcg@5", "recall@5")} == {name: float(x) for name, x in scores.items()}
    out = command("alsx", "evaluate", saved, "demo", "--lists=goodness", code=2).err
    assert "goodness" in out.splitlines()[-1]


def test_a_model_that_ranks(tmp_path, command):  # noqa: F811
    command("alsx", "fit", "demo", "--model-kind=rank", "--k=4", "--iterations=2", "--model=r.npz")
    model = alsx.load(tmp_path / "r.npz")
    assert type(model) is alsx.RankALS
    out = json.loads(command("alsx", "evaluate", "r.npz", "demo", "--n=5", "--json").out)[0]
    assert "RMSE" not in out
    assert 0 <= out["ndcg@5"] <= 1
    out = json.loads(command("alsx", "recommend", "r.npz", 5, "--n=3", "--json").out)
    np.testing.assert_allclose([record["score"] for record in out], model.recommend(5, 3)[1])
    records = json.loads(command("alsx", "explain", "r.npz", 5, 7, "--json").out)
    assert "missing pairs" in [record["part"] for record in records]
    assert sum(x["contribution"] for x in records[:-1]) == pytest.approx(records[-1]["contribution"], abs=1e-4)


def test_tuning(tmp_path, command):  # noqa: F811
    pytest.importorskip("alsx.model_selection")
    out = command(
        "alsx", "tune", "demo", "--k=2,4", "--reg=1.3,5.0", "--iterations=4", "--json", "--model=best.npz"
    ).out
    records = json.loads(out)
    assert records[0]["score"] == min(record["score"] for record in records)
    model = alsx.load(tmp_path / "best.npz")
    assert (model.k, model.reg) == (records[0]["k"], records[0]["reg"])
    assert "score" in command("alsx", "tune", "demo", "--k=2", "--reg=2", "--iterations=2").out


def test_failures(saved, tmp_path, command, fails):  # noqa: F811
    (tmp_path / "text.csv").write_bytes(b"item\n1\n\xff\xfe,3,4\n")
    command("alsx", "fit", "demo", "--k=0", "--model=bias.npz")
    for words, says in (
        (["recommend", saved], ["user is missing", "--rated", "--out"]),
        (["recommend", saved, 5, "--format=xml"], ["--format is xml"]),
        (["recommend", saved, 5, "--candidates=1,99999"], ["item 99999", "unknown", "nearest"]),
        (["recommend", saved, "--rated=1-5"], ["--rated has '1-5'"]),
        (["recommend", saved, 5, "--out=x.parquet"], ["--out is x.parquet", "leave user out"]),
        (["recommend", saved, "--out=no/x.parquet"], ["--out is no/x.parquet", "there is no folder no"]),
        (["recommend", saved, 5, "--strategy=best"], ["--strategy is 'best'"]),
        (["recommend", saved, 77777], ["user 77777", "nearest"]),
        (["explain", saved, 5, 99999], ["item 99999", "nearest"]),
        (["explain", saved, 5, 7, "--n=-1"], ["--n is -1"]),
        (["export", saved, "--out=x.parquet", "--side=films"], ["--side is 'films'"]),
        (["plot", "bias.npz"], ["BiasALS", "no factors to draw"]),
        (["plot", saved, "--kind=pie"], ["--kind is pie"]),
        (["similar", saved, 7, "--users=yes"], ["--users is 'yes'"]),
        (["fit", "demo", "--model-kind=svd"], ["--model-kind is svd", "bayes, bias, factor"]),
        (["fit", "demo", "--model-kind=bias", "--item-features=text.csv"], ["item-features"]),
        (["fit", "demo", "--model-kind=bayes", "--reg=2"], ["--reg is 2", "BayesALS"]),
        (["fit", "demo", "--time=week"], ["time is 'week'", "session"]),
        (["fit", "demo", "--model-kind=rank", "--time=day"], ["--time is day", "RankALS"]),
        (["fit", "demo", "--user-features=none.csv"], ["--user-features is none.csv", "no such file"]),
        (["fit", "demo", "--titles=none.csv"], ["--titles is none.csv"]),
        (["tune", "demo", "--k=-1"], ["k is -1"]),
    ):
        fails("alsx", *words, says=says)


def test_an_interrupt_of_lists_of_all_users(saved, tmp_path):
    """Exit code 130, one line, no traceback, no file."""
    code = (
        "import sys, os, signal\n"
        "from alsx._models.recommendations import Recommendations\n"
        "def stop(self, *args): os.kill(os.getpid(), signal.SIGINT)\n"
        "Recommendations._lists = stop\n"
        "from alsx.__main__ import main\n"
        "main()\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, "recommend", str(saved), "--out=all.parquet"], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert out.returncode == 130
    assert out.stderr.strip().endswith("interrupted")
    assert "Traceback" not in out.stderr
    assert list(Path(tmp_path).iterdir()) == []
