"""The build: what it says where a compiler or Python's headers are missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="the tests were copied without setup.py"),
    pytest.mark.skipif(os.name != "posix", reason="the compilers of the tests are shell scripts"),
]


@pytest.fixture
def build(tmp_path):
    """Build in a copy, with a compiler that is a shell script; returned is what is said last."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path / "alsx"
    for name in ("_simd", "_parallel"):
        shutil.copytree(ROOT / "alsx" / name, folder / "alsx" / name)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "alsx/__init__.py", "alsx/_version.py"):
        shutil.copy(ROOT / name, folder / name)
    # Translating takes a quarter of a minute, and comes before the compiler is asked for.
    (tmp_path / "stub/Cython").mkdir(parents=True)
    (tmp_path / "stub/Cython/__init__.py").touch()
    (tmp_path / "stub/Cython/Build.py").write_text("def cythonize(extensions, **options):\n    return extensions\n")

    def build(compiler, **environment):
        script = tmp_path / "compiler"
        if compiler is not None:
            script.write_text(f"#!/bin/sh\n{compiler}\n")
            script.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALSX_")}
        out = subprocess.run(
            [sys.executable, "setup.py", "build_ext"], cwd=folder, capture_output=True, text=True, check=False,
            env={**kept, "CC": str(script), "PYTHONPATH": str(tmp_path / "stub"), **environment},
        )  # fmt: skip
        assert out.returncode != 0
        assert "Traceback" not in out.stderr
        return out.stderr.splitlines()[-1]

    return build


# A compiler that fails for files with these words, and else writes nothing.
FAILS_FOR = 'for file; do case "$file" in *.c) grep -q "{}" "$file" && exit 1;; esac; done; exit 0'


def test_without_a_compiler(build):
    message = build(None)
    assert message.startswith("alsx: there is no working C compiler")
    assert "apt install gcc" in message


def test_with_a_compiler_that_does_not_work(build):
    assert build("exit 1").startswith("alsx: there is no working C compiler")


def test_without_the_headers_of_python(build):
    message = build(FAILS_FOR.format("Python.h"))
    assert message.startswith("alsx: the C compiler does not find Python's headers")
    assert "python3-dev" in message


def test_an_editable_install_is_on_the_path():
    """By setuptools' rule: a package-dir for the root makes it a .pth file, without one it is an import hook."""
    import tomllib

    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-dir"] == {"": "."}
