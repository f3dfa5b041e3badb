"""The way from ratings to a fitted model, the same for all estimators: `train` is a straight line.

Ratings and features become arrays; a regularisation is chosen where that is asked for; the trainer sweeps; a snapshot of it
becomes the fitted sides.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from alsx import _threads
from alsx._models.features import FeatureEncoder, place_features
from alsx._models.progress import Progress
from alsx._models.seen import own_copy
from alsx._models.side import FittedSide
from alsx._models.stopping import Course, Iterate, StoppingRules, Watch
from alsx._models.times import TimeEffects
from alsx._models.warm_start import WarmStart
from alsx._solver import SIDES
from alsx._solver.alternation import Alternation, Trainer, sweeps
from alsx._solver.gibbs import Chain, Gibbs
from alsx._solver.latent_ratings import OrdinalGibbs
from alsx._solver.missing import MissingOptions, MissingPairs, RankAlternation
from alsx._solver.ordinal import MAX_LEVELS, rating_levels
from alsx._solver.posterior import Posterior, SeenEvidence
from alsx._solver.prediction import HeldOut
from alsx._solver.prior import Penalty, PriorSources
from alsx._solver.rows import SingularRowError
from alsx._solver.tables import factor_table
from alsx._solver.tuning import best_multiple
from alsx._solver.uncertainty import Errors, Uncertainty, training_errors
from alsx.ratings import CSR, Caller, Ids, Ratings, as_ratings, is_frame, is_path, read_ratings

Array = NDArray[Any]

# What messages about the data call the arguments of `fit`.
FIT = Caller("R", options="Ratings")
EVAL_PAIR = Caller("eval_set[0]", "eval_set[1]", options="Ratings")

# The share of the ratings that reg="auto" holds out, and the seed of the split and of the start: the same at each call.
TUNING_SHARE, TUNING_SEED = 0.1, 0


class SamplerOptions(NamedTuple):
    """How a chain of draws runs.

    Parameters
    ----------
    n_samples, burn_in, als_iter : int
        As of `BayesALS`.
    wanted : ndarray of int64
        Which draws of the factors are kept.
    is_ordinal : bool
        Whether ratings are levels of an ordered probit model instead of numbers.
    """

    n_samples: int
    burn_in: int
    als_iter: int
    wanted: NDArray[np.int64]
    is_ordinal: bool = False


class Specification(NamedTuple):
    """What an estimator asks for; its parameters, checked.

    Parameters
    ----------
    name : str
        Of the estimator.
    k : int
    dtype : dtype
    penalties : pair of Penalty (users, items)
    max_iter : int
        The most iterations, or how many draws.
    tol : float or None
        The share of the loss whose fall ends the fit; None runs all iterations.
    implicit_ridges : pair of float or None (users, items)
        The ridges of the regressions on rated-item sets; None for no such regression.
    feature_ridges : pair of float or None (users, items)
        The ridges of the regressions on features; None: the fit chooses them.
    set_prior_count : float
        As of `PriorSources`.
    tune : bool
        Choose a multiple of the penalties by held-out ratings.
    sampler : SamplerOptions or None
        Draw from the posterior; None minimises the loss.
    missing : MissingOptions or None
        What pairs without a rating count as; None for nothing.
    duplicates : str
        What becomes of pairs that are there twice, as of `Ratings`.
    periods : tuple of int
        The seconds of the periods whose ratings by one user share an offset; none for no offsets of time.
    """

    name: str
    k: int
    dtype: np.dtype[Any]
    penalties: tuple[Penalty, Penalty]
    max_iter: int
    tol: float | None
    implicit_ridges: tuple[float | None, float | None] = (None, None)
    feature_ridges: tuple[float | None, float | None] = (None, None)
    set_prior_count: float = 0.0
    tune: bool = False
    sampler: SamplerOptions | None = None
    missing: MissingOptions | None = None
    duplicates: str = "raise"
    periods: tuple[int, ...] = ()


class Run(NamedTuple):
    """How a fit is run: where it starts, who follows it, and what may end it.

    Parameters
    ----------
    generator : numpy.random.Generator
    n_threads : int
    n_jobs : int or None
        As the caller gave it.
    verbose : int
    stopping : StoppingRules
        What may end the fit besides convergence.
    start : WarmStart or None
        The model that the fit goes on from; None for a random start.
    watch : Watch or None
        Who else follows the fit.
    """

    generator: np.random.Generator
    n_threads: int
    n_jobs: int | None
    verbose: int
    stopping: StoppingRules = StoppingRules()
    start: WarmStart | None = None
    watch: Watch | None = None


class Fitted(NamedTuple):
    """A fitted model, whichever estimator asked for it.

    Parameters
    ----------
    mean : float
        Of the training ratings.
    rating_range : pair of float
    users, items : FittedSide
    seen : CSR
        The training ratings by user.
    errors : Errors or None
        None where predictions are no ratings.
    history : dict of lists of float
    penalties : pair of Penalty (users, items)
    chain : Chain or None
    best_iter : int
        The iteration whose model this is, from 1.
    is_interrupted : bool
        Whether an interruption ended the fit.
    missing : MissingPairs or None
        What pairs without a rating count as.
    times : TimeEffects or None
        Offsets of time.
    """

    mean: float
    rating_range: tuple[float, float]
    users: FittedSide
    items: FittedSide
    seen: CSR
    errors: Errors | None
    history: dict[str, list[float]]
    penalties: tuple[Penalty, Penalty]
    chain: Chain | None
    best_iter: int
    is_interrupted: bool = False
    missing: MissingPairs | None = None
    times: TimeEffects | None = None


def train(
    specification: Specification,
    R: Any,
    y: Any,
    sample_weight: Any,
    eval_set: Any,
    features: tuple[Any, Any],
    run: Run,
) -> Fitted:
    """Fit a model; parameters and errors are those of `FactorALS.fit`, `features` is a pair (users, items)."""
    fitted = _train(specification, R, y, sample_weight, eval_set, features, run)
    # Copied now that what the fit has worked with is gone, so that there is room.
    return fitted._replace(seen=own_copy(fitted.seen, R)) if scipy.sparse.issparse(R) else fitted


def _train(
    specification: Specification,
    R: Any,
    y: Any,
    sample_weight: Any,
    eval_set: Any,
    features: tuple[Any, Any],
    run: Run,
) -> Fitted:
    """Fit a model, as `train`; the ratings seen may share memory with a sparse `R`."""
    # A matrix of the caller's need not be copied while nothing can change it. Timestamps of a file or a frame are read where the
    # model uses them; those of a `Ratings` come along.
    ratings = read_timed(
        R, y, FIT, bool(specification.periods), sample_weight=sample_weight, dtype=specification.dtype, n_jobs=run.n_jobs,
        copy=False, duplicates=specification.duplicates,
    )  # fmt: skip
    encoders: list[FeatureEncoder | None] = [None, None]
    sources: list[PriorSources] = []
    matrices: list[Any] = [None, None]
    for place, (side, given) in enumerate(zip(SIDES, features, strict=True)):
        if given is not None:
            encoders[place], ratings, matrices[place] = _encoded(given, side, ratings)
            if specification.feature_ridges[place] == 0:
                raise ValueError("reg_features is 0; it must be above 0 for a model with features")
    for place in range(2):
        ridges = specification.implicit_ridges[place], specification.feature_ridges[place]
        sources.append(PriorSources(ridges[0], matrices[place], ridges[1], specification.set_prior_count))
    pair = sources[0], sources[1]
    _check_memory(specification, ratings, run)
    if run.stopping.early_stopping and eval_set is None:
        ratings, eval_set = _held_out_share(ratings, run)
    is_ordinal = specification.sampler is not None and specification.sampler.is_ordinal
    levels = _levels(ratings) if is_ordinal else None
    penalties = _tuned(specification, ratings, pair, run) if specification.tune else specification.penalties
    alternation = _alternation(specification, ratings, penalties, pair, run)
    if run.start is not None:
        run.start.apply(alternation, ratings, encoders, run.n_threads)
    held_out = None if eval_set is None else held_out_ratings(eval_set, ratings, alternation)
    progress = Progress(specification.name, specification.max_iter, run.verbose)
    if run.verbose:
        alternation.report = progress.report_share
    with contextlib.ExitStack() as stack:
        stack.enter_context(_named_singular_rows(ratings))
        trainer: Trainer = alternation
        if specification.sampler is not None:
            # The sums of small matrices would depend on the number of threads, and gain nothing by them.
            stack.enter_context(_threads.one_blas_thread())
            trainer = _chain_start(alternation, specification.sampler, levels, run)

        def fitted(course: Course) -> Fitted:
            return _fitted(specification, ratings, trainer, alternation, encoders, course, penalties, run)

        course = Course(
            run.stopping,
            specification.tol,
            0 if specification.sampler is None else specification.sampler.burn_in,
            lambda number: _iterate(specification, trainer, alternation, number),
        )
        run_sweeps(trainer, specification, held_out, run, progress, course, fitted)
    # The model is made of copies: at no time of a fit would more memory be taken.
    alternation.end_sweeps()
    return _kept_fit(course, fitted)


def _alternation(
    specification: Specification,
    ratings: Ratings,
    penalties: tuple[Penalty, Penalty],
    sources: tuple[PriorSources, PriorSources],
    run: Run,
) -> Alternation:
    """Return the alternation that a specification asks for, at its random start."""
    if specification.missing is None:
        return Alternation(
            ratings, specification.k, penalties, run.generator, run.n_threads, sources, specification.periods
        )
    if specification.missing.confidence is not None:
        check_counts(ratings, FIT)
    missing = specification.missing.pairs(ratings)
    return RankAlternation(ratings, specification.k, penalties, run.generator, run.n_threads, sources, missing)


def read_timed(R: Any, y: Any, caller: Caller, needs_times: bool, **options: Any) -> Ratings:
    """Read ratings, with their timestamps where these are needed.

    Raises
    ------
    TypeError, ValueError
        As of `Ratings`; where there are no timestamps although they are needed.
    """
    if not needs_times:
        return read_ratings(R, y, caller=caller, timestamp=False, **options)
    is_table = not isinstance(R, Ratings) and not scipy.sparse.issparse(R) and (is_path(R) or is_frame(R))
    # Of a table a column of times must be recognised, or the message says what is there.
    ratings = read_ratings(R, y, caller=caller, timestamp=True if is_table else None, **options)
    if ratings.timestamps is None:
        raise ValueError(
            f"{caller.data} has no timestamps, but time is not None: pass a data frame or file with a column of times, or "
            "Ratings.from_arrays(users, items, ratings, timestamps=...); or set time=None"
        )
    return ratings


def check_counts(ratings: Ratings, caller: Caller) -> None:
    """Refuse implicit feedback of a negative count."""
    rows = ratings.by_user
    wrong = np.flatnonzero(rows.values < 0)
    if len(wrong):
        user = ratings.user_ids[int(np.searchsorted(rows.indptr, wrong[0], side="right")) - 1]
        item = ratings.item_ids[rows.indices[wrong[0]]]
        raise ValueError(
            f"{caller.data}: the count of {user.item()!r} and {item.item()!r} is "
            f"{rows.values[wrong[0]]:g}; counts of implicit feedback must be at least 0: leave such pairs out, or use "
            'feedback="ratings"'
        )


def _encoded(features: Any, side: str, ratings: Ratings) -> tuple[FeatureEncoder, Ratings, scipy.sparse.csr_array]:
    """Return the encoder of a side's features, the ratings among all ids, and the features of every row, 1 at the end."""
    name = f"{side}_features"
    ids = Ids(ratings.user_ids if side == "user" else ratings.item_ids, name)
    encoder, own, matrix = FeatureEncoder.fit(features, name, ids)
    if (np.asarray(ids.codes(own, name)) < 0).any():
        ids = Ids(np.union1d(ids.values, own), name)
        ratings = ratings.with_ids(**{f"{side}s": ids})
    return encoder, ratings, place_features(matrix, np.asarray(ids.codes(own, name)), len(ids))


