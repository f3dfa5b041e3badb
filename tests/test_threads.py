"""How many threads, and the pool that all kernels share."""

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

from alsx import BayesALS, FactorALS, Ratings, _pool, _threads
from alsx.datasets import make_ratings

pytestmark = pytest.mark.usefixtures("everything_shared")


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


@pytest.mark.parametrize("n_jobs", [2000, 100_000, 10**12])
def test_absurd_numbers_are_capped_with_a_warning(n_jobs):
    most = _threads.MAX_THREADS_PER_PROCESSOR * os.cpu_count()
    message = rf"n_jobs is {n_jobs}; {most} threads are used, .* Results do not depend on it$"
    with pytest.warns(RuntimeWarning, match=message):
        assert _threads.resolve(n_jobs) == most
    ratings = make_ratings(200, 100, 3000, random_state=0)
    one = FactorALS(4, random_state=0, n_jobs=1).fit(ratings)
    with pytest.warns(RuntimeWarning, match=message):
        many = FactorALS(4, random_state=0, n_jobs=n_jobs).fit(ratings)
    np.testing.assert_array_equal(one.item_factors_, many.item_factors_)


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
def test_what_the_environment_may_say(value, expected):
    code = "from alsx._threads import resolve; import joblib; print(resolve(), joblib.cpu_count())"
    found, processors = in_a_process(code, OMP_NUM_THREADS=value)
    assert int(found) == (expected or int(processors))


def test_processors_that_may_not_be_used_are_not(monkeypatch):
    """The quota of a container is joblib's to find."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    assert _threads.resolve() == 1


def test_a_limit_by_threadpoolctl_is_heard():
    for api in ("openmp", None):
        with threadpoolctl.threadpool_limits(1, user_api=api):
            assert _threads.resolve() == 1
            assert _threads.resolve(2) == 2
    (pool,) = (info for info in threadpoolctl.threadpool_info() if info["internal_api"] == "alsx")
    assert pool["num_threads"] == 1  # the limit of the whole suite, see conftest.py


def test_work_too_small_to_share_is_not_shared():
    before = _pool.set_least_share(1000)
    assert [_pool.threads_worth(ns, 4) for ns in (0, 1, 999, 1999, 2000, 3999, 4000, 1e18)] == [1, 1, 1, 1, 2, 3, 4, 4]
    _pool.set_least_share(before)
    assert _pool.threads_worth(0, 4) == 4  # in tests everything is


def test_any_number_of_threads_gives_the_same_bits():
    ratings = make_ratings(300, 200, 9000, random_state=0)
    fits = [FactorALS(8, random_state=0, n_jobs=n, max_iter=4).fit(ratings) for n in (1, 2, 3, 7)]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.item_factors_, fits[0].item_factors_)
        assert fit.history_["loss"] == fits[0].history_["loss"]


def test_helpers_are_started_when_they_are_needed():
    code = """if True:
        from alsx import FactorALS, _pool
        from alsx.datasets import make_ratings
        _pool.set_least_share(0)
        R = make_ratings(200, 100, 3000)
        found = [_pool.helpers()]
        for n in (1, 3, 2, 4):
            FactorALS(4, n_jobs=n, max_iter=2).fit(R)
            found.append(_pool.helpers())
        print(*found)
    """
    # The pool grows to what was asked for, less the calling thread, and does not shrink.
    assert in_a_process(code) == ["0", "0", "2", "2", "3"]


def test_singular_rows_are_counted_and_named_the_same():
    ratings = make_ratings(60, 50, 600, random_state=0)
    messages = set()
    for n_jobs in (1, 2, 3):
        with pytest.raises(np.linalg.LinAlgError, match="the first of") as caught:
            FactorALS(20, reg=0, reg_bias=0, random_state=0, n_jobs=n_jobs).fit(ratings)
        messages.add(str(caught.value))
    assert len(messages) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_threads_of_its_own():
    code = """if True:
        import os, threading, warnings
        from alsx import FactorALS, _pool
        from alsx.datasets import make_ratings
        _pool.set_least_share(0)
        R = make_ratings(200, 100, 3000)
        model = FactorALS(4, random_state=0, n_jobs=3)
        expected = model.fit(R).item_factors_
        stop, at_work = threading.Event(), [
            threading.Thread(target=lambda: [FactorALS(4, n_jobs=3).fit(R) for _ in iter(stop.is_set, True)]) for _ in range(2)
        ]
        for thread in at_work:
            thread.start()
        codes = []
        for _ in range(20):  # the pool may be in any state when the process forks
            child = os.fork()
            if child == 0:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    alone = _pool.helpers()
                    same = (FactorALS(4, random_state=0, n_jobs=3).fit(R).item_factors_ == expected).all()
                os._exit(0 if same and alone == 0 and _pool.helpers() == 2 else 1)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        stop.set()
        print(*codes)
    """
    assert in_a_process(code, PYTHONWARNINGS="ignore::DeprecationWarning") == ["0"] * 20


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_threads_that_cannot_be_started_are_done_without():
    code = """if True:
        import resource
        import numpy as np
        from alsx import _core, _pool
        _pool.set_least_share(0)
        pages = int(open("/proc/self/statm").read().split()[0])
        most = pages * resource.getpagesize() + 2**22  # room for the stacks of three threads or four
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        done = [_core.peak_flops(1600, 16) for _ in range(3)]
        print(len(set(done)) == 1 and done[0] == 16 * _core.peak_flops(1600, 1), _pool.helpers() < 8)
    """
    assert in_a_process(code) == ["True", "True"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_is_heard_by_python():
    """Helpers leave signals to Python's own threads, so that Ctrl-C ends a fit after a half-sweep."""
    code = """if True:
        import os, signal, threading, time
        from alsx import FactorALS, _pool
        from alsx.datasets import make_ratings
        R = make_ratings(2000, 1000, 100_000)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background is started without
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        start = time.perf_counter()
        try:
            FactorALS(32, n_jobs=4, max_iter=10**6, tol=0).fit(R)
        except KeyboardInterrupt:
            print(time.perf_counter() - start < 30)
    """
    assert in_a_process(code) == ["True"]


