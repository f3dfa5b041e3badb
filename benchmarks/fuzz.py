"""Broken inputs, as many as there is time for: CSV, Parquet, sparse matrices and columns for `alsx.Ratings`, archives for
`alsx.datasets.load_movielens`, model files for `alsx.load`.

    python benchmarks/fuzz.py [--seconds=600] [--targets=csv,parquet,sparse,columns,archives,models] [--first=0] [--jobs=2]

Each input is made from a number by `tests/fuzzing.py`, most of them by breaking a sound one. What is read must be what a plain
reader finds there; what is refused must be refused by a message of `alsx` (TypeError or ValueError, 300 characters at most).
Everything else is found: another error, a wrong value, a crash of the process, an input that takes longer than a minute.
Worker processes try the inputs, so that a crash ends one of them alone. The last lines say how many inputs were tried and what
was found, with a call that makes it again; the exit code is 1 where something was found.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fire

TESTS = Path(__file__).parents[1] / "tests"
SLOWEST = 60  # seconds that one input may take
STEP = 2000  # inputs that a worker tries before another target has its turn


def work(target, first, count):
    """Try inputs, one after the other; their numbers are written before they are tried."""
    import faulthandler
    import traceback

    sys.path.insert(0, str(TESTS))
    import fuzzing

    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        read = 0
        for number in range(first, first + count):
            print("try", number, flush=True)
            faulthandler.dump_traceback_later(SLOWEST, exit=True)
            try:
                read += fuzzing.try_input(target, number, folder)
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                print(
                    "found",
                    number,
                    f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}:",
                    str(error)[:300],
                )
            faulthandler.cancel_dump_traceback_later()
        print("read", read, flush=True)


def start(target, first):
    """A worker for some inputs."""
    command = [sys.executable, __file__, "--target", target, "--first", str(first), "--count", str(STEP)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def main(seconds=600, targets="csv,parquet,sparse,columns,archives,models", first=0, jobs=2, target=None, count=1):
    """Try inputs of all targets in turn, and print what was found."""
    if target is not None:
        work(target, first, count)
        return
    names = targets if isinstance(targets, (list, tuple)) else targets.split(",")
    tried, read, found = dict.fromkeys(names, 0), dict.fromkeys(names, 0), []
    next_number = dict.fromkeys(names, first)
    end, running, turn = time.monotonic() + seconds, [], 0
    while running or time.monotonic() < end:
        while len(running) < jobs and time.monotonic() < end:
            name = names[turn % len(names)]
            turn += 1
            running.append((name, start(name, next_number[name])))
            next_number[name] += STEP
        name, worker = running.pop(0)
        out, err = worker.communicate()
        number = None
        for line in out.splitlines():
            word, _, rest = line.partition(" ")
            if word == "try":
                number = int(rest)
                tried[name] += 1
            elif word == "read":
                read[name] += int(rest)
            elif word == "found":
                found.append((name, rest))
        if worker.returncode:
            last = (err.strip().splitlines() or [""])[0]
            found.append((name, f"{number} the process ended with {worker.returncode}: {last[:200]}"))
            next_number[name] = (number or next_number[name] - STEP) + 1
    for name, what in found:
        print(f"found: {name} {what}\n    python benchmarks/fuzz.py --target={name} --first={what.split()[0]}")
    for name in names:
        print(f"{name:8} {tried[name]:>9,} inputs tried, {read[name]:,} of them read")
    print(f"{sum(tried.values()):,} inputs in {seconds:,} s, {len(found)} found")
    sys.exit(bool(found))


if __name__ == "__main__":
    fire.Fire(main)