def _check_memory(specification: Specification, ratings: Ratings, run: Run) -> None:
    """Refuse a rank whose tables and workspace would not fit into the machine's memory, before any of it is asked for."""
    width, itemsize = specification.k + 1, specification.dtype.itemsize
    tables = 3 if any(ridge is not None for ridge in specification.implicit_ridges) else 1
    # Tables of both sides (with learned means also means and coefficients), and a row's system for each thread.
    needed = itemsize * (tables * (ratings.n_users + ratings.n_items) * width + run.n_threads * width * width)
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return
    if needed > total:
        raise MemoryError(
            f"k is {specification.k}; for {ratings.n_users:,} users and {ratings.n_items:,} items it takes "
            f"{needed / 2**30:,.0f} GiB, more than the {total / 2**30:,.0f} GiB of this machine: take a smaller k"
        )


def _tuned(
    specification: Specification, ratings: Ratings, sources: tuple[PriorSources, PriorSources], run: Run
) -> tuple[Penalty, Penalty]:
    """Return the multiple of the penalties that predicts a tenth of the ratings best."""
    penalties = specification.penalties
    held_out = np.random.default_rng(TUNING_SEED).random(ratings.n_ratings) < TUNING_SHARE
    # Both parts need ratings that count.
    counted = held_out if ratings.by_user.weights is None else held_out[ratings.by_user.weights > 0]
    if not counted.any() or counted.all():
        return penalties
    train, test = ratings.select(~held_out), ratings.select(held_out)
    start = np.random.default_rng(TUNING_SEED)
    fit = Alternation(train, specification.k, penalties, start, run.n_threads, sources, specification.periods)
    with _named_singular_rows(ratings):
        factor = best_multiple(fit, held_out_ratings(test, train, fit), penalties)
    return penalties[0].times(factor), penalties[1].times(factor)