def test_a_process_ends_while_kernels_run():
    code = """if True:
        import threading, time
        from alsx import _core
        threading.Thread(target=lambda: _core.peak_flops(10**10, 3), daemon=True).start()
        time.sleep(0.2)
        print("ended")
    """
    assert in_a_process(code) == ["ended"]


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


def test_overlapping_samplers_leave_blas_as_it_was():
    """Fits that overlap in time end with as many threads as before, whichever ends first."""

    def blas_threads():
        return {
            info["filepath"]: info["num_threads"]
            for info in threadpoolctl.threadpool_info()
            if info["user_api"] == "blas"
        }

    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        before = blas_threads()
        first, second = _threads.one_blas_thread(), _threads.one_blas_thread()
        first.__enter__()
        second.__enter__()
        assert set(blas_threads().values()) <= {1}
        first.__exit__(None, None, None)
        assert set(blas_threads().values()) <= {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before
        ratings = make_ratings(150, 100, 3000, random_state=0)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda seed: BayesALS(3, n_samples=3, burn_in=2, random_state=seed).fit(ratings), range(6)))
        assert blas_threads() == before


def test_the_pool_is_one_for_all_calling_threads():
    code = """if True:
        import threading
        import numpy as np
        from alsx import FactorALS, _pool
        from alsx.datasets import make_ratings
        _pool.set_least_share(0)
        R = make_ratings(150, 100, 3000)
        expected = FactorALS(4, random_state=0, n_jobs=1, max_iter=3).fit(R).item_factors_
        same = []
        def fit():
            same.append((FactorALS(4, random_state=0, n_jobs=3, max_iter=3).fit(R).item_factors_ == expected).all())
        threads = [threading.Thread(target=fit) for _ in range(8)]
        [t.start() for t in threads], [t.join() for t in threads]
        print(all(same), len(same), _pool.helpers())
    """
    assert in_a_process(code) == ["True", "8", "2"]


def test_more_threads_than_rows():
    ratings = Ratings.from_arrays([1, 1, 2], [5, 6, 5], [3.0, 4.0, 5.0])
    fits = [FactorALS(3, random_state=0, n_jobs=n).fit(ratings) for n in (1, 16)]
    np.testing.assert_array_equal(*(fit.item_factors_ for fit in fits))
    np.testing.assert_array_equal(*(fit.recommend([1, 2, 1], 2)[0] for fit in fits))
