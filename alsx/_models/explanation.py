"""Predictions taken apart: what each rating of a user, and what his prior, contributes to one prediction, exactly.

A user's row is the solution x = A^-1 h of a linear system, so that a prediction, linear in x, is a sum over the user's ratings
and his prior (`RowSystems.contributions`). The system is built again from what the row was solved from (`FittedSide.solving`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alsx._models.fold_in import row_systems
from alsx._models.frames import make_frame, text_column
from alsx._models.side import FittedSide
from alsx._models.state import Titles
from alsx._models.times import TimeEffects, less_shifts
from alsx._solver.missing import MissingPairs
from alsx._solver.prior import PriorParts
from alsx._solver.rows import Contributions
from alsx._solver.tables import weight_sums
from alsx.ratings import CSR

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class Part(NamedTuple):
    """One part of a prediction.

    Parameters
    ----------
    part : {"mean", "bias", "rating", "prior", "time", "update", ...}
        "mean": of all ratings, or what a missing one counts as. "bias": of the item. "rating": a rating of the user's. "prior":
        what is expected of the user before his ratings are looked at: because he rated an item, whatever his rating, because of a
        feature, or in any case. "time": what the user's ratings of that day have in common, or those of his average day. "missing
        pairs": what he has not rated, in a model that ranks. "update": what updates changed in his ratings, or in the items that
        he rated, since his row was solved.
    id : id or None
        The item, of a bias, a rating, or a prior that comes from having rated it.
    name : str
        What it is, to read.
    rating : float or None
        The user's rating of the item.
    contribution : float
        In rating units.
    """

    part: str
    id: Any
    name: str
    rating: float | None
    contribution: float


class Explanation(NamedTuple):
    """A prediction and the parts that add up to it.

    Parameters
    ----------
    prediction : float
        ``predict(user, item, clip=False)``.
    parts : list of Part
        The mean, the item's bias, then ratings and prior, the largest contributions first.
    """

    prediction: float
    parts: list[Part]

    def __str__(self) -> str:
        lines = [f"{self.prediction:8.3f}  predicted"]
        return "\n".join([*lines, *(f"{part.contribution:+8.3f}  {part.name}" for part in self.parts)])

    def frame(self, kind: str, titles: Titles | None) -> Any:
        """Return the parts as a table; see `frames.make_frame`."""
        import pyarrow as pa

        ids = [part.id for part in self.parts]
        columns: dict[str, Any] = {
            "part": [part.part for part in self.parts],
            "id": ids,
            "name": [part.name for part in self.parts],
            "rating": pa.array([part.rating for part in self.parts], pa.float64()),
            "contribution": [part.contribution for part in self.parts],
        }
        if titles is not None:
            known = [one for one in ids if one is not None]
            found = dict(zip(known, titles.of(np.array(known)), strict=True)) if known else {}
            columns["title"] = text_column([found.get(one) for one in ids])
        return make_frame(columns, kind)


class Row(NamedTuple):
    """A user's row with all that it was solved from.

    Parameters
    ----------
    code : int
    ratings : CSR
        Of the one row.
    features : scipy CSR array, shape (1, f), or None
    learned_from : bool
        Whether the row took part in the fit.
    """

    code: int
    ratings: CSR
    features: Any
    learned_from: bool

    @classmethod
    def of(cls, side: FittedSide, seen: CSR, code: int) -> Row:
        """Return the row of a user by code."""
        part = slice(seen.indptr[code], seen.indptr[code + 1])
        weights = None if seen.weights is None else seen.weights[part]
        indptr = np.array([0, part.stop - part.start], np.int64)
        ratings = CSR(indptr, seen.indices[part], seen.values[part], weights)
        features = None if side.features is None else side.features[[code]]
        return cls(code, ratings, features, bool(side.were_fitted(np.array([code]))[0]))

    def is_stale(self, users: FittedSide, items: FittedSide) -> bool:
        """Return whether an item that the user has rated was solved again, or rated by him, after his row was solved."""
        if items.solved_at is None:
            return False
        solved = 0 if users.solved_at is None else int(users.solved_at[self.code])
        return bool((items.solved_at[self.ratings.indices] > solved).any())


def explain(
    users: FittedSide,
    items: FittedSide,
    seen: CSR,
    mean: float,
    missing: MissingPairs | None,
    prediction: float,
    user: int,
    item: int,
    n_threads: int,
    times: TimeEffects | None = None,
    shift: float | None = None,
) -> Explanation:
    """Return all parts of the prediction for a user and an item by code.

    Parameters
    ----------
    users, items : FittedSide
    seen : CSR
        The ratings seen, by user.
    mean : float
        Of the training ratings.
    missing : MissingPairs or None
        What pairs without a rating count as; None for nothing.
    prediction : float
        What is taken apart.
    user, item : int
    n_threads : int
    times : TimeEffects, default=None
        Offsets of time.
    shift : float, default=None
        What the prediction has for its time; None where it has none.
    """
    k = users.k
    row = Row.of(users, seen, user)
    evidence = row.ratings if missing is None else missing.evidence(row.ratings)
    if times is not None:
        own = times.seen[seen.indptr[user] : seen.indptr[user + 1]]
        evidence = less_shifts(evidence, times.own_offsets(np.full(len(own), user), own))
    of_mean = users.solving(items)[1].parts(evidence, row.features, k, learned_from=row.learned_from)
    z = np.append(items.table[item, :k].astype(np.float64), 1.0)
    found = _contributions(users, items, evidence, of_mean, mean, missing, z, n_threads)
    rated, values = items.ids_of(row.ratings.indices).tolist(), row.ratings.values.tolist()
    parts = [
        Part("rating", one, f"rated {one}: {value:g}", value, x)
        for one, value, x in zip(rated, values, found.ratings.tolist(), strict=True)
    ]
    parts += _prior_parts(users, of_mean, found.prior_weights, rated)
    if found.missing:
        parts.append(Part("missing pairs", None, "what is not rated", None, found.missing))
    parts.sort(key=lambda part: -abs(part.contribution))
    own_id = items.ids.values[item].item()
    bias = float(items.table[item, k])
    head = [
        Part("mean", None, "mean of all ratings" if missing is None else "a missing rating", None, mean),
        Part("bias", own_id, f"bias of {own_id}", None, bias),
    ]
    if times is not None:
        name = "the user's average day" if shift is None else "the user's ratings of that time"
        of_time = float(times.means[user]) + (0.0 if shift is None else shift)
        if shift is not None or of_time:
            head.append(Part("time", None, name, None, of_time))
    parts = head + parts
    if row.is_stale(users, items):
        rest = prediction - sum(part.contribution for part in parts)
        parts.append(Part("update", None, "what changed since the user's row was solved", None, rest))
    return Explanation(prediction, parts)


def _contributions(
    users: FittedSide,
    items: FittedSide,
    ratings: CSR,
    of_mean: PriorParts,
    mean: float,
    missing: MissingPairs | None,
    z: Floats,
    n_threads: int,
) -> Contributions:
    """Return what z'x of a user's row x is made of, given his ratings as row systems take them."""
    k = len(z) - 1
    n, has_weight = len(ratings.indices), weight_sums(ratings.indptr, ratings.weights)[0] > 0
    if not has_weight:  # ratings of no weight: the row is its prior mean
        ratings = CSR(np.zeros(2, np.int64), ratings.indices[:0], ratings.values[:0], None)
    means = np.zeros((1, k + 1))
    means[0] = of_mean.common + of_mean.rated.sum(axis=0) + of_mean.of_features.sum(axis=0)
    found = row_systems(users, items, mean, missing, ratings, means, n_threads).contributions(0, z)
    return found if has_weight else found._replace(ratings=np.zeros(n))


def _prior_parts(users: FittedSide, of_mean: PriorParts, weights: Floats, rated: list[Any]) -> list[Part]:
    """Return what the parts of a user's prior mean contribute, those of no consequence left out."""
    parts = [Part("prior", None, "expected of any user", None, float(of_mean.common @ weights))]
    parts += [
        Part("prior", one, f"that {one} was rated at all", None, x)
        for one, x in zip(rated, (of_mean.rated @ weights).tolist(), strict=True)
    ]
    if len(of_mean.features):
        assert users.encoder is not None
        names = [*users.encoder.names, "intercept"]
        contributions = (of_mean.of_features @ weights).tolist()
        parts += [
            Part("prior", None, f"feature {names[place]}", None, x)
            for place, x in zip(of_mean.features.tolist(), contributions, strict=True)
        ]
    return [part for part in parts if part.contribution]


def shortened(parts: list[Part], n: int | None) -> list[Part]:
    """Return the n largest ratings and the n largest parts of the prior, all others summed up; None keeps all."""
    if n is None:
        return parts
    kept: list[Part] = []
    rest: dict[str, list[Part]] = {"rating": [], "prior": []}
    counts = dict.fromkeys(rest, 0)
    for part in parts:
        counts[part.part] = counts.get(part.part, 0) + 1
        (rest[part.part] if part.part in rest and counts[part.part] > n else kept).append(part)
    for name, others in rest.items():
        if others:
            what = f"{len(others)} other {'ratings' if name == 'rating' else 'parts of the prior'}"
            kept.append(Part(name, None, what, None, sum(part.contribution for part in others)))
    return kept