def held_out_ratings(eval_set: Any, ratings: Ratings, alternation: Alternation) -> HeldOut:
    """Return held-out ratings, with the codes of the training ratings."""
    if isinstance(eval_set, tuple) and len(eval_set) != 2:
        raise ValueError(f"eval_set has {len(eval_set)} parts; it must be a pair (X, y), or ratings as fit takes them")
    timestamp = False if alternation.times is None else None
    if isinstance(eval_set, tuple):
        test = read_ratings(*eval_set, caller=EVAL_PAIR, timestamp=timestamp, dtype=ratings.dtype)
    else:
        test = as_ratings(eval_set, "eval_set", timestamp=timestamp, dtype=ratings.dtype)
    users, items, values = test.triples()
    users = np.asarray(ratings.user_codes(test.user_ids))[users]
    items = np.asarray(ratings.item_codes(test.item_ids))[items]
    for codes, side in ((users, alternation.users), (items, alternation.items)):
        codes[(codes >= 0) & side.without_data()[codes]] = -1
    weights = test.by_user.weights
    return HeldOut(
        users,
        items,
        np.asarray(values, np.float64),
        None if weights is None else np.asarray(weights, np.float64),
        rating_range(ratings),
        alternation.mean,
        alternation.unit,
        alternation.k,
        None if alternation.times is None else test.timestamps,
    )


