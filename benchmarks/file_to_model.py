"""From a file of ratings to a fitted model, whole processes: seconds and peak memory, beside pandas.read_csv of the same file.

    python benchmarks/file_to_model.py RATINGS.csv [--parquet=FILE] [--k=20] [--iterations=10] [--rounds=3] [--pandas-python=PATH]

RATINGS.csv is MovieLens' own, or that of an archive by make_ml32m.py, unpacked. PATH is a Python with the pandas to compare
with (default: this one). The processes take turns; the first round is not counted. "read" is `alsx.Ratings(FILE)` alone.
"""

import statistics
import subprocess
import sys
import time

import fire

FIT = (
    "import alsx, sys; "
    "m = alsx.FactorALS(int(sys.argv[2]), implicit_features=None, max_iter=int(sys.argv[3]), tol=0, random_state=0)"
    ".fit(sys.argv[1])"
)
READ = "import alsx, sys; alsx.Ratings(sys.argv[1], timestamp=False)"
PANDAS = "import pandas, sys; pandas.read_csv(sys.argv[1])"
# ru_maxrss of a child begins with its parent's at the fork, so each process reads its own high-water mark.
PEAK = "; print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"


def run(python, code, *arguments):
    """Seconds of a whole process and its peak memory in MB."""
    start = time.perf_counter()
    out = subprocess.run([python, "-c", code + PEAK, *map(str, arguments)], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if out.returncode:
        sys.exit(out.stderr)
    return seconds, int(out.stdout.split()[-1]) / 1024


def main(ratings, parquet=None, k=20, iterations=10, rounds=3, pandas_python=None):
    """Print a line a process."""
    own = sys.executable
    jobs = {"pandas.read_csv": (pandas_python or own, PANDAS, ratings)}
    for kind, file in (("CSV", ratings), ("Parquet", parquet)):
        if file is not None:
            jobs[f"alsx, {kind}: read"] = (own, READ, file)
            jobs[f"alsx, {kind}: read and fit, k = {k}, {iterations} iterations"] = (own, FIT, file, k, iterations)
    took = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            measured = run(*job)
            if number:
                took[name].append(measured)
    base = [seconds for seconds, _ in took["pandas.read_csv"]]
    print(f"{'':58} {'seconds':>8} {'of pandas':>9} {'peak MB':>8}")
    for name, measured in took.items():
        ratio = statistics.median(x / y for (x, _), y in zip(measured, base, strict=True))
        seconds, memory = (statistics.median(x) for x in zip(*measured, strict=True))
        print(f"{name:58} {seconds:8.2f} {ratio:9.2f} {memory:8.0f}")


if __name__ == "__main__":
    fire.Fire(main)
