"""What a fit on a cluster takes, on paper: memory of a worker, bytes between workers, seconds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from alsx import _check
from alsx._solver.tables import row_width

# Bytes of a rating: code and value, in each of both orders.
RATING_BYTES = 2 * 8

# Bytes that a rating takes while the source is shuffled: as it was read (codes and value), cut for the groups, sent, and sorted.
SHUFFLE_BYTES = 56

# What a rating and a row cost in the kernels, in floating-point operations, and what a core does of them in a second.
CORE_FLOPS = 5e10


class ClusterEstimate(NamedTuple):
    """What a fit takes.

    Parameters
    ----------
    memory : float
        Bytes that a worker needs, at most.
    ratings, tables, panel, shuffle : float
        What they are: ratings in both orders; tables of both sides and, of the items, as they were before; the rows of the other
        side that a group of blocks needs, twice while they are put together; what reading takes, before there are any tables.
    traffic : float
        Bytes that all workers together send to each other in an iteration.
    compute_seconds, traffic_seconds : float
        Of an iteration; they hardly overlap.
    """

    memory: float
    ratings: float
    tables: float
    panel: float
    shuffle: float
    traffic: float
    compute_seconds: float
    traffic_seconds: float


def estimate_cluster(
    n_ratings: float,
    n_users: float,
    n_items: float,
    k: int = 20,
    *,
    n_workers: int = 4,
    n_cores: int = 32,
    gigabits: float = 25.0,
    dtype: Any = "float32",
) -> ClusterEstimate:
    """Estimate what `DaskFactorALS` takes on a cluster of equal machines.

    Parameters
    ----------
    n_ratings, n_users, n_items : float
        Of the data.
    k : int, default=20
        Rank.
    n_workers : int, default=4
        Machines with one worker each.
    n_cores : int, default=32
        Of a machine.
    gigabits : float, default=25.0
        Of its network, a second.
    dtype : {"float32", "float64"}, default="float32"
        Of the model.

    Returns
    -------
    estimate : ClusterEstimate

    Notes
    -----
    The panels are as large as they are in one wave; where that is more than a worker has, there are several, and less memory.

    With W workers a group has 1/W of the ratings. Of n rows of the other side, whose numbers of ratings are taken to be
    log-normal (with deviations of 1.2 for users and 2 for items, as of films and shops), it needs those that have a rating in it.
    ``benchmarks/dask_cluster.py`` compares memory and traffic with what was measured.

    Examples
    --------
    >>> from alsx.dask import estimate_cluster
    >>> one = estimate_cluster(1e9, 1e8, 1e7, 64, n_workers=16)
    >>> f"{one.memory / 1e9:.0f} GB a machine, {one.traffic / 1e9:.0f} GB an iteration"
    '26 GB a machine, 193 GB an iteration'
    """
    k, n_workers = _check.integer("k", k, 0), _check.integer("n_workers", n_workers, 1)
    n_cores, gigabits = _check.integer("n_cores", n_cores, 1), _check.real("gigabits", gigabits, 1e-3)
    values = [
        _check.real(name, x, 1) for name, x in (("n_ratings", n_ratings), ("n_users", n_users), ("n_items", n_items))
    ]
    n, users, items = values
    kind = _check.float_dtype("dtype", dtype)
    row = row_width(k, kind) * kind.itemsize
    ratings = (RATING_BYTES if kind == np.float32 else RATING_BYTES + 8) * n + 8 * (users + items)
    needed_users, needed_items = (_needed(n, rows, spread, n_workers) for rows, spread in ((users, 1.2), (items, 2.0)))
    tables = row * (users + 2 * items) / n_workers
    panel = 2 * row * max(needed_users, needed_items)
    shuffle = SHUFFLE_BYTES * n / n_workers + 24 * (users + items)
    share = (n_workers - 1) / n_workers
    traffic = row * (needed_users + needed_items) * n_workers * share
    width = k + 1
    flops = 2 * n * 2 * width * width / 2 + (users + items) * (width**3 / 3 + 2 * width**2)
    return ClusterEstimate(
        max(ratings / n_workers + tables + panel, shuffle), ratings / n_workers, tables, panel, shuffle, traffic,
        flops / (CORE_FLOPS * n_cores * n_workers), traffic / n_workers * 8 / (gigabits * 1e9),
    )  # fmt: skip


def _needed(n: float, rows: float, spread: float, n_workers: int) -> float:
    """Return how many rows a group with 1/W of the ratings needs."""
    # Quantiles of the log-normal distribution, with the mean n / rows.
    levels = (np.arange(1000) + 0.5) / 1000
    counts = np.exp(spread * scipy.stats.norm.ppf(levels))
    counts *= n / rows / counts.mean()
    return float(rows * (1 - (1 - 1 / n_workers) ** counts).mean()) if n_workers > 1 else float(rows)
