"""From a file of ratings to a fitted model, whole processes: seconds and peak memory, beside the readers of pandas and polars.

    python benchmarks/file_to_model.py RATINGS.csv [--others=FILE,FOLDER,...] [--k=20] [--iterations=10] [--rounds=3]
        [--peer-python=PATH]

RATINGS.csv is MovieLens' own, or that of an archive by make_ml32m.py, unpacked; the others hold the same ratings in other files:
gzip, zstd, Parquet, a folder of Parquet files. PATH is a Python with the pandas, polars and pyarrow to compare with (default:
this one). The processes take turns; the first round is not counted. "read" is `alsx.Ratings(FILE)` alone; Arrow reads the three
columns that are needed, pandas and polars all four, as people call them. Ratios are those of polars' read_csv in the same round.
scikit-learn imports pandas where it is installed, which takes a quarter of the time of all imports: run it by a Python that has
what `pip install alsx` installs, with PATH for the others.
"""

import os
import statistics
import subprocess
import sys
import time

import fire

FIT = (
    "import alsx, sys; "
    "m = alsx.FactorALS(int(sys.argv[2]), implicit_features=None, max_iter=int(sys.argv[3]), tol=0, random_state=0)"
    ".fit(sys.argv[1]); print(sum(m.history_['seconds']))"
)
READ = "import alsx, sys; alsx.Ratings(sys.argv[1], timestamp=False)"
PEERS = {
    "pandas.read_csv": "import pandas, sys; pandas.read_csv(sys.argv[1])",
    "pyarrow.csv.read_csv, 3 columns": (
        "import sys; from pyarrow import csv; "
        "csv.read_csv(sys.argv[1], convert_options=csv.ConvertOptions(include_columns=['userId', 'movieId', 'rating']))"
    ),
    "polars.read_csv": "import polars, sys; polars.read_csv(sys.argv[1])",
}
BASE = "polars.read_csv"
# ru_maxrss of a child begins with its parent's at the fork, so each process reads its own high-water mark.
PEAK = "; print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"


def run(python, code, *arguments):
    """Seconds of a whole process, its peak memory in MB, and the seconds of the iterations of a fit."""
    # The round that is not counted leaves compiled modules behind, as an installation does.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    out = subprocess.run(
        [python, "-c", code + PEAK, *map(str, arguments)], capture_output=True, text=True, check=False, env=environment
    )
    seconds = time.perf_counter() - start
    if out.returncode:
        sys.exit(out.stderr)
    words = out.stdout.split()
    return seconds, int(words[-1]) / 1024, float(words[-2]) if len(words) > 1 else float("nan")


def main(ratings, others=(), k=20, iterations=10, rounds=3, peer_python=None):
    """Print a line a process."""
    own = sys.executable
    jobs = {name: (peer_python or own, code, ratings) for name, code in PEERS.items()}
    others = others.split(",") if isinstance(others, str) else others
    for file in (ratings, *others):
        name = file.rstrip("/").rpartition("/")[2]
        jobs[f"alsx, {name}: read"] = (own, READ, file)
        jobs[f"alsx, {name}: read and fit, k = {k}, {iterations} iterations"] = (own, FIT, file, k, iterations)
    took = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            measured = run(*job)
            if number:
                took[name].append(measured)
    base = [seconds for seconds, _, _ in took[BASE]]
    print(f"{'':62} {'seconds':>8} {'of polars':>9} {'iterations':>10} {'peak MB':>8}")
    for name, measured in took.items():
        ratio = statistics.median(x / y for (x, _, _), y in zip(measured, base, strict=True))
        seconds, memory, fit = (statistics.median(x) for x in zip(*measured, strict=True))
        print(f"{name:62} {seconds:8.2f} {ratio:9.2f} {'' if fit != fit else format(fit, '.2f'):>10} {memory:8.0f}")


if __name__ == "__main__":
    fire.Fire(main)
