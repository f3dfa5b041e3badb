from typing import Any

import numpy as np
from numpy.typing import NDArray

def mark_ids(raw: NDArray[Any], low: int, seen: NDArray[np.uint8]) -> None: ...
def sorted_state(
    user_raw: NDArray[Any],
    user_low: int,
    user_table: NDArray[np.int32],
    item_raw: NDArray[Any],
    item_low: int,
    item_table: NDArray[np.int32],
    n_parts: int,
) -> int: ...
def code_ids(raw: NDArray[Any], low: int, table: NDArray[np.int32], n_parts: int, codes: NDArray[np.int32]) -> None: ...
def count_ids(raw: NDArray[Any], low: int, table: NDArray[np.int32], counts: NDArray[np.int64]) -> None: ...
def move_ids(
    key_raw: NDArray[Any],
    key_low: int,
    key_table: NDArray[np.int32],
    other_raw: NDArray[Any],
    other_low: int,
    other_table: NDArray[np.int32],
    payload: NDArray[Any],
    places: NDArray[np.int64],
    indices: NDArray[np.int32],
    moved: NDArray[Any],
) -> None: ...
def count_codes(codes: NDArray[np.int32], counts: NDArray[np.int64]) -> None: ...
def transpose_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    payload: NDArray[Any],
    places: NDArray[np.int64],
    rows: NDArray[np.int32],
    moved: NDArray[Any],
) -> None: ...
def count_descents(indptr: NDArray[np.int64], indices: NDArray[np.int32], n_threads: int) -> int: ...
