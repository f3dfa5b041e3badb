from typing import Any

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
def pack_items(table: NDArray[Any], k: int, packed: NDArray[Any], n_threads: int) -> None: ...
def top_n_block() -> int: ...
def top_n_workspace(k: int) -> int: ...
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
) -> None: ...
def top_n_nanoseconds(m: int, n_items: int, k: int) -> float: ...
