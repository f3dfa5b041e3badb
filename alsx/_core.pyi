from typing import Any, Final, Protocol, type_check_only

import numpy as np
from numpy.typing import NDArray

__pyx_capi__: dict[str, Any]  # what the other compiled modules share
PAD: Final[int]

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
def normals(seed: int, draw_index: int, out: NDArray[np.float64]) -> None: ...