def _chain_start(alternation: Alternation, options: SamplerOptions, levels: Any, run: Run) -> Gibbs:
    """Return the sampler after the sweeps of least squares that it starts from; `levels` are those of ordinal ratings."""
    for _ in itertools.islice(sweeps(alternation), options.als_iter):
        pass
    if not options.is_ordinal:
        return Gibbs(alternation, run.generator, options.burn_in, options.wanted)
    return OrdinalGibbs(alternation, run.generator, options.burn_in, options.wanted, levels)


def _levels(ratings: Ratings) -> NDArray[np.float64]:
    """Return the levels of ordinal ratings, ascending, or say why these have none."""
    weights, values = ratings.by_user.weights, ratings.by_user.values
    if weights is not None:
        wrong = weights[(weights != 0) & (weights != 1)]
        if len(wrong):
            raise ValueError(
                f'sample_weight holds {wrong[0]:g}, but with likelihood="ordinal" weights must be 0 or 1: leave it out, or use '
                'likelihood="gaussian"'
            )
        values = values[weights > 0]
    levels = rating_levels(values)
    if levels is None:
        raise ValueError(
            f'likelihood is "ordinal", but R holds more than {MAX_LEVELS} different ratings; there must be 2 to {MAX_LEVELS}: '
            'round them to steps, or use likelihood="gaussian"'
        )
    if len(levels) < 2:
        raise ValueError(
            f'likelihood is "ordinal", but all ratings of R are {levels[0]:g}; there must be 2 to {MAX_LEVELS} different ones: use '
            'likelihood="gaussian"'
        )
    return levels


