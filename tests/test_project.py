"""The project itself: versions, imports that run one way, types of the compiled modules, the README's code."""

import ast
import doctest
import importlib
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import alsx
from alsx import _core

ROOT = Path(__file__).parents[1]
PACKAGE = Path(alsx.__file__).parent

# Imports run from later rooms to earlier ones, a room being a module or a package; those of a group may import each other.
# `_core` < `_check`, `_threads` < `ratings` < `metrics`, `model_selection` < `_solver` < `_models` < the rest.
ORDER = [
    {"_version", "_core", "_csv", "_regression", "_scores", "_sort", "_pool", "_files", "_interrupt"},
    {"_check", "_threads"},
    {"ratings", "typing"},
    {"metrics", "model_selection"},
    {"_solver"},
    {"_models"},
    {"__init__"},
    {"datasets", "plot", "explorer", "dask", "_cli", "_reader", "_model_commands", "__main__", "examples"},
]
LAZY = {"matplotlib", "fire", "pyarrow", "pooch", "pandas", "polars", "tqdm", "rich", "dask", "distributed"}


def room(path):
    """The top-level module of the package that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(tree):
    """Top-level modules of the package that a file imports anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "alsx":
            names = {alias.name for alias in node.names}
            yield from (name if any(name in group for group in ORDER) else "__init__" for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alsx."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "alsx":
                    yield ([*alias.name.split("."), "__init__"])[1]


def test_imports_run_one_way():
    place = {name: number for number, group in enumerate(ORDER) for name in group}
    for file in PACKAGE.rglob("*.py"):
        own = room(file)
        assert own in place, f"{file.name} has no place in the order of imports"
        for other in imported(ast.parse(file.read_text(encoding="utf-8"))):
            # The package names these for type checkers, and imports them when they are asked for.
            lazy = own == "__init__" and other in alsx._LAZY
            assert lazy or place[other] <= place[own], f"{file.relative_to(PACKAGE)} imports {other}"


def test_import_is_light():
    # pandas, where it is installed, is scikit-learn's own import, and brings pyarrow with it.
    code = f"import sys; sys.modules['pandas'] = None; import alsx; print(*set(sys.modules) & {LAZY - {'pandas'}!r})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []


def test_public_modules_are_there_when_they_are_asked_for():
    code = """
import alsx
assert "datasets" in dir(alsx) and "plot" in dir(alsx)
assert alsx.datasets.load_demo().simulated
assert alsx.plot.embedding_map and alsx.model_selection.k_fold and alsx.metrics.rmse and alsx.ratings.Ratings
try:
    alsx.nonsense
except AttributeError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "module 'alsx' has no attribute 'nonsense'\n"


def test_a_folder_of_the_same_name_beside_is_no_package(tmp_path):
    """Such as a clone at ./alsx, installed in place: the folder of the clone must not hide the package in it."""
    (tmp_path / "alsx" / "tests").mkdir(parents=True)
    code = "import alsx; alsx.FactorALS; print(alsx.__file__)"
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert Path(out.stdout.strip()).parent == PACKAGE


def test_versions_agree():
    assert metadata.version("alsx") == alsx.__version__
    changelog = ROOT / "CHANGELOG.md"
    if changelog.exists():
        assert alsx.__version__.split(".dev")[0] in changelog.read_text() or "[Unreleased]" in changelog.read_text()
    citation = ROOT / "CITATION.cff"
    if citation.exists():
        assert f"\nversion: {alsx.__version__}\n" in citation.read_text()


def test_an_unbuilt_source_folder_says_what_to_do(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "alsx", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    (tmp_path / "alsx/_core.pyx").touch()
    # -S: an editable install would find the built one for it.
    out = subprocess.run(
        [sys.executable, "-S", "-c", "import alsx"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert out.returncode == 1
    last = out.stderr.strip().splitlines()[-1]
    for word in ("ImportError", "pip install -e .", "another folder", "has not been built"):
        assert word in last


def test_a_broken_build_is_not_called_a_missing_one(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "alsx", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    (tmp_path / "alsx/_core.pyx").touch()
    name = Path(_core.__file__).name
    (tmp_path / "alsx" / name).write_bytes(b"no library")
    out = subprocess.run(
        [sys.executable, "-S", "-c", "import alsx"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert out.returncode == 1
    assert "not been built" not in out.stderr
    assert "_core" in out.stderr.strip().splitlines()[-1]  # the loader's own words


def test_the_types_of_the_compiled_modules_are_true(tmp_path):
    pytest.importorskip("mypy")
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "alsx._core",
        "alsx._csv",
        "alsx._pool",
        "alsx._regression",
        "alsx._scores",
        "alsx._sort",
    ]
    config = ROOT / "pyproject.toml"
    if not config.exists():
        pytest.skip("the tests were copied without pyproject.toml")
    # mypy takes the modules of its folder for the user's own, so it must not run in site-packages.
    folder = ROOT if PACKAGE.parent == ROOT else tmp_path
    out = subprocess.run(
        [*command, "--mypy-config-file", str(config)], capture_output=True, text=True, cwd=folder, check=False
    )
    assert out.returncode == 0, out.stdout + out.stderr


@pytest.fixture
def readme():
    file = ROOT / "README.md"
    if not file.exists():
        pytest.skip("the tests were copied without README.md")
    return file


def test_the_code_of_the_readme_runs(readme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(readme), module_relative=False)
    assert tried > 5
    assert failed == 0


def test_the_readme_has_two_commands(readme):
    blocks = re.findall(r"```sh\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[0] == "pip install -e . && python -m alsx.examples.movielens\n"
    assert blocks[1] == 'pip install -e ".[test]" && pytest\n'


def test_the_code_of_the_readme_is_all_run(readme):
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    assert [block for block in blocks if not block.startswith(">>> ")] == []


# Modules with examples, but for those of datasets, which have tests of their own.
DOCTESTED = sorted(
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    for file in PACKAGE.rglob("*.py")
    if ">>> " in file.read_text(encoding="utf-8") and file.parent.name != "datasets" and file.name != "__init__.py"
)


@pytest.mark.parametrize("name", DOCTESTED)
def test_the_examples_in_docstrings(name):
    if name.startswith("dask."):
        pytest.importorskip("distributed")
    module = importlib.import_module(f"alsx.{name}")
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried > 0
