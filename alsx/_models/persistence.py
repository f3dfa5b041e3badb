"""Saved models: a NumPy ``.npz`` file of arrays and one JSON text, without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from alsx import _check
from alsx._files import atomic_write
from alsx._models import archive
from alsx._models.features import FeatureEncoder
from alsx._models.seen import has_values
from alsx._models.side import FittedSide
from alsx._models.state import ModelState, Titles
from alsx._models.times import TIME, TimeEffects
from alsx._models.training import fitted_uncertainty
from alsx._solver import SIDES
from alsx._solver.gibbs import Chain, Samples
from alsx._solver.missing import TRANSFORMS, Confidence, MissingPairs
from alsx._solver.ordinal import OrdinalScale
from alsx._solver.posterior import Evidence, Posterior, SeenEvidence
from alsx._solver.prior import Basis, FittedPrior
from alsx._solver.tables import row_width
from alsx._solver.time_offsets import GroupLevel
from alsx._solver.uncertainty import SHAPE_LEVELS, Errors, Noise, Uncertainty
from alsx._version import __version__
from alsx.ratings import CSR, Ids

Model = TypeVar("Model")
Array = NDArray[Any]

# The layout of saved files. Nothing has been released yet, so that only this one is read.
FORMAT = 4

# The largest rank that a file may have: beyond, a single row's system would not fit into memory.
MAX_RANK = 100_000

# Where the prior that rows were solved with differs from the one of the model.
BASIS_EFFECTS = ("implicit_effects", "feature_effects")

# Arrays that every file has.
REQUIRED = (
    *(f"{side}_{name}" for side in SIDES for name in ("ids", "table", "counts", "has_data")), "seen_indptr", "seen_indices",
)  # fmt: skip


def save(arrays: dict[str, Any], path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write the arrays of a model; see `Recommender.save`."""
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "write"):
            raise TypeError(f"path is of type {type(path).__name__}; it must be a path or a binary file object")
        archive.write(path, arrays)
        return
    with atomic_write(path) as file:
        archive.write(file, arrays)


def read(
    path: str | os.PathLike[str] | IO[bytes],
    make: Callable[[str, dict[str, Any], ModelState], Model],
    *,
    mmap: bool = False,
) -> Model:
    """Read a model that `save` wrote; see `alsx.load`.

    Parameters
    ----------
    path : path-like or binary file object
    make : callable
        ``make(kind, parameters, state)`` returns the estimator of this name with these parameters, fitted.
    mmap : bool, default=False
        Map arrays into memory instead of reading them.
    """
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "read"):
            raise TypeError(f"path is of type {type(path).__name__}; it must be a path or a binary file object")
        if mmap:
            raise ValueError("mmap is True, but path is a file object; give the path of a file, or leave mmap out")
        return _read(path, getattr(path, "name", "the file object"), make)
    file = Path(path).expanduser()
    if file.is_dir():
        return _read(file, file, make, mmap=mmap)
    with file.open("rb") as opened:
        return _read(opened, file, make, mmap=mmap)


def _read(
    file: IO[bytes] | Path, name: Any, make: Callable[[str, dict[str, Any], ModelState], Model], *, mmap: bool = False
) -> Model:
    """Read a model from an open file, or a folder, that messages call `name`."""
    try:
        stored = archive.read_folder(file, mmap=mmap) if isinstance(file, Path) else archive.read(file, mmap=mmap)
        about = json.loads(str(stored["about"]))
        # Asked first: a later version may have other arrays and parameters.
        newer = about["format"] > FORMAT
        model = None if newer else make(*_restored(about, stored))
    except Exception as error:
        raise ValueError(f"{name} is not a whole model file written by alsx: {_reason(error)}") from error
    if model is None:
        version = str(about.get("version"))[:40]
        raise ValueError(f"{name} was written by alsx {version}, which is newer than this one: upgrade alsx")
    return model


