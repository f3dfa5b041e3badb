from typing import Any, Protocol, type_check_only

import numpy as np
from numpy.typing import NDArray

def predict_pairs(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    user_table: NDArray[Any],
    item_table: NDArray[Any],
    k: int,
    mean: float,
    n_threads: int,
    out: NDArray[np.float64],
) -> None: ...
def squared_errors(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    user_table: NDArray[Any],
    item_table: NDArray[Any],
    k: int,
    mean: float,
    unit: float,
    low: float,
    high: float,
    n_threads: int,
    out: NDArray[np.float64],
) -> None: ...
def group_pairs(rows: NDArray[np.int32], indptr: NDArray[np.int64], places: NDArray[np.int64]) -> None: ...
def pair_forms(
    indptr: NDArray[np.int64],
    places: NDArray[np.int64],
    partners: NDArray[np.int32],
    covariances: NDArray[Any],
    table: NDArray[Any],
    unknown: NDArray[Any],
    k: int,
    n_threads: int,
    out: NDArray[np.float64],
) -> None: ...
def pack_items(table: NDArray[Any], k: int, packed: NDArray[Any], n_threads: int) -> None: ...
def top_n_block() -> int: ...
def top_n_workspace(k: int, limits: bool = False) -> int: ...

@type_check_only
class Limits(Protocol):
    """What `top_n` reads of limits; see describe_limits in ``_scores.pyx``."""

    @property
    def users(self) -> NDArray[Any]: ...
    @property
    def items(self) -> NDArray[Any]: ...
    @property
    def rows(self) -> NDArray[np.int32]: ...
    @property
    def columns(self) -> NDArray[np.int32]: ...
    @property
    def n_std(self) -> float: ...
    @property
    def sigma2(self) -> float: ...

def top_n(
    users: NDArray[np.int32],
    table: NDArray[Any],
    packed: NDArray[Any],
    bias: NDArray[Any],
    seen_indptr: NDArray[np.int64],
    seen_indices: NDArray[np.int32],
    n_slices: int,
    work: NDArray[Any],
    top_items: NDArray[np.int32],
    top_scores: NDArray[Any],
    limits: Limits | None = None,
) -> None: ...
def top_n_nanoseconds(m: int, n_items: int, k: int) -> float: ...
