from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PAD: Final[int]
OPENMP: Final[bool]

def set_simd_level(name: str | None = None) -> str: ...
def simd_level() -> str: ...
def openmp_max_threads() -> int: ...
def peak_flops(repeats: int, n_threads: int) -> float: ...
def row_workspace(k: int, itemsize: int) -> int: ...
def half_sweep(
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    weights: NDArray[Any],
    offset: float,
    scale: float,
    table: NDArray[Any],
    k: int,
    reg: float,
    reg_bias: float,
    scaling: NDArray[np.float64],
    precision: NDArray[Any],
    prior: NDArray[Any],
    noise: float,
    seed: int,
    turn: int,
    work: NDArray[Any],
    out: NDArray[Any],
    loss: NDArray[np.float64],
) -> int: ...
def quadratics_workspace(k: int, itemsize: int) -> int: ...
def quadratics(
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    rows: NDArray[np.int32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    table: NDArray[Any],
    k: int,
    reg: float,
    reg_bias: float,
    scaling: NDArray[np.float64],
    precision: NDArray[Any],
    partner_indptr: NDArray[np.int64],
    partners: NDArray[np.int32],
    z: NDArray[Any],
    bordered: bool,
    work: NDArray[Any],
    out: NDArray[np.float64],
) -> int: ...
def sparse_product(
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[Any],
    table: NDArray[Any],
    columns: int,
    scaling: NDArray[np.float64],
    ridge: float,
    minus: NDArray[Any],
    n_threads: int,
    out: NDArray[Any],
) -> None: ...
def n_parts(n_rows: int) -> int: ...
def column_products(
    x: NDArray[Any],
    y: NDArray[Any],
    scaling: NDArray[np.float64],
    columns: int,
    n_threads: int,
    out: NDArray[np.float64],
) -> None: ...
def scaled_difference(
    x: NDArray[Any],
    y: NDArray[Any],
    scaling: NDArray[np.float64],
    columns: int,
    n_threads: int,
    out: NDArray[Any],
) -> None: ...
def advance(
    a: NDArray[np.float64],
    x: NDArray[Any],
    b: NDArray[np.float64],
    n_threads: int,
    y: NDArray[Any],
    total: NDArray[Any],
) -> None: ...
def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32], out: NDArray[np.uint32]) -> None: ...
def normals(seed: int, turn: int, out: NDArray[np.float64]) -> None: ...
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
def mark_ids(raw: NDArray[Any], low: int, seen: NDArray[np.uint8]) -> None: ...
def sorted_state(
    user_raw: NDArray[Any],
    user_low: int,
    user_table: NDArray[np.int32],
    item_raw: NDArray[Any],
    item_low: int,
    item_table: NDArray[np.int32],
) -> int: ...
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