def _reason(error: Exception) -> str:
    """Return what went wrong, short enough for one message."""
    text = (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
    return text if len(text) <= 160 else text[:154] + " [...]"


# ---------------------------------------------------------------------------------------------------------------------
# What a file holds


def arrays_of(
    kind: str, parameters: dict[str, Any], state: ModelState, n_threads: int, *, with_ratings: bool
) -> dict[str, Any]:
    """Return the arrays of a model's file; ``about`` is the JSON text.

    Parameters
    ----------
    kind : str
        The name of the estimator.
    parameters : dict
        Of the estimator.
    state : ModelState
    n_threads : int
        For what is found for the purpose, the noise of a model that rows were folded into.
    with_ratings : bool
        Keep values and weights of the ratings.
    """
    with_ratings = with_ratings and has_values(state.seen)
    # A generator's state is no parameter of a fitted model, and how many threads there are is a matter of this machine.
    if not isinstance(parameters.get("random_state"), (int, type(None))):
        parameters = {**parameters, "random_state": None}
    # Nor is a function that followed the fit.
    parameters = {name: None if name == "callback" else _plain(value) for name, value in parameters.items()}
    about: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "model": kind,
        "parameters": {**parameters, "n_jobs": None},
        "history": state.history,
        "mean": state.mean,
        "rating_range": state.rating_range,
        "k": state.users.k,
        "reg": state.reg,
        "reg_bias": state.reg_bias,
        "best_iter": state.best_iter,
        "priors": {side.name: _prior_numbers(side) for side in (state.users, state.items)},
    }
    if state.missing is not None:
        about["missing"] = state.missing._asdict()
        about["missing"]["confidence"] = None if state.missing.confidence is None else list(state.missing.confidence)
    arrays: dict[str, Any] = {"seen_indptr": state.seen.indptr, "seen_indices": state.seen.indices}
    if with_ratings:
        arrays["seen_values"] = state.seen.values
        if state.seen.weights is not None:
            arrays["seen_weights"] = state.seen.weights
    arrays["folded_in_ids"] = state.folded_in_ids
    for side in (state.users, state.items):
        name = side.name
        arrays[f"{name}_ids"], arrays[f"{name}_counts"] = side.ids.values, side.counts
        arrays[f"{name}_has_data"] = side.has_data
        # As wide as in memory, so that they can be used where they are when the file is mapped.
        arrays[f"{name}_table"] = side.table
        arrays |= {f"{name}_{key}": x for key, x in side.prior._asdict().items() if isinstance(x, np.ndarray)}
        arrays |= {f"{name}_{key}": x for key, x in _solving_arrays(side).items()}
    if state.times is not None:
        about["time"] = {"seconds": state.times.seconds, "span": state.times.span}
        arrays |= _time_arrays(state.times, with_ratings=with_ratings)
    arrays |= _chain_arrays(state.chain)
    if state.titles is not None:
        arrays |= {"title_ids": state.titles.ids.values, "title_texts": state.titles.texts}
    if state.uncertainty is not None:
        text, arrays_of_uncertainty = _uncertainty_arrays(
            state, state.uncertainty, n_threads, with_ratings=with_ratings
        )
        about |= text
        arrays |= arrays_of_uncertainty
    return {"about": np.array(json.dumps(about)), **arrays}


def _solving_arrays(side: FittedSide) -> dict[str, Array]:
    """Return what a side's rows were solved from, besides the model as it stands."""
    arrays: dict[str, Array] = {}
    if side.features is not None:
        arrays |= {f"features_{key}": getattr(side.features, key) for key in ("indptr", "indices", "data")}
    if side.solved_at is not None:
        arrays["solved_at"] = side.solved_at
    if side.of_fit is not None:
        arrays["of_fit"] = side.of_fit
    if side.basis is not None:
        if side.basis.table is not None:
            arrays["basis_table"] = side.basis.table
        arrays |= {
            f"basis_{key}": getattr(side.basis.prior, key)
            for key in BASIS_EFFECTS
            if getattr(side.basis.prior, key) is not None
        }
    return arrays


def _chain_arrays(chain: Chain | None) -> dict[str, Array]:
    """Return the traces and samples of a sampler."""
    if chain is None:
        return {}
    arrays: dict[str, Array] = {f"trace_{name}": values for name, values in chain.traces.items()}
    if chain.scale is not None:
        scale = {name: values for name, values in chain.scale._asdict().items() if values is not None}
        arrays |= {f"scale_{name}": np.asarray(values) for name, values in scale.items()}
    if chain.samples is not None:
        arrays |= {f"samples_{name}": values for name, values in chain.samples._asdict().items()}
    return arrays


