from typing import Any, Final, Protocol, type_check_only

import numpy as np
from numpy.typing import NDArray

__pyx_capi__: dict[str, Any]  # what the other compiled modules share
PAD: Final[int]
PACKED_COLUMNS: int
STEP_WORK_ROWS: int

def set_simd_level(name: str | None = None) -> str: ...
def simd_level() -> str: ...
def peak_flops(repeats: int, n_threads: int) -> float: ...
def row_workspace(k: int, itemsize: int) -> int: ...
def quadratic_forms_workspace(k: int, itemsize: int) -> int: ...

@type_check_only
class Rows(Protocol):
    """What `solve_rows` and `quadratic_forms` read of row systems; see describe_rows in ``_core.pyx``."""

    @property
    def indptr(self) -> NDArray[np.int64]: ...
    @property
    def indices(self) -> NDArray[np.int32]: ...
    @property
    def values(self) -> NDArray[Any]: ...
    @property
    def weights(self) -> NDArray[Any]: ...
    @property
    def offset(self) -> float: ...
    @property
    def scale(self) -> float: ...
    @property
    def table(self) -> NDArray[Any]: ...
    @property
    def k(self) -> int: ...
    @property
    def reg(self) -> float: ...
    @property
    def reg_bias(self) -> float: ...
    @property
    def row_scale(self) -> NDArray[np.float64]: ...
    @property
    def empty_scale(self) -> float: ...
    @property
    def precision(self) -> NDArray[Any]: ...
    @property
    def means(self) -> NDArray[Any]: ...
    @property
    def base(self) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]] | None: ...

def solve_rows(
    rows: Rows,
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    work: NDArray[Any],
    out: NDArray[Any],
    loss: NDArray[np.float64],
    noise: float = 0.0,
    seed: int = 0,
    draw_index: int = 0,
) -> int: ...
def gram_rows(rows: Rows, work: NDArray[Any], out: NDArray[np.float64]) -> None: ...
def covariances(
    rows: Rows,
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    requested: NDArray[np.int32],
    work: NDArray[Any],
    out: NDArray[Any],
) -> int: ...
def quadratic_forms(
    rows: Rows,
    starts: NDArray[np.int64],
    order: NDArray[np.int32],
    requested: NDArray[np.int32],
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
) -> None: ...
def packed_difference(
    x: NDArray[Any],
    y: NDArray[Any],
    row_scale: NDArray[np.float64],
    columns: int,
    work: NDArray[Any],
    out: NDArray[Any],
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
) -> None: ...
def packed_axpby(
    a: NDArray[np.float64],
    x: NDArray[Any],
    b: NDArray[np.float64],
    work: NDArray[Any],
    y: NDArray[Any],
    total: NDArray[Any],
) -> None: ...
def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32], out: NDArray[np.uint32]) -> None: ...
def noise_workspace(columns: int) -> int: ...
def add_noise(
    x: NDArray[Any],
    root: NDArray[Any],
    start: NDArray[Any],
    scale: float,
    seed: int,
    draw_index: int,
    columns: int,
    work: NDArray[Any],
    out: NDArray[Any],
) -> None: ...
def add_table(x: NDArray[Any], n_threads: int, total: NDArray[Any]) -> None: ...
def normals(seed: int, draw_index: int, out: NDArray[np.float64]) -> None: ...
