"""Types: what a type checker says of calls as users write them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import alsx.typing
from alsx._models.strategies import STRATEGIES
from alsx.model_selection import _split

CALLS = Path(__file__).with_name("typical_calls.py")


def test_typical_calls_are_typed(tmp_path):
    pytest.importorskip("mypy")
    for library in ("pandas", "polars"):
        pytest.importorskip(library)
    # Without a configuration: what users have is the default of --strict. Other libraries may lack types.
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--config-file=", str(CALLS)]
    # mypy takes the modules of its folder for the user's own, so it must not run in site-packages, nor here.
    environment = {**os.environ, "MYPY_CACHE_DIR": str(tmp_path)}
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert out.returncode == 0, out.stdout + out.stderr


def test_typical_calls_run(tmp_path):
    for library in ("pandas", "polars"):
        pytest.importorskip(library)
    out = subprocess.run([sys.executable, str(CALLS)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr


def test_choices_are_those_that_are_checked():
    assert set(alsx.typing.Strategy.__args__) == set(STRATEGIES)
    assert set(alsx.typing.By.__args__) == set(_split.BY)


def test_the_table_of_types_is_whole():
    for name in alsx.typing.__all__:
        assert f"`{name}`" in alsx.typing.__doc__
        assert hasattr(alsx.typing, name)
