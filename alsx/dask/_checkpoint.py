"""Checkpoints: the tables of a fit on a disk that all workers share, from which the same fit goes on with the same bits.

A checkpoint is a folder for an iteration with a file for each block and a manifest that says what each file holds. It is made under
another name and renamed when all of it is there, so that there is always a whole one; the one before goes then.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._files import sync_folder
from alsx._models import archive
from alsx._models.training import Specification
from alsx._solver.alternation import Iteration
from alsx.dask._cluster import LEVELS, Session
from alsx.dask._source import AllIds
from alsx.dask._sweeps import Solved
from alsx.ratings._caller import path_name

FORMAT = 1
MANIFEST = "manifest.json"
FOLDER = re.compile(r"iteration-(\d{6})")
SIDES = ("users", "items", "before")


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or of another fit."""


class Fingerprint(NamedTuple):
    """What a checkpoint has to be of.

    Parameters
    ----------
    data : str
        A digest of all ratings and ids, and of how they are cut.
    parameters : dict
        Of the model, as far as they matter to its tables.
    seed : int or None
        Where the caller gave a number.
    """

    data: str
    parameters: dict[str, Any]
    seed: int | None

    @classmethod
    def of(
        cls, specification: Specification, digests: Sequence[str], bounds: Sequence[NDArray[np.int64]], seed: int | None
    ) -> Fingerprint:
        """Return the fingerprint of a fit."""
        whole = hashlib.blake2b(json.dumps([*digests, *(x.tolist() for x in bounds)]).encode(), digest_size=16)
        penalties = [[float(x).hex() for x in penalty] for penalty in specification.penalties]
        parameters = {
            "model": specification.name, "k": specification.k, "dtype": specification.dtype.name, "penalties": penalties
        }  # fmt: skip
        return cls(whole.hexdigest(), parameters, seed)


class Found(NamedTuple):
    """What the last checkpoint of a folder is.

    Parameters
    ----------
    folder : pathlib.Path
    iterations : list of Iteration
    level : str
        The instruction set of its fit.
    digests : dict of str to list of str
        Of the files of each of `SIDES`, by block.
    """

    folder: Path
    iterations: list[Iteration]
    level: str
    digests: dict[str, list[str]]