def _time_arrays(times: TimeEffects, *, with_ratings: bool) -> dict[str, Array]:
    """Return the arrays of offsets of time."""
    arrays = {f"time_{name}": getattr(times, name) for name in ("ratios", "variances", "means")}
    if with_ratings:
        arrays["time_seen"] = times.seen
    for place, level in enumerate(times.levels):
        arrays |= {f"time_{place}_{name}": getattr(level, name) for name in ("users", "periods", "parents")}
        arrays |= {f"time_{place}_counts": times.counts[place], f"time_{place}_offsets": times.offsets[place]}
    return arrays


def _prior_numbers(side: FittedSide) -> dict[str, Any]:
    """Return what the text says of a side's prior and encoder; arrays apart."""
    numbers = {name: x for name, x in side.prior._asdict().items() if isinstance(x, float)}
    return {"encoder": None if side.encoder is None else side.encoder.state(), **numbers}


def _uncertainty_arrays(
    state: ModelState, uncertainty: Uncertainty, n_threads: int, *, with_ratings: bool
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what the text, and what the arrays say of a model's uncertainty.

    Of a model as it was fitted these are its errors, since all else is in the file already. Of one that rows were folded into,
    they are what each side was solved from, and the noise, which is found for the purpose; so too where only weights that are not
    kept would tell which ratings count.
    """
    weights = state.seen.weights
    is_told = with_ratings or weights is None or weights.all()
    arrays: dict[str, Array] = {"errors_shape": uncertainty.error_shape}
    posteriors = {"user": uncertainty.users, "item": uncertainty.items}
    as_fitted = uncertainty.noise_source is None and all(
        isinstance(x.source, SeenEvidence) for x in posteriors.values()
    )
    if as_fitted and is_told:
        arrays |= {f"errors_{name}": posterior.source.errors for name, posterior in posteriors.items()}  # type: ignore[attr-defined]
        return {}, arrays
    noise = uncertainty.noise(n_threads)
    arrays |= {"noise_user": noise.user, "noise_item": noise.item}
    for name, posterior in posteriors.items():
        evidence, other = posterior.evidence, state.items if name == "user" else state.users
        arrays[f"errors_{name}"] = evidence.errors
        arrays[f"evidence_{name}_indptr"], arrays[f"evidence_{name}_indices"] = evidence.indptr, evidence.indices
        if evidence.table is not other.table:
            arrays[f"evidence_{name}_table"] = evidence.table
    return {"noise": {"sigma2": noise.sigma2, "taken": noise.taken}}, arrays


def _plain(value: Any) -> Any:
    """Return a parameter as JSON can hold it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(x) for x in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return np.dtype(value).name  # the only other kind of parameter is a dtype


# ---------------------------------------------------------------------------------------------------------------------
# Reading it


def _restored(about: dict[str, Any], stored: dict[str, Array]) -> tuple[str, dict[str, Any], ModelState]:
    """Return what a file's content says, once it is certain that kernels stay within its arrays.

    Returns
    -------
    kind : str
        The name of the estimator.
    parameters : dict
    state : ModelState
    """
    if about["format"] < FORMAT:
        raise ValueError("it was written by a version of before the first release: fit the model again")
    missing = [name for name in REQUIRED if name not in stored]
    if missing:
        raise ValueError(f"it holds no {missing[0]}")
    # JSON has no tuples.
    parameters = {name: tuple(x) if isinstance(x, list) else x for name, x in about["parameters"].items()}
    # How many threads there are is a matter of this machine.
    parameters["n_jobs"] = None
    k = _check.integer("k", about["k"], 0, MAX_RANK)
    users, items = (_restored_side(name, about, stored, k) for name in SIDES)
    if users.table.dtype != items.table.dtype:
        raise ValueError(f"its user_table is {users.table.dtype}, but its item_table {items.table.dtype}")
    seen = _restored_seen(stored, len(users), len(items), users.table.dtype)
    mean, low, high = (float(x) for x in (about["mean"], *about["rating_range"]))
    if not (np.isfinite(mean) and np.isfinite(low) and low <= high < np.inf):
        raise ValueError(f"its mean is {mean} and its ratings go from {low} to {high}")
    history = {str(name): [float(x) for x in values] for name, values in about["history"].items()}
    if not {"loss", "train_rmse"} <= set(history) or len({len(values) for values in history.values()}) != 1:
        raise ValueError("its history has lists of different lengths, or none of the loss and the training error")
    reg, reg_bias = ((float(about[name][0]), float(about[name][1])) for name in ("reg", "reg_bias"))
    state = ModelState(
        mean,
        (low, high),
        history,
        users,
        items,
        seen,
        _restored_uncertainty(about, stored, users, items, seen),
        _restored_chain(stored, users, items),
        reg,
        reg_bias,
        stored["folded_in_ids"],
        # Files that were written before a fit could keep another iterate than the last have no word of it.
        _check.integer("best_iter", about.get("best_iter", len(history["loss"])), 1, len(history["loss"])),
        _restored_titles(stored, items),
        _restored_missing(about.get("missing")),
        _restored_times(about.get("time"), stored, len(users), len(seen.indices)),
    )
    return str(about["model"]), parameters, state


def _restored_missing(numbers: dict[str, Any] | None) -> MissingPairs | None:
    """Return what pairs without a rating count as; None in a model that takes ratings alone."""
    if numbers is None:
        return None
    value, weight, confidence = float(numbers["value"]), float(numbers["weight"]), numbers["confidence"]
    if confidence is not None:
        alpha, transform = float(confidence[0]), str(confidence[1])
        if not (0 < alpha < np.inf and transform in TRANSFORMS):
            raise ValueError(f"its confidence is {alpha} and {transform!r}")
        confidence = Confidence(alpha, transform)
    missing = MissingPairs(value, weight, confidence)
    if not (np.isfinite(value) and 0 < weight < np.inf and missing.unit_weight > 0):
        raise ValueError(f"its missing ratings are {value} of weight {weight}")
    return missing


def _restored_times(
    about: dict[str, Any] | None, stored: dict[str, Array], n_users: int, n_seen: int
) -> TimeEffects | None:
    """Return offsets of time; None in a model that has none."""
    if about is None:
        return None
    seconds, span = tuple(about["seconds"]), about["span"]
    if seconds not in TIME.values() or not seconds:
        raise ValueError(f"its offsets of time are of {seconds} seconds")
    ratios, variances = (
        _checked(stored, f"time_{name}", (len(seconds),), np.float64) for name in ("ratios", "variances")
    )
    if min(ratios.min(), variances.min()) < 0:
        raise ValueError("the variances of its offsets of time are not all at least 0")
    levels, counts, offsets, n_above = [], [], [], n_users
    for place, length in enumerate(seconds):
        shape = stored[f"time_{place}_users"].shape[:1]
        users, parents = (_checked(stored, f"time_{place}_{name}", shape, np.int32) for name in ("users", "parents"))
        periods = _checked(stored, f"time_{place}_periods", shape, np.int64)
        for codes, n, what in ((users, n_users, "users"), (parents, n_above, "parents")):
            if len(codes) and (codes.min() < 0 or codes.max() >= n):
                raise ValueError(f"its time_{place}_{what} are not codes that it has")
        # Groups are looked for by bisection.
        if ((users[1:] < users[:-1]) | ((users[1:] == users[:-1]) & (periods[1:] <= periods[:-1]))).any():
            raise ValueError(f"its time_{place}_periods do not ascend")
        levels.append(GroupLevel(length, users, periods, parents))
        counts.append(_checked(stored, f"time_{place}_counts", shape, np.float64))
        offsets.append(_checked(stored, f"time_{place}_offsets", shape, np.float64))
        n_above = shape[0]
    seen = np.empty(0, np.int64)
    if "time_seen" in stored:
        seen = _checked(stored, "time_seen", (n_seen,), np.int64)
    means = _checked(stored, "time_means", (n_users,), np.float64)
    return TimeEffects(tuple(levels), counts, offsets, ratios, variances, means, seen, (int(span[0]), int(span[1])))


def _checked(stored: dict[str, Array], name: str, shape: tuple[int, ...], kind: Any) -> Array:
    """Return an array of a file once its shape and type are what they must be."""
    array = stored[name]
    if array.shape != shape or array.dtype != kind:
        raise ValueError(f"its {name} is {array.dtype} of shape {array.shape}, not {np.dtype(kind)} of {shape}")
    return _finite(array, name)


def _finite(array: Array, name: str) -> Array:
    """Return an array once all its numbers are finite."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"its {name} holds numbers that are not finite")
    return array


def _checked_csr(stored: dict[str, Array], prefix: str, n: int, n_columns: int, what: str) -> tuple[Array, Array]:
    """Return offsets and codes of a file once they stay within n rows and n_columns."""
    indptr = _checked(stored, f"{prefix}indptr", (n + 1,), np.int64)
    indices = _checked(stored, f"{prefix}indices", stored[f"{prefix}indices"].shape[:1], np.int32)
    # Compared, not subtracted: differences of absurd offsets wrap.
    if indptr[0] != 0 or indptr[-1] != len(indices) or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"its {prefix}indptr does not ascend from 0 to the number of ratings")
    if len(indices) and (indices.min() < 0 or indices.max() >= n_columns):
        raise ValueError(f"its {prefix}indices are not {what}")
    return indptr, indices


def _restored_seen(stored: dict[str, Array], n_users: int, n_items: int, dtype: np.dtype[Any]) -> CSR:
    """Return the ratings that the model has seen; without their values where they were left out."""
    indptr, indices = _checked_csr(stored, "seen_", n_users, n_items, "items in ascending order")
    ascends = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    ascends[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # from one row to the next
    if not ascends.all():
        raise ValueError("its seen_indices are not items in ascending order")
    values, weights = (
        _checked(stored, f"seen_{name}", indices.shape, dtype) if f"seen_{name}" in stored else None
        for name in ("values", "weights")
    )
    return CSR(indptr, indices, np.empty(0, dtype) if values is None else values, weights)


def _restored_side(name: str, about: dict[str, Any], stored: dict[str, Array], k: int) -> FittedSide:
    """Return users or items."""
    ids = Ids(stored[f"{name}_ids"], f"{name}s")
    table = stored[f"{name}_table"]
    dtype = _check.float_dtype(f"the type of {name}_table", table.dtype)
    _checked(stored, f"{name}_table", (len(ids), row_width(k, dtype)), dtype)
    if not len(ids):
        raise ValueError(f"it has no {name}s")
    counts = _checked(stored, f"{name}_counts", (len(ids),), np.int64)
    if counts.min() < 0:
        raise ValueError(f"its {name}_counts are not all at least 0")
    numbers = about["priors"][name]
    state = numbers["encoder"]
    encoder = None if state is None else FeatureEncoder.from_state(state)
    n_others = len(stored["item_ids" if name == "user" else "user_ids"])
    f = None if encoder is None else len(encoder.names) + 1
    shapes = {
        "precision": (k + 1, k + 1),
        "mean": (k + 1,),
        "implicit_effects": (n_others, k + 1),
        "feature_effects": (f, k + 1),
        "cold_feature_effects": (f, k + 1),
        "unrated_mean": (k + 1,),
    }
    arrays: dict[str, Any] = {key: stored[f"{name}_{key}"] for key in shapes if f"{name}_{key}" in stored}
    for key, array in arrays.items():
        if array.shape != shapes[key] or array.dtype.kind != "f":
            raise ValueError(f"its {name}_{key} is {array.dtype} of shape {array.shape}, not floats of {shapes[key]}")
        _finite(array, f"{name}_{key}")
    if (encoder is None) != ("feature_effects" not in arrays) or ("feature_effects" in arrays) != (
        "cold_feature_effects" in arrays
    ):
        raise ValueError(f"its {name}_feature_effects do not belong to its features")
    if "precision" in arrays:
        np.linalg.cholesky(arrays["precision"])  # or it is no precision
    reg, reg_bias, exponent, min_count = (
        float(numbers[key]) for key in ("reg", "reg_bias", "exponent", "typical_min_count")
    )
    prior_count = float(numbers.get("set_prior_count", 0.0))
    if not (0 <= reg < np.inf and 0 <= reg_bias < np.inf and 0 <= exponent <= 1 and 0 < min_count < np.inf):
        raise ValueError(f"its prior of {name}s is out of range")
    if not 0 <= prior_count < np.inf:
        raise ValueError(f"its set_prior_count of {name}s is {prior_count}")
    ridge = None if numbers.get("feature_ridge") is None else float(numbers["feature_ridge"])
    if ridge is not None and not 0 < ridge < np.inf:
        raise ValueError(f"its ridge of {name} features is out of range")
    prior = FittedPrior(
        reg, reg_bias, exponent, typical_min_count=min_count, feature_ridge=ridge, set_prior_count=prior_count, **arrays
    )
    has_data = _checked(stored, f"{name}_has_data", (len(ids),), np.bool_)
    solved_at = None
    if f"{name}_solved_at" in stored:
        solved_at = _checked(stored, f"{name}_solved_at", (len(ids),), np.int32)
        if solved_at.min() < 0:
            raise ValueError(f"its {name}_solved_at are not all at least 0")
    of_fit = _checked(stored, f"{name}_of_fit", (len(ids),), np.bool_) if f"{name}_of_fit" in stored else None
    features = None if f is None else _restored_features(stored, f"{name}_features_", len(ids), f)
    basis = _restored_basis(stored, f"{name}_basis_", prior, (n_others, row_width(k, table.dtype)), table.dtype)
    return FittedSide(name, ids, counts, has_data, table, k, prior, encoder, features, basis, solved_at, of_fit)


def _restored_features(stored: dict[str, Array], prefix: str, n: int, f: int) -> scipy.sparse.csr_array:
    """Return the features of a side's rows."""
    indptr, indices = (
        stored[f"{prefix}{key}"].astype(kind) for key, kind in (("indptr", np.int64), ("indices", np.int32))
    )
    checked = {f"{prefix}indptr": indptr, f"{prefix}indices": indices}
    indptr, indices = _checked_csr(checked, prefix, n, f, "features that the model knows")
    data = _checked(stored, f"{prefix}data", indices.shape, np.float64)
    return scipy.sparse.csr_array((data, indices, indptr), shape=(n, f))


def _restored_basis(
    stored: dict[str, Array], prefix: str, prior: FittedPrior, shape: tuple[int, int], dtype: np.dtype[Any]
) -> Basis | None:
    """Return what a side's rows were solved from; None where the file has nothing of it."""
    names = [name for name in ("table", *BASIS_EFFECTS) if f"{prefix}{name}" in stored]
    if not names:
        return None
    found: dict[str, Any] = {}
    for name in names:
        own = shape if name == "table" else getattr(prior, name).shape  # the same effects, from before
        found[name] = _checked(stored, f"{prefix}{name}", own, dtype)
    return Basis(found.pop("table", None), prior._replace(**found))


def _restored_uncertainty(
    about: dict[str, Any], stored: dict[str, Array], users: FittedSide, items: FittedSide, seen: CSR
) -> Uncertainty | None:
    """Return the uncertainty of a model; None where the file has none."""
    if "errors_shape" not in stored:
        return None
    shape = _checked(stored, "errors_shape", (SHAPE_LEVELS,), np.float64)
    of_users, of_items = (_checked(stored, f"errors_{side.name}", (len(side),), np.float64) for side in (users, items))
    if min(of_users.min(), of_items.min()) < 0 or shape.min() < 0:
        raise ValueError("its errors are squares, but some are below 0")
    if "noise" not in about:
        return fitted_uncertainty(users, items, seen, Errors(of_users, of_items, shape))
    k, posteriors = users.k, []
    for own, other, sums in ((users, items, of_users), (items, users, of_items)):
        prefix, table = f"evidence_{own.name}_", other.table
        if f"{prefix}table" in stored:
            own_shape = len(stored[f"{prefix}table"]), row_width(k, table.dtype)
            table = _checked(stored, f"{prefix}table", own_shape, table.dtype)
        indptr, indices = _checked_csr(stored, prefix, len(own), len(table), "rows of its table")
        posteriors.append(Posterior(Evidence(indptr, indices, table, sums), own.prior, k))
    sigma2 = float(about["noise"]["sigma2"])
    if not sigma2 >= 0:
        raise ValueError(f"the variance of its noise is {sigma2}")
    first, second = (float(x) for x in about["noise"]["taken"])
    of_users, of_items = (
        _checked(stored, f"noise_{side.name}", (len(side) + 1,), np.float64) for side in (users, items)
    )
    if not (of_users.min() >= 0 and of_items.min() >= 0):
        raise ValueError("its noise is of variances, but some are below 0")
    noise = Noise(sigma2, of_users, of_items, (first, second))
    return Uncertainty(posteriors[0], posteriors[1], k, shape, noise)


def _restored_titles(stored: dict[str, Array], items: FittedSide) -> Titles | None:
    """Return the titles of items; None where there are none."""
    if "title_ids" not in stored:
        return None
    ids, texts = Ids(stored["title_ids"], "title_ids"), stored["title_texts"]
    if texts.shape != (len(ids),) or texts.dtype.kind != "U" or ids.kind != items.ids.kind:
        raise ValueError(f"its title_texts are {texts.dtype} of shape {texts.shape}, not texts for {len(ids)} items")
    return Titles(ids, texts)


def _restored_chain(stored: dict[str, Array], users: FittedSide, items: FittedSide) -> Chain | None:
    """Return traces and samples; None where the model is not a sampler's."""
    traces = {name.removeprefix("trace_"): array for name, array in stored.items() if name.startswith("trace_")}
    if not traces:
        return None
    for name, trace in traces.items():
        if trace.ndim != 2 or trace.dtype != np.float64:
            raise ValueError(f"its trace_{name} is {trace.dtype} of shape {trace.shape}")
    samples = None
    if "samples_draws" in stored:
        samples = Samples(*(stored[f"samples_{name}"] for name in Samples._fields))
        for name, array, side in (("users", samples.users, users), ("items", samples.items, items)):
            if array.shape != (len(samples.draws), len(side), side.k + 1) or array.dtype.kind != "f":
                raise ValueError(f"its samples_{name} is {array.dtype} of shape {array.shape}")
    return Chain(traces, samples, _restored_scale(stored, users))


def _restored_scale(stored: dict[str, Array], users: FittedSide) -> OrdinalScale | None:
    """Return what turns predictions into distributions of ordinal ratings; None where ratings are numbers."""
    if "scale_levels" not in stored:
        return None
    n_levels = len(stored["scale_levels"])
    levels, cut_points, std = (
        _checked(stored, f"scale_{name}", shape, np.float64)
        for name, shape in (("levels", (n_levels,)), ("cut_points", (n_levels - 1,)), ("std", ()))
    )
    if n_levels < 2 or not (np.diff(levels) > 0).all() or not (np.diff(cut_points) > 0).all() or not std > 0:
        raise ValueError("its scale_levels and scale_cut_points are not ascending, or its scale_std is not above 0")
    sample = _checked(stored, "scale_sample", (stored["scale_sample"].size,), np.float64)
    if not len(sample):
        raise ValueError("its scale_sample is empty")
    if "scale_usage" not in stored:  # of before each user's own use of the levels was learned
        return OrdinalScale(levels, cut_points, float(std), sample)
    usage = _checked(stored, "scale_usage", (len(users) + 1, n_levels), np.float32)
    sample_users = _checked(stored, "scale_sample_users", sample.shape, np.int32)
    if not np.isfinite(usage).all():
        raise ValueError("its scale_usage is not finite")
    if not (sample_users.min() >= 0 and sample_users.max() < len(users)):
        raise ValueError(f"its scale_sample_users are not all from 0 to {len(users) - 1}")
    return OrdinalScale(levels, cut_points, float(std), sample, usage, sample_users)