def run_sweeps(
    trainer: Trainer,
    specification: Specification,
    held_out: HeldOut | None,
    run: Run,
    progress: Progress,
    course: Course,
    fitted: Callable[[Course], Fitted],
) -> None:
    """Sweep until `course` ends the fit, at most `max_iter` times; `fitted` makes a model of a course, for who follows it."""
    going, watch = sweeps(trainer), run.watch
    try:
        with progress:
            for _ in range(specification.max_iter):
                if watch is not None:
                    watch.begin()
                iteration = next(going)
                if held_out is not None:
                    iteration = iteration._replace(test_rmse=held_out.rmse(trainer, run.n_threads))
                course.add(iteration)
                progress.report(iteration)
                # Who follows the fit is told of every iteration, also of the one that ends it.
                is_stopped = watch is not None and watch.end(iteration, lambda: fitted(course.so_far()))
                if not course.goes_on() or is_stopped:
                    break
    except KeyboardInterrupt:
        if not course.survives_interrupt():
            raise


def _kept_fit(course: Course, fitted: Callable[[Course], Fitted]) -> Fitted:
    """Return the model of a course; an interruption meanwhile does not lose one that is to be kept."""
    try:
        return fitted(course)
    except KeyboardInterrupt:
        if not course.survives_interrupt():
            raise
    return fitted(course)


def _held_out_share(ratings: Ratings, run: Run) -> tuple[Ratings, Ratings]:
    """Return the ratings with weights of 0 for a share of them, and this share.

    A rating of weight 0 counts as rated, so that it is left out of lists, but not in the fit.
    """
    weights = ratings.by_user.weights
    counted = np.arange(ratings.n_ratings) if weights is None else np.flatnonzero(weights > 0)
    fraction = run.stopping.validation_fraction
    n_held_out = round(fraction * len(counted))
    if not 0 < n_held_out < len(counted):
        raise ValueError(
            f"validation_fraction is {fraction:g}, which holds out {n_held_out} of {len(counted)} ratings for early_stopping: "
            "pass eval_set=(X, y) to fit, or early_stopping=False"
        )
    held_out = run.generator.choice(counted, n_held_out, replace=False, shuffle=False)
    share = ratings.select(held_out)
    left = np.ones(ratings.n_ratings, ratings.dtype) if weights is None else weights.copy()
    left[held_out] = 0
    return Ratings(ratings, sample_weight=left, dtype=ratings.dtype, n_jobs=run.n_jobs), share


def _iterate(specification: Specification, trainer: Trainer, alternation: Alternation, number: int) -> Iterate:
    """Return a copy of the model as it stands after an iteration."""
    users, items = trainer.snapshot()
    sums = None
    if specification.sampler is None:  # a sampler's means are no solutions of its last half-sweeps
        # Where numbers are next to the ends of their range, only uncertainty suffers.
        with np.errstate(all="ignore"):
            by_user, by_item = (alternation.unit**2 * x.loss[:, 0] for x in (alternation.users, alternation.items))
        sums = by_user, by_item
    return Iterate(number, users, items, sums, trainer.time_snapshot())


