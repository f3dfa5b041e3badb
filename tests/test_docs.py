"""The documentation: code blocks run, tables are what programs wrote, links go somewhere, pages of estimators are there."""

import ast
import csv
import doctest
import importlib.util
import io
import re
import shlex
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest

import alsx

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
if not (DOCS / "conf.py").exists():
    pytest.skip("the tests were copied without docs", allow_module_level=True)

PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"_build", "gallery", "generated"} & set(path.parts))
FENCE = re.compile(r"^( *)(`{3,})([^\n]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page):
    """The code blocks of a page: kind (such as "python"), options (":name: value") and text."""
    for _, _, kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
        options = dict(re.findall(r"^:(\w+): *(.*)$", text, re.MULTILINE))
        yield kind.strip(), options, re.sub(r"^:\w+:.*\n", "", text, flags=re.MULTILINE).strip("\n") + "\n"


def without_fences(text):
    """The text of a page whose blocks end with an empty line, which ends the output that is expected."""
    return re.sub(r"^ *(`{3,}|:{3,}).*$", "", text, flags=re.MULTILINE)


def name(page):
    return page.relative_to(DOCS).with_suffix("").as_posix()


def test_every_block_is_of_a_kind_that_is_checked():
    known = {"python", "sh", "text", "", "{eval-rst}", "{toctree}", "{raw} html", "{code-block} python"}
    known |= {"{literalinclude} ../LICENSE"}
    for page in PAGES:
        for kind, options, text in blocks(page):
            assert kind in known, f"{name(page)}: {kind}"
            if kind == "python":
                assert text.startswith(">>> "), f"{name(page)} has a block of Python that is not run: {text}"
            if kind == "{code-block} python":
                assert options["class"] == "peer", f"{name(page)}: only calls of other libraries are not examples"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a page's code runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


CODE = [page for page in PAGES if ">>> " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", CODE, ids=name)
def test_the_code_of_a_page_runs(page, folder, monkeypatch):
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    if name(page) in NEEDS:
        NEEDS[name(page)](folder)
    text = without_fences(page.read_text(encoding="utf-8"))
    test = doctest.DocTestParser().get_doctest(text, {}, name(page), str(page), 0)
    failed, tried = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    assert tried > 1
    assert failed == 0
    # Commands come after what Python has written.
    for kind, _, text in blocks(page):
        if kind == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                run_command(line.strip(), folder, monkeypatch)


def run_command(line, folder, monkeypatch):
    """Run a line of a shell block that is ours; others (pip) are only read."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["alsx"]:
        from alsx.__main__ import main

        monkeypatch.setattr(sys, "argv", words)
        code = None
        try:
            main()
        except SystemExit as end:
            code = end.code
        assert not code, line
    elif words[:2] == ["python", "-m"]:
        out = subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
        assert out.returncode == 0, f"{line}\n{out.stderr}"
    else:
        assert not words or words[0] == "pip", line


def small_ml32m(folder):
    """An archive of MovieLens 32M's layout, with the ratings of the demo set."""
    demo = alsx.datasets.load_demo()
    films, users, items = demo.items["item"].to_pylist(), demo.table["user"].to_pylist(), demo.table["item"].to_pylist()
    genres = ["|".join(one) for one in demo.items["genres"].to_pylist()]
    columns = [demo.table[column].to_pylist() for column in ("user", "item", "rating", "timestamp")]
    tables = {
        "ratings": (("userId", "movieId", "rating", "timestamp"), zip(*columns, strict=True)),
        "movies": (("movieId", "title", "genres"), zip(films, demo.titles(films, years=True), genres, strict=True)),
        "tags": (("userId", "movieId", "tag", "timestamp"), [(users[0], items[0], "classic", 1)]),
        "links": (("movieId", "imdbId", "tmdbId"), ((film, f"{1000000 + film}", film) for film in films)),
    }
    with zipfile.ZipFile(folder / "ml-32m.zip", "w") as archive:
        for file, (header, rows) in tables.items():
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([header, *rows])
            archive.writestr(f"ml-32m/{file}.csv", text.getvalue())


def folder_of_ratings(folder):
    """Files of ratings in a folder."""
    import pyarrow.csv

    (folder / "ratings").mkdir()
    table = alsx.datasets.load_demo().table.select(["user", "item", "rating"])
    for part in range(2):
        pyarrow.csv.write_csv(table.slice(part * 50_000, 50_000), folder / "ratings" / f"part{part}.csv")


# What must be there before a page's code runs.
NEEDS = {"tutorials/movielens": small_ml32m, "memory": folder_of_ratings}


# ---------------------------------------------------------------------------------------------------------------------
# Coming from other libraries

PEERS = sorted(page for page in PAGES if page.parent.name == "coming_from" and page.stem != "index")
MODULES = {
    "implicit": "implicit",
    "surprise": "surprise",
    "lenskit": "lenskit",
    "cmfrec": "cmfrec",
    "spark": "pyspark",
    "skrecsys": "skrecsys",
    "myfm": "myfm",
}


@pytest.mark.parametrize("page", PEERS, ids=name)
def test_calls_of_other_libraries(page, folder):
    """They are read as Python, and run where the library is installed (nowhere in the project's own checks)."""
    code = "".join(text for kind, options, text in blocks(page) if kind == "{code-block} python")
    assert code
    ast.parse(code)
    if importlib.util.find_spec(MODULES[page.stem]) is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = alsx.datasets.load_demo().table.to_pandas()[["user", "item", "rating"]]
        exec(compile(code, str(page), "exec"), {"__name__": "__main__", "table": table})


def test_there_is_a_page_for_each_of_them():
    assert {page.stem for page in PEERS} == set(MODULES)


# ---------------------------------------------------------------------------------------------------------------------
# Tables, links, pages of the reference


def test_tables_are_what_programs_wrote(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    import tables

    for file in tables.FILES:
        text = file.read_text(encoding="utf-8")
        assert tables.written(text) == text, f"run `python docs/_ext/tables.py`: {file.name}"


def anchors(text):
    """The anchors of the headings of a file, as code hosts make them."""
    without_code = FENCE.sub("", text)
    for heading in re.findall(r"^#+ +(.*)$", without_code, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "file", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "examples/README.md"]
)
def test_links_between_files(file):
    """Sphinx checks those of the site's pages; these are read on a code host too."""
    text = (ROOT / file).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / file).parent / path if path else ROOT / file
        assert linked.exists(), f"{file} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), f"{file} links to {target}"


def test_the_site_has_the_page_that_an_estimator_links_to():
    from alsx._models.estimator import PAGE

    listed = (DOCS / "reference.md").read_text(encoding="utf-8")
    folder = re.findall(r":toctree: (\w+)", listed)
    assert set(folder) == {PAGE.partition("/")[0]}
    for estimator in ("BiasALS", "FactorALS", "RankALS", "BayesALS", "FactorEncoder"):
        assert re.search(rf"^   {estimator}$", listed, re.MULTILINE)
        assert PAGE.format(estimator_name=estimator) == f"generated/alsx.{estimator}.html"
        built = DOCS / "_build" / "html"
        if built.exists():  # a site that was built here has it too
            assert (built / PAGE.format(estimator_name=estimator)).exists()


def test_the_reference_has_every_public_name():
    listed = set(
        re.findall(r"^   (?:ratings\.)?(\w+)$", (DOCS / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for module in (alsx, alsx.metrics, alsx.model_selection, alsx.datasets, alsx.plot, alsx.explorer):
        assert set(module.__all__) - {"__version__"} <= listed, module.__name__
