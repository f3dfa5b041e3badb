from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKED_COLUMNS: int
STEP_WORK_ROWS: int

def sparse_product(
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    table: NDArray[Any],
    columns: int,
    row_scale: NDArray[np.float64],
    ridge: float,
    minus: NDArray[Any],
    n_threads: int,
    out: NDArray[Any],
) -> None: ...
def n_chunks(n_rows: int) -> int: ...
def column_products(
    x: NDArray[Any],
    y: NDArray[Any],
    row_scale: NDArray[np.float64],
    columns: int,
    n_threads: int,
    out: NDArray[np.float64],
) -> None: ...
def scaled_difference(
    x: NDArray[Any],
    y: NDArray[Any],
    row_scale: NDArray[np.float64],
    columns: int,
    n_threads: int,
    out: NDArray[Any],
) -> None: ...
def axpby(
    a: NDArray[np.float64],
    x: NDArray[Any],
    b: NDArray[np.float64],
    n_threads: int,
    y: NDArray[Any],
    total: NDArray[Any],
    first: int = 0,
) -> None: ...
def packed_difference(
    x: NDArray[Any],
    y: NDArray[Any],
    row_scale: NDArray[np.float64],
    columns: int,
    work: NDArray[Any],
    out: NDArray[Any],
    first: int = 0,
) -> None: ...
def packed_direction(
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    residuals: NDArray[Any],
    inverse_diagonal: NDArray[np.float64],
    ridge: float,
    coefficients: NDArray[Any],
    last: NDArray[Any],
    work: NDArray[Any],
    out: NDArray[Any],
    sums: NDArray[np.float64],
    first: int = 0,
) -> None: ...
def packed_change(
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    steps: NDArray[Any],
    factor: NDArray[np.float64],
    last: NDArray[Any],
    row_scale: NDArray[np.float64],
    counts: NDArray[np.float64],
    precision: NDArray[np.float64],
    information: NDArray[np.float64],
    shared: NDArray[np.float64],
    work: NDArray[Any],
    out: NDArray[Any],
    sums: NDArray[np.float64],
    first: int = 0,
) -> None: ...
def packed_axpby(
    a: NDArray[np.float64],
    x: NDArray[Any],
    b: NDArray[np.float64],
    work: NDArray[Any],
    y: NDArray[Any],
    total: NDArray[Any],
    first: int = 0,
) -> None: ...
def add_table(x: NDArray[Any], n_threads: int, total: NDArray[Any]) -> None: ...
