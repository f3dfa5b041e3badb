"""What tests share: instruction sets, tolerances by dtype, the reference, real data where it is at hand."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest
import threadpoolctl

# With --import-mode=importlib the folder of the tests is not on the path; the reference lives there.
sys.path.insert(0, str(Path(__file__).parent))

from alsx import _core, _pool

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

BEST = _core.set_simd_level()
LEVELS = [level for level in ("base", "v3", "v4") if level <= BEST or level == "base"]
_core.set_simd_level(os.environ.get("ALSX_SIMD"))

# Relative error of a row solve against float64, for matrices as well conditioned as the tests' are.
TOLERANCE = {"float32": 2e-4, "float64": 1e-11}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread, of BLAS and of the kernels, where a test asks for no number. Tests of threads ask for their number."""
    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture
def everything_shared():
    """Work is shared among as many threads as are asked for, however small it is."""
    before = _pool.set_least_share(0)
    yield
    _pool.set_least_share(before)


@pytest.fixture
def restored_simd():
    """For tests that change the instruction set: the one in use before is in use after, failed or not."""
    yield
    _core.set_simd_level(os.environ.get("ALSX_SIMD"))


@pytest.fixture(params=LEVELS)
def simd(request, restored_simd):
    """Each instruction set of this machine in turn."""
    return _core.set_simd_level(request.param)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both types of numbers."""
    return request.param


@pytest.fixture(scope="session")
def movielens_folder():
    """The folder with real MovieLens archives, which are never part of this project."""
    folder = os.environ.get("ALSX_TEST_DATA")
    if not folder or not Path(folder, "ml-100k.zip").exists():
        pytest.skip("ALSX_TEST_DATA names no folder with ml-100k.zip")
    return Path(folder)
