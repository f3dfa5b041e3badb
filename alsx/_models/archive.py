"""Arrays in a NumPy ``.npz`` file, which is a ZIP archive of ``.npy`` files: written so that they can be mapped, read with care.

NumPy's own `savez` lets arrays begin anywhere in the file, so that one mapped into memory would not lie on the boundaries that its
numbers need. Here every array begins at a multiple of `ALIGNMENT` bytes, by padding in the archive's headers, as ``zipalign`` does
it; any ZIP and NumPy program reads the file all the same.
"""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A processor's cache line, which is what tables begin on in memory, too.
ALIGNMENT = 64

# How many times as large as the file its arrays may be said to be. They are stored as they are, so that it is hardly more than
# once; a file that was compressed by other means is read, one that would fill the memory is not.
MAX_EXPANSION = 20

# A ZIP local header: its fixed part, the field of large sizes that is always written, and the start of the field of padding,
# whose number is the one of zipalign.
LOCAL_HEADER, ZIP64_FIELD, PADDING_HEADER, PADDING_ID = 30, 20, 4, 0xD935


def write(file: Any, arrays: dict[str, Array]) -> None:
    """Write arrays to a binary file object; the same arrays give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # of the year 1980
            assert archive.fp is not None
            begin = archive.fp.tell() + LOCAL_HEADER + len(member.filename.encode()) + ZIP64_FIELD + PADDING_HEADER
            padding = -begin % ALIGNMENT
            member.extra = struct.pack("<HH", PADDING_ID, padding) + bytes(padding)
            with archive.open(member, "w", force_zip64=True) as opened:
                np.lib.format.write_array(opened, np.asanyarray(array), allow_pickle=False)


def read(file: IO[bytes], *, mmap: bool = False) -> dict[str, Array]:
    """Return the arrays of a file.

    Parameters
    ----------
    file : binary file object
    mmap : bool, default=False
        Map arrays into memory that are stored as they are, read-only; others are read. The file must have a descriptor.

    Raises
    ------
    ValueError
        If members are said to be much larger than the file, or reach beyond it.
    """
    _check_sizes(file)
    whole = np.memmap(file, np.uint8, "r") if mmap else None
    if mmap:
        file.seek(0)  # mapping goes to the end
    with np.load(file, allow_pickle=False) as stored:
        if whole is None:
            return {name: stored[name] for name in stored.files}
        members = {member.filename: member for member in stored.zip.infolist()}
        found: dict[str, Array] = {}
        for name in stored.files:
            mapped = _mapped(file, whole, members[f"{name}.npy"]) if f"{name}.npy" in members else None
            found[name] = stored[name] if mapped is None else mapped
        return found


def _mapped(file: IO[bytes], whole: Array, member: zipfile.ZipInfo) -> Array | None:
    """Return an array as a part of the mapped file; None where it cannot be one."""
    if member.compress_type != zipfile.ZIP_STORED:
        return None
    file.seek(member.header_offset)
    header = file.read(LOCAL_HEADER)
    if len(header) < LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise ValueError(f"{member.filename} does not begin where it should")
    lengths = struct.unpack("<HH", header[26:30])  # of the name and of the extra fields
    begin = member.header_offset + LOCAL_HEADER + sum(lengths)
    file.seek(begin)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        return None
    first = file.tell()
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if fortran or dtype.hasobject or first % max(dtype.alignment, 1):
        return None
    if first - begin + size != member.file_size or first + size > len(whole):
        raise ValueError(f"{member.filename} is said to have {size:,} bytes, but has {member.file_size:,}")
    return whole[first : first + size].view(dtype).reshape(shape)


def _check_sizes(file: IO[bytes]) -> None:
    """Refuse a file whose members are said to be much larger than the file: `write` does not compress them."""
    start = file.tell()
    file.seek(0, os.SEEK_END)
    size = file.tell() - start
    file.seek(start)
    with zipfile.ZipFile(file) as archive:
        said = sum(member.file_size for member in archive.infolist())
    file.seek(start)
    if said > MAX_EXPANSION * size:
        raise ValueError(f"its arrays are said to have {said:,} bytes, but the file has {size:,}")


# ---------------------------------------------------------------------------------------------------------------------
# Arrays in a folder, each a file of its own, so that several processes can write them at the same time

# Bytes behind an array, so that kernels, which load whole vectors, may read it where it is mapped.
TAIL = 1024


def make_array_file(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Make a ``.npy`` file of an array of zeros, for `fill_array_file`."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize + TAIL)


def fill_array_file(path: Path, first: int, rows: Array) -> None:
    """Write rows of an array into its file, from the row `first` on, and put them on the disk."""
    with path.open("r+b") as file:
        shape, _, dtype = _header(file)
        begin = file.tell()
        width = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
        file.seek(begin + first * width)
        file.write(np.ascontiguousarray(rows, dtype).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def write_array_file(path: Path, array: Array) -> None:
    """Write a whole array to a file of its own."""
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        file.write(bytes(TAIL))
        file.flush()
        os.fsync(file.fileno())


def read_folder(folder: Path, *, mmap: bool = False) -> dict[str, Array]:
    """Return the arrays of a folder; those of numbers mapped into memory, read-only, where that is asked for.

    Raises
    ------
    ValueError
        If a file is not as long as it says.
    """
    found = {}
    for path in sorted(folder.glob("*.npy")):
        with path.open("rb") as file:
            shape, fortran, dtype = _header(file)
            first, size = file.tell(), int(np.prod(shape, dtype=object)) * dtype.itemsize
            if fortran or dtype.hasobject or path.stat().st_size < first + size:
                raise ValueError(f"{path.name} is said to have {size:,} bytes, but has {path.stat().st_size - first:,}")
            if mmap and size and dtype.kind != "U":
                whole = np.memmap(path, np.uint8, "r")
                found[path.stem] = whole[first : first + size].view(dtype).reshape(shape)
            else:
                file.seek(0)
                found[path.stem] = np.lib.format.read_array(file, allow_pickle=False)
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a ``.npy`` file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)