def _fitted(
    specification: Specification,
    ratings: Ratings,
    trainer: Trainer,
    alternation: Alternation,
    encoders: list[FeatureEncoder | None],
    course: Course,
    penalties: tuple[Penalty, Penalty],
    run: Run,
) -> Fitted:
    """Return the fitted model that a trainer has come to."""
    k, dtype = specification.k, specification.dtype
    iterate, names = course.outcome(), ["loss", "train_rmse"]
    names += ["noise_sd"] if trainer.noise_sd is not None else []
    names += ["test_rmse"] if course.iterations[0].test_rmse is not None else []
    history, users, items = course.history([*names, "seconds"]), iterate.users.complete(), iterate.items.complete()
    if not (np.isfinite(users.table).all() and np.isfinite(items.table).all()):
        remedy = "rescale the ratings"
        if specification.sampler is None:
            remedy += f", or raise reg (it is {penalties[0].reg:g})"
        raise FloatingPointError(f"the fit left the range of {dtype} numbers: {remedy}")
    if not np.isfinite(history["loss"]).all():
        raise FloatingPointError(
            "the loss left the range of float64 numbers: rescale the ratings, or take a smaller reg"
        )
    times = shifts = None
    if iterate.times is not None and alternation.times is not None:
        assert ratings.timestamps is not None
        times = TimeEffects.of(alternation.times, iterate.times, ratings.timestamps, ratings.n_users)
        # The mean of a user's offsets is part of his bias from now on; the iterate stays as it is.
        table = factor_table(len(users.table), k, dtype)
        table[:] = users.table
        table[:, k] += times.means
        users = users._replace(table=table)
        shifts = times.shifts_of_fit(alternation.times)
        if ratings.by_user.weights is not None and not ratings.by_user.weights.all():
            shifts = shifts[ratings.by_user.weights > 0]
    errors = None
    if specification.missing is None and trainer.scale is None:
        # Where numbers are next to the ends of their range, only uncertainty suffers.
        with np.errstate(all="ignore"):
            tables = users.table, items.table
            errors = training_errors(counted_ratings(ratings), tables, k, iterate.squared_errors, run.n_threads, shifts)
    fitted_users, fitted_items = (
        FittedSide(
            side.name,
            Ids(ids, f"{side.name}s"),
            np.diff(side.ratings.indptr),
            ~side.without_data(),
            snapshot.table,
            k,
            snapshot.prior,
            encoder,
            side.features,
            snapshot.basis,
        )
        for side, ids, snapshot, encoder in (
            (alternation.users, ratings.user_ids, users, encoders[0]),
            (alternation.items, ratings.item_ids, items, encoders[1]),
        )
    )
    chain = None
    if specification.sampler is not None and isinstance(trainer, Gibbs):
        chain = trainer.chain(max(0, iterate.number - specification.sampler.burn_in))
    return Fitted(
        alternation.mean,
        rating_range(ratings),
        fitted_users,
        fitted_items,
        ratings.by_user,
        errors,
        history,
        penalties,
        chain,
        iterate.number,
        course.is_interrupted,
        alternation.missing if isinstance(alternation, RankAlternation) else None,
        times,
    )


def counted_ratings(ratings: Ratings) -> Ratings:
    """Return the ratings of a weight above 0, see `posterior.counted`."""
    weights = ratings.by_user.weights
    return ratings if weights is None or weights.all() else ratings.select(weights > 0)


def rating_range(ratings: Ratings) -> tuple[float, float]:
    """Return the lowest and highest rating; those of weight 0 do not count."""
    weights = ratings.by_user.weights
    if weights is None or weights.all():
        return ratings.range
    values = ratings.by_user.values[weights > 0]
    return float(values.min()), float(values.max())


def fitted_uncertainty(users: FittedSide, items: FittedSide, seen: CSR, errors: Errors | None) -> Uncertainty | None:
    """Return the uncertainty of a model as it was fitted, before anything was folded in.

    None where predictions are no ratings, and where squared errors leave the range of float64: nothing can be told from them.
    """
    if errors is None:
        return None
    if not (np.isfinite(errors.user).all() and np.isfinite(errors.item).all() and np.isfinite(errors.shape).all()):
        return None
    posteriors = [
        Posterior(SeenEvidence(seen, by_item, len(own), other.table, sums), own.prior, own.k)
        for by_item, own, other, sums in ((False, users, items, errors.user), (True, items, users, errors.item))
    ]
    return Uncertainty(posteriors[0], posteriors[1], users.k, errors.shape)


@contextlib.contextmanager
def _named_singular_rows(ratings: Ratings) -> Iterator[None]:
    """Name a singular row as the caller does, by its id."""
    try:
        yield
    except SingularRowError as error:
        ids = ratings.user_ids if error.side == "user" else ratings.item_ids
        raise np.linalg.LinAlgError(singular_message(error, ids)) from None


def singular_message(error: SingularRowError, ids: Array) -> str:
    """Return what is said of a row that has no unique solution."""
    first = f", the first of {error.count}" if error.count > 1 else ""
    return (
        f"the equations of {error.side} {ids[error.row].item()!r} (row {error.row}{first}) are singular: it has too few ratings "
        "for its unknowns without regularisation. Give reg and reg_bias larger values (the defaults serve most data)"
    )