class Checkpoint:
    """The checkpoints of one fit.

    Parameters
    ----------
    folder : path-like
        On a disk that client and workers share; made where there is none.
    fingerprint : Fingerprint

    Attributes
    ----------
    found : Found or None
        The last one that is there.

    Raises
    ------
    CheckpointError
        If there is one that is damaged, or of another fit.
    """

    def __init__(self, folder: Any, fingerprint: Fingerprint) -> None:
        self.folder = Path(os.path.abspath(Path(folder).expanduser()))
        self.fingerprint = fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)
        self.found = self._last()

    def _last(self) -> Found | None:
        """Return the last checkpoint that is there."""
        numbers = sorted(int(match[1]) for x in self.folder.iterdir() if (match := FOLDER.fullmatch(x.name)))
        if not numbers:
            return None
        folder = self.folder / f"iteration-{numbers[-1]:06d}"
        try:
            about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            same = {name: about[name] for name in Fingerprint._fields}
            iterations = [Iteration(*(None if x is None else _number(x) for x in one)) for one in about["iterations"]]
            iterations = [one._replace(number=int(one.number)) for one in iterations]
            found = Found(folder, iterations, about["level"], about["digests"])
            if about["format"] != FORMAT or len(iterations) != numbers[-1] or set(found.digests) != set(SIDES):
                raise ValueError(MANIFEST)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"checkpoint is {path_name(folder)}, which is damaged ({type(error).__name__} in its manifest): remove it to begin "
                "anew"
            ) from None
        if same["data"] != self.fingerprint.data:
            self._refuse(folder, "of other ratings")
        for name, value in self.fingerprint.parameters.items():
            if same["parameters"].get(name) != value:
                self._refuse(folder, f"of a fit with another {'reg, reg_bias or reg_scaling' if name == 'penalties' else name}")
        if None not in (same["seed"], self.fingerprint.seed) and same["seed"] != self.fingerprint.seed:
            self._refuse(folder, f"of a fit with random_state={same['seed']}")
        return found

    def _refuse(self, folder: Path, why: str) -> None:
        raise CheckpointError(
            f"checkpoint is {path_name(folder)}, which is {why}: pass another folder, or remove this one to begin anew"
        )

    def level(self, lowest: str) -> str:
        """Return the instruction set that the fit has to go on with.

        Parameters
        ----------
        lowest : str
            The lowest of all workers.
        """
        if self.found is None:
            return lowest
        if LEVELS.index(self.found.level) > LEVELS.index(lowest):
            raise CheckpointError(
                f"checkpoint is of a fit with the instruction set {self.found.level!r}, which a worker does not have (it has "
                f"{lowest!r}): go on with workers that have it, or remove the folder to begin anew"
            )
        return self.found.level

    def blocks(self, session: Session, places: tuple[list[str], list[str], list[str]]) -> Any:
        """Return futures of the blocks of users, items and the items before, read from the last checkpoint."""
        assert self.found is not None
        found = self.found
        return tuple(
            [
                session.submit("restore", read_block, str(found.folder / f"{name}-{block:04d}.npz"), digest, at=at)
                for block, (digest, at) in enumerate(zip(found.digests[name], addresses, strict=True))
            ]
            for name, addresses in zip(SIDES, places, strict=True)
        )

    def write(
        self, session: Session, tables: tuple[list[Any], list[Any], list[Any]], iterations: list[Iteration], level: str
    ) -> None:
        """Write the tables after an iteration.

        Parameters
        ----------
        session : Session
        tables : tuple of list of Future
            Blocks of users, items and the items before.
        iterations : list of Iteration
            All so far.
        level : str
            The instruction set.
        """
        number = len(iterations)
        target = self.folder / f"iteration-{number:06d}"
        part = self.folder / f"{target.name}.{secrets.token_hex(8)}.part"
        part.mkdir()
        try:
            digests = {}
            for name, blocks in zip(SIDES, tables, strict=True):
                written = [
                    session.submit("checkpoint", write_block, x, str(part / f"{name}-{block:04d}.npz"))
                    for block, x in enumerate(blocks)
                ]
                digests[name] = session.collect(written, "writing the checkpoint")
            about = {
                "format": FORMAT,
                **self.fingerprint._asdict(),
                "level": level,
                "iterations": [[x.hex() if isinstance(x, float) else x for x in one] for one in iterations],
                "digests": digests,
            }
            (part / MANIFEST).write_text(json.dumps(about, indent=1), encoding="utf-8")
            sync_folder(part)
            if target.exists():
                shutil.rmtree(target)
            os.rename(part, target)
            sync_folder(self.folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self.found = Found(target, list(iterations), level, digests)
        for other in self.folder.iterdir():
            if other != target and (FOLDER.fullmatch(other.name) or other.name.endswith(".part")):
                shutil.rmtree(other, ignore_errors=True)


def _number(x: Any) -> float:
    return float.fromhex(x) if isinstance(x, str) else float(x)


# ---------------------------------------------------------------------------------------------------------------------
# Tasks


def write_block(solved: Solved, path: str) -> str:
    """Write a block to a file, and return a digest of the file."""
    content = io.BytesIO()
    archive.write(content, {"table": solved.table, "errors": solved.errors})
    data = content.getvalue()
    if not os.path.isdir(os.path.dirname(path)):
        raise CheckpointError(
            f"checkpoint is {path_name(os.path.dirname(os.path.dirname(path)))}, a folder that a worker does not see: pass one on a "
            "disk that all workers share"
        )
    # A task that is done again meanwhile writes the same bytes to a file of its own.
    own = f"{path}.{secrets.token_hex(8)}"
    with open(own, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(own, path)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_block(path: str, digest: str) -> Solved:
    """Return a block that was written to a file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint has no file {path_name(path)} ({type(error).__name__}): remove the folder to begin anew"
        ) from None
    if hashlib.blake2b(data, digest_size=16).hexdigest() != digest:
        raise CheckpointError(f"checkpoint is damaged: {path_name(path)} is not what was written: remove it to begin anew")
    arrays = archive.read(io.BytesIO(data))
    return Solved(arrays["table"], arrays["errors"], ([], []))


def digest_of_ids(ids: AllIds) -> str:
    """Return a digest of all ids."""
    digest = hashlib.blake2b(digest_size=16)
    for side in ids:
        digest.update(side.values.dtype.str.encode())
        digest.update(np.ascontiguousarray(side.values).view(np.uint8))
    return digest.hexdigest()
