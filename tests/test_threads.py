"""How many threads, and what stands in for OpenMP."""

import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import threadpoolctl
from sklearn.base import clone

from alsx import BiasALS, FactorALS, Ratings, _core, _threads
from alsx.datasets import make_ratings

needs_openmp = pytest.mark.skipif(not _core.OPENMP, reason="this build has no OpenMP")


def in_a_process(code, **environment):
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    out = subprocess.run([sys.executable, "-c", code], env={**env, **environment}, capture_output=True, text=True,
                         timeout=120, check=False)  # fmt: skip
    assert out.returncode == 0, out.stderr
    return out.stdout.split()


def test_numbers():
    assert _threads.resolve(3) == 3
    assert _threads.resolve(np.int64(2)) == 2
    assert _threads.resolve(-1) == _threads.resolve(None) >= 1
    assert _threads.resolve(-10_000) == 1


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (1.0, TypeError), (True, TypeError), ("2", TypeError)])
def test_what_is_no_number_of_threads(value, error):
    with pytest.raises(error, match="n_jobs is"):
        _threads.resolve(value)


def test_the_environment_is_heard():
    code = "from alsx._threads import resolve; print(*[resolve(n) for n in (None, -1, -2, -7, -100, 1, 9)])"
    assert in_a_process(code, OMP_NUM_THREADS="7") == ["7", "7", "6", "1", "1", "1", "9"]
    # Not more than it is allowed, asked at each call.
    code = """if True:
        import os, joblib
        from alsx._threads import resolve
        print(resolve() <= joblib.cpu_count())
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
            print(resolve() == 1)
    """
    assert set(in_a_process(code)) == {"True"}


@pytest.mark.parametrize(("value", "expected"), [("7", 7), ("5,3", 5), ("many", None), ("0", None), ("", None)])
def test_the_environment_is_heard_without_openmp(monkeypatch, value, expected):
    monkeypatch.setattr(_core, "OPENMP", False)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert _threads.resolve() == (expected or joblib.cpu_count())
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert _threads.resolve() == joblib.cpu_count()


def test_the_environment_is_heard_by_counting_back():
    code = "from alsx import _threads; print(*(_threads.resolve(n) for n in (-1, -2, -7, -8, 3)))"
    assert in_a_process(code, OMP_NUM_THREADS="7") == ["7", "6", "1", "1", "3"]


def test_processors_that_may_not_be_used_are_not(monkeypatch):
    """OpenMP does not see the quota of a container, and joblib does."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    assert _threads.resolve() == 1


@needs_openmp
def test_a_limit_by_threadpoolctl_is_heard():
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert _threads.resolve() == 1


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_hang():
    code = """if True:
        import os, warnings
        from alsx import FactorALS
        from alsx.datasets import make_ratings
        R = make_ratings(200, 100, 3000)
        a = FactorALS(4, random_state=0, n_jobs=2).fit(R)
        child = os.fork()
        if child == 0:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                b = FactorALS(4, random_state=0, n_jobs=2).fit(R)
                lists = b.recommend(R.user_ids)[0].shape, b.predict(R).shape
                many = len(told)
                c = FactorALS(4, random_state=0, n_jobs=1).fit(R)  # one thread: nothing to tell
            same = (a.item_factors_ == b.item_factors_).all() and (a.item_factors_ == c.item_factors_).all()
            os._exit(0 if same and many == len(told) and "forked" in str(told[0].message) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert in_a_process(code, PYTHONWARNINGS="ignore::DeprecationWarning") == ["0"]


def test_the_pool_of_python_threads_gives_the_same_bits(monkeypatch):
    ratings = make_ratings(300, 200, 9000, random_state=0)
    model = FactorALS(8, random_state=0, n_jobs=3, max_iter=4).fit(ratings)
    factors, loss = model.item_factors_.copy(), model.history_["loss"]
    calls = []
    run = _core.solve_rows

    def counted(rows, starts, *rest):
        calls.append(len(starts))
        return run(rows, starts, *rest)

    monkeypatch.setattr(_threads._core, "OPENMP", False)
    monkeypatch.setattr(_core, "solve_rows", counted)
    model.fit(ratings)
    np.testing.assert_array_equal(model.item_factors_, factors)
    assert model.history_["loss"] == loss
    assert len(calls) > 8 * 4
    again = BiasALS(n_jobs=2).fit(ratings)
    monkeypatch.undo()
    np.testing.assert_array_equal(again.item_biases_, BiasALS(n_jobs=2).fit(ratings).item_biases_)


def test_singular_rows_in_the_pool_are_counted_and_named(monkeypatch):
    ratings = make_ratings(60, 50, 600, random_state=0)
    model, told = FactorALS(20, reg=0, reg_bias=0, random_state=0, n_jobs=3), []
    for openmp in {_core.OPENMP, False}:
        monkeypatch.setattr(_core, "OPENMP", openmp)
        with pytest.raises(np.linalg.LinAlgError, match="the first of") as caught:
            model.fit(ratings)
        told.append(str(caught.value))
    assert len(set(told)) == 1


def test_failures_in_the_pool_are_told(monkeypatch):
    monkeypatch.setattr(_threads._core, "OPENMP", False)

    def call(starts, work):
        if starts[0] > 0:
            raise RuntimeError("told")
        return 0

    with pytest.raises(RuntimeError, match="told"):
        _threads.run_tasks(call, np.arange(101), np.zeros((2, 1)))
    assert _threads.run_tasks(lambda starts, work: len(starts) - 1, np.arange(101), np.zeros((4, 1))) == 100


def test_python_threads_may_fit_at_once():
    sets = [make_ratings(150, 100, 3000, random_state=seed) for seed in range(4)]
    model = FactorALS(5, random_state=0, max_iter=4, n_jobs=2)
    alone = [clone(model).fit(R).item_factors_ for R in sets]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda R: clone(model).fit(R).item_factors_, sets))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_python_threads_may_ask_one_model_at_once():
    ratings = make_ratings(150, 100, 3000, random_state=0)
    model = FactorALS(5, random_state=0, max_iter=4, n_jobs=2).fit(ratings)
    expected = clone(model).fit(ratings).recommend(ratings.user_ids)

    def ask(_):
        return model.recommend(ratings.user_ids), model.predict(ratings)

    # The first of them pack the items, perhaps more than once.
    with ThreadPoolExecutor(6) as pool:
        for lists, predicted in pool.map(ask, range(24)):
            for a, b in zip(lists, expected, strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(predicted, model.predict(ratings))


def test_more_threads_than_rows():
    ratings = Ratings.from_arrays([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    fits = [FactorALS(3, random_state=0, n_jobs=n).fit(ratings) for n in (1, 16)]
    np.testing.assert_array_equal(*(fit.item_factors_ for fit in fits))
    np.testing.assert_array_equal(*(fit.recommend([1, 2, 1], 2)[0] for fit in fits))
