import numpy as np
import numpy.typing as npt

def parse_lines(
    text: npt.NDArray[np.uint8],
    delimiter: int,
    roles: npt.NDArray[np.int32],
    users: npt.NDArray[np.signedinteger],
    items: npt.NDArray[np.signedinteger],
    ratings: npt.NDArray[np.floating],
    times: npt.NDArray[np.int64],
) -> int: ...
def count_lines(text: npt.NDArray[np.uint8]) -> int: ...
