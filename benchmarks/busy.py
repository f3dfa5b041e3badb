"""How much slower calls get on a busy machine: beside as many busy processes as there are processors, and within limits.

    python benchmarks/busy.py [--seconds=2] [--rounds=3] [--situations=free,one,quota,joblib,threads] [--only=BiasALS,predict,...]

Every call is timed on an otherwise idle machine and beside busy processes, in processes of its own, alternating over the rounds.
Situations: "free" (all processors), "one" (the process may use one processor), "quota" (a cgroup's limit of 1.5 processors, where
one can be made), "joblib" (two worker processes at once) and "threads" (eight Python threads at once, as in a web server). The
ratings are 100,000 simulated ones of the shape of MovieLens 100k. Figures are milliseconds; the aim is a ratio of at most 3. The
machine must be idle otherwise.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fire
import joblib
import numpy as np

import alsx
from alsx.datasets import make_ratings

SITUATIONS = ("free", "one", "quota", "joblib", "threads")


def calls(n_jobs=None):
    """The calls that are timed, by name, and a fitted model's file for the commands."""
    ratings = make_ratings(943, 1682, 100_000, random_state=0)
    model = alsx.FactorALS(random_state=0, n_jobs=n_jobs).fit(ratings)
    users, items = ratings.triples()[:2]
    pairs = np.stack([ratings.user_ids[users[:1000]], ratings.item_ids[items[:1000]]], 1)
    user = ratings.user_ids[5]
    features = np.random.default_rng(0).normal(size=(ratings.n_items, 30))
    return {
        "BiasALS.fit": lambda: alsx.BiasALS(n_jobs=n_jobs).fit(ratings),
        "FactorALS.fit": lambda: alsx.FactorALS(random_state=0, n_jobs=n_jobs).fit(ratings),
        "FactorALS.fit, plain": lambda: alsx.FactorALS(
            random_state=0, n_jobs=n_jobs, implicit_features=None, max_iter=10, tol=0
        ).fit(ratings),
        "FactorALS.fit, features": lambda: alsx.FactorALS(random_state=0, n_jobs=n_jobs).fit(
            ratings, item_features=features
        ),
        "BayesALS.fit": lambda: alsx.BayesALS(random_state=0, n_jobs=n_jobs, n_samples=20, burn_in=4).fit(ratings),
        "recommend, one user": lambda: model.recommend(user),
        "recommend, all users": lambda: model.recommend(ratings.user_ids),
        "predict, 1,000": lambda: model.predict(pairs),
        "predict, 100,000": lambda: model.predict(ratings),
        "predict_interval, 1,000": lambda: model.predict_interval(pairs),
        "similar_items": lambda: model.similar_items(ratings.item_ids[3]),
    }


def commands(folder):
    """Commands that are timed as whole processes."""
    model = Path(folder, "model.npz")
    if not model.exists():
        alsx.FactorALS(random_state=0).fit(make_ratings(943, 1682, 100_000, random_state=0)).save(model)
    user = str(make_ratings(943, 1682, 100_000, random_state=0).user_ids[5])
    return {
        "import alsx": [sys.executable, "-c", "import alsx"],
        "python -m alsx recommend": [sys.executable, "-m", "alsx", "recommend", str(model), user],
    }


def timed(call, seconds):
    """Milliseconds of each of many calls, after one that does not count."""
    call()
    took, end = [], time.perf_counter() + seconds
    while len(took) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - start))
    return took


def measure(situation, seconds, wanted):
    """Print the times of all calls in this process, as JSON."""
    warnings.simplefilter("ignore")
    if situation == "one":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    found = {}
    for name, call in calls().items():
        if wanted and not any(name.startswith(part) for part in wanted):
            continue
        if situation == "threads":
            with ThreadPoolExecutor(8) as pool:
                found[name] = [
                    x for took in pool.map(lambda _, call=call: timed(call, seconds), range(8)) for x in took
                ]
        else:
            found[name] = timed(call, seconds)
    print(json.dumps(found))


def in_workers(seconds, wanted):
    """Times of fits in two worker processes of joblib at once."""
    names = [name for name in calls() if not wanted or any(name.startswith(part) for part in wanted)]

    def one(name):
        return timed(calls()[name], seconds)

    found = {}
    with joblib.Parallel(n_jobs=2) as parallel:
        for name in names:
            found[name] = [x for took in parallel(joblib.delayed(one)(name) for _ in range(2)) for x in took]
    return found


@contextlib.contextmanager
def quota(processors):
    """A cgroup with a limit of so many processors: yields the file that takes the ids of processes, or None."""
    period = 100_000
    first, second = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    parent = first if first.exists() else second
    group = parent / f"alsx-busy-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        if parent == first:
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(int(processors * period)))
            yield group / "tasks"
        else:
            (group / "cpu.max").write_text(f"{int(processors * period)} {period}")
            yield group / "cgroup.procs"
    except OSError:
        yield None
    finally:
        time.sleep(0.1)
        group.rmdir()


@contextlib.contextmanager
def busy(processes):
    """So many processes that do nothing but keep a processor busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    time.sleep(0.3)
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def in_a_process(situation, seconds, wanted, tasks=None):
    """Times of the calls in a process of its own."""
    arguments = [sys.executable, __file__, "measure", situation, str(seconds), json.dumps(wanted)]
    if tasks is not None:
        arguments = ["sh", "-c", f'echo $$ >{tasks}; exec "$@"', "sh", *arguments]
    out = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(out.stderr)
    return json.loads(out.stdout)


def times(situation, seconds, wanted, folder):
    """Times of every call in one situation."""
    if situation == "joblib":
        return in_workers(seconds, wanted)
    if situation == "quota":
        with quota(1.5) as tasks:
            return None if tasks is None else in_a_process(situation, seconds, wanted, tasks)
    found = in_a_process(situation, seconds, wanted)
    if situation == "free" and not wanted:
        for name, command in commands(folder).items():
            found[name] = timed(
                lambda command=command: subprocess.run(command, check=True, capture_output=True), seconds
            )
    return found


def report(situation, idle, loaded):
    """Print a line for each call."""
    print(
        f"\n{situation}{'call':>{30 - len(situation)}}   idle  (worst)     busy  (worst)   ratio of medians, of means"
    )
    for name, took in idle.items():
        beside = loaded[name]
        a, b = statistics.median(took), statistics.median(beside)
        means = statistics.mean(beside) / statistics.mean(took)
        print(f"{name:30} {a:8.2f} {max(took):8.1f} {b:8.2f} {max(beside):8.1f} {b / a:8.2f} {means:8.2f}", flush=True)


def main(seconds=2.0, rounds=3, situations=SITUATIONS, only=()):
    """Print a table for each situation."""
    wanted = [only] if isinstance(only, str) else list(only)
    processors = joblib.cpu_count()
    print(f"{processors} processors, {processors} busy processes, {rounds} rounds of {seconds} s a call")
    with tempfile.TemporaryDirectory() as folder:
        for situation in [situations] if isinstance(situations, str) else situations:
            idle, loaded = {}, {}
            for _ in range(rounds):
                for found, load in ((idle, 0), (loaded, processors)):
                    with busy(load):
                        took = times(situation, seconds, wanted, folder)
                    if took is None:
                        print(f"\n{situation}: no cgroup can be made here")
                        break
                    for name, values in took.items():
                        found.setdefault(name, []).extend(values)
                else:
                    continue
                break
            if idle and loaded:
                report(situation, idle, loaded)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        fire.Fire(main)
