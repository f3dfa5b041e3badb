"""The measures of ranked lists, computed a block of users at a time: all measures and all cut-offs in one pass.

What a list is worth follows from the ranks of the relevant items in it. A block's lists are compared with the relevant items once,
through a table (users of the block x items) of the place of each relevant entry, so that an item is found in one look-up; every
measure is then a running sum over ranks, read off at each cut-off. `alsx.metrics` has the definitions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from alsx.metrics._relevance import Relevance
from alsx.ratings import Ids

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Cells of the table of a block, 16 MB of them: enough that NumPy's calls cost little, and few enough to stay in the cache.
BLOCK_CELLS = 2**22

OF_RELEVANCE = ("precision", "recall", "f1", "hit_rate", "ndcg", "graded_ndcg", "map", "mrr")
WITHOUT_CUT = ("r_precision", "auc")
OF_LISTS = ("novelty", "diversity")
OF_CATALOGUE = ("coverage", "gini")
METRICS = (*OF_RELEVANCE, *WITHOUT_CUT, *OF_LISTS, *OF_CATALOGUE)


class Catalogue(NamedTuple):
    """The items that may be recommended, and how popular each is.

    Attributes
    ----------
    ids : Ids
    counts : ndarray of int64, shape (n_items,)
        Training ratings of each.
    n_users : int
        Users with training ratings.
    """

    ids: Ids
    counts: Integers
    n_users: int

    @property
    def information(self) -> Floats:
        """The self-information of each item in bits, shape (n_items,)."""
        return np.asarray(np.log2(max(self.n_users, 1)) - np.log2(np.maximum(self.counts, 1)))


class Hits(NamedTuple):
    """Which of the recommended items of a block of users are relevant.

    Attributes
    ----------
    entry : ndarray of int64, shape (n, m)
        The place of each recommended item among the relevant entries of all users; -1 where it is not relevant.
    relevant : ndarray of int64, shape (n,)
        How many relevant items each user has.
    listed : ndarray of int64, shape (n,)
        How many items each list has.
    """

    entry: Integers
    relevant: Integers
    listed: Integers


class RankedLists:
    """The measures of the lists of users, who are added a block at a time.

    Parameters
    ----------
    metrics : sequence of str
        Of `METRICS`.
    cutoffs : sequence of int
        Ascending.
    relevance : Relevance
        Of all users.
    catalogue : Catalogue or None
        For novelty, coverage and Gini index.
    vectors : ndarray or sparse array, shape (n_items, d), or None
        Of the items of the catalogue, each of length 1 or 0, for diversity.
    by_ranks : bool
        Whether AUC and R-precision are found from ranks in whole rankings (`add_ranks`) and not from lists.
    """

    def __init__(
        self,
        metrics: Any,
        cutoffs: Any,
        relevance: Relevance,
        catalogue: Catalogue | None,
        vectors: Any,
        by_ranks: bool = False,
    ) -> None:
        self.metrics, self.cutoffs = tuple(metrics), np.array(cutoffs, np.int64)
        self.relevance, self.catalogue, self.vectors = relevance, catalogue, vectors
        self.by_ranks = by_ranks
        n_users = len(relevance.indptr) - 1
        self._values = {
            (name, n): np.full(n_users, np.nan)
            for name in self.metrics
            if name not in OF_CATALOGUE
            for n in ([0] if name in WITHOUT_CUT else cutoffs)
        }
        n_items = 0 if catalogue is None else len(catalogue.ids)
        self._times = np.zeros((len(cutoffs), n_items), np.int64)  # how often each item is among the first n
        self._information = None if catalogue is None else catalogue.information
        self._has_vector = None if vectors is None else np.asarray(abs(vectors).sum(axis=1) > 0).ravel()
        self._ideal = self._ideal_gains() if "graded_ndcg" in self.metrics else None
        # Makes room once for the look-ups of a block; it holds zeros between them.
        self._table = np.zeros(0, np.int32)

    # ------------------------------------------------------------------------------------------------------------
    # Adding lists

    def add(self, first: int, recommended: Array) -> None:
        """Take the lists of users.

        Parameters
        ----------
        first : int
            The place of the first of them among all.
        recommended : ndarray of ids, shape (n, m)
            Best first.
        """
        n, m = recommended.shape
        of_relevant, of_catalogue = self._codes(recommended)
        lengths = np.count_nonzero(~is_padding(recommended), axis=1).astype(np.int64)
        n_items = 0 if self.relevance.ids is None else len(self.relevance.ids)
        step = max(1, BLOCK_CELLS // max(n_items, m))
        for start in range(0, n, step):
            part = slice(start, min(start + step, n))
            rows = slice(first + part.start, first + part.stop)
            hits = self._hits(rows, lengths[part], m, None if of_relevant is None else of_relevant[part])
            self._add_block(rows, hits, None if of_catalogue is None else of_catalogue[part])
        if of_catalogue is not None and set(self.metrics) & set(OF_CATALOGUE):
            self._count(of_catalogue)

    def _add_block(self, rows: slice, hits: Hits, of_catalogue: Array | None) -> None:
        """Take the lists of a block of users; `rows` are their places among all."""
        for name, n, values in self._of_relevance(rows, hits):
            # A user without relevant items has no such value.
            self._values[name, n][rows] = np.where(hits.relevant > 0, values, np.nan)
        if of_catalogue is None:
            return
        listed = of_catalogue >= 0
        if "novelty" in self.metrics:
            self._add_novelty(rows, of_catalogue, listed)
        if "diversity" in self.metrics:
            self._add_diversity(rows, of_catalogue, listed)

    def _codes(self, recommended: Array) -> tuple[Array | None, Array | None]:
        """Return recommended items as codes of the relevant items and of the catalogue, -1 where they are not among them."""
        flat, codes = recommended.ravel(), {}
        for ids in (self.relevance.ids, None if self.catalogue is None else self.catalogue.ids):
            if ids is not None and id(ids) not in codes:
                codes[id(ids)] = np.asarray(ids.codes(flat, "recommended")).reshape(recommended.shape)
        return (
            codes.get(id(self.relevance.ids)),
            None if self.catalogue is None else codes[id(self.catalogue.ids)],
        )

    def _hits(self, rows: slice, listed: Integers, m: int, codes: Array | None) -> Hits:
        """Find the relevant items among those recommended to a block of users, in lists of up to `m` items."""
        indptr, n = self.relevance.indptr, len(listed)
        relevant = np.diff(indptr[rows.start : rows.stop + 1])
        entry = np.full((n, m), -1, np.int64)
        begin, end = int(indptr[rows.start]), int(indptr[rows.stop])
        if codes is None or begin == end:
            return Hits(entry, relevant, listed)
        assert self.relevance.ids is not None
        n_items = len(self.relevance.ids)
        if len(self._table) < n * n_items:
            self._table = np.zeros(n * n_items, np.int32)
        cells = np.repeat(np.arange(n), relevant) * n_items + self.relevance.codes[begin:end]
        self._table[cells] = np.arange(1, end - begin + 1)
        found = self._table[np.arange(n)[:, None] * n_items + np.maximum(codes, 0)]
        self._table[cells] = 0
        found = np.where(codes >= 0, found, 0)
        self._refuse_repeats(rows, found, begin)
        entry = np.where(found > 0, found.astype(np.int64) + (begin - 1), -1)
        return Hits(entry, relevant, listed)

    def _refuse_repeats(self, rows: slice, found: Array, begin: int) -> None:
        """Refuse an item that is found twice in a list; `found` are places from 1 on within the block, 0 where nothing is."""
        times = np.bincount(found.ravel())
        times[0] = 0
        if times.max(initial=0) < 2:
            return
        place = np.argmax(times > 1)
        at = rows.start + int(np.argmax((found == place).sum(axis=1) > 1))
        assert self.relevance.ids is not None
        item = self.relevance.ids.values[self.relevance.codes[begin + place - 1]].item()
        raise ValueError(f"recommended: row {at} recommends {item!r} more than once: pass every item once")

    # ------------------------------------------------------------------------------------------------------------
    # Measures of relevance

    def _of_relevance(self, rows: slice, hits: Hits) -> list[tuple[str, int, Array]]:
        """Return measures of a block as (name, cut-off, values); where nobody has a relevant item the values are anything."""
        is_hit = hits.entry >= 0
        m = is_hit.shape[1]
        found = np.cumsum(is_hit, axis=1)
        ranks = np.arange(1, m + 1)
        at, counts = self.cutoffs - 1, np.maximum(hits.relevant, 1)[:, None].astype(np.float64)
        discounts = 1 / np.log2(ranks + 1)

        def running(x: Array) -> Array:
            """The sums over the ranks up to each cut-off."""
            return np.asarray(np.cumsum(x, axis=1)[:, at])

        def ndcg() -> Array:
            best = np.minimum(hits.relevant[:, None], self.cutoffs)
            return np.asarray(running(is_hit * discounts) / np.cumsum(discounts)[np.maximum(best, 1) - 1])

        def reciprocal() -> Array:
            first = np.argmax(is_hit, axis=1)[:, None] + 1
            return np.asarray((found[:, at] > 0) / first)

        by_cut = {
            "precision": lambda: found[:, at] / self.cutoffs,
            "recall": lambda: found[:, at] / counts,
            "f1": lambda: 2 * found[:, at] / (self.cutoffs + counts),
            "hit_rate": lambda: (found[:, at] > 0).astype(np.float64),
            "ndcg": ndcg,
            "graded_ndcg": lambda: self._graded(rows, running(self._gains(hits.entry) * discounts)),
            "map": lambda: running(np.where(is_hit, found / ranks, 0)) / counts,
            "mrr": reciprocal,
        }
        out = [
            (name, int(n), values[:, column])
            for name in self.metrics
            if name in by_cut
            for values in [by_cut[name]()]
            for column, n in enumerate(self.cutoffs)
        ]
        if self.by_ranks:
            return out
        if "r_precision" in self.metrics:
            out.append(("r_precision", 0, self._r_precision(rows, hits, found)))
        if "auc" in self.metrics:
            out.append(("auc", 0, _auc(is_hit, found, ranks, hits)))
        return out

    def _gains(self, entry: Integers) -> Array:
        """Return the gains of recommended items, 0 where they are not relevant."""
        if self.relevance.gains is None or not len(self.relevance.gains):
            return np.zeros(entry.shape)
        return np.asarray(np.where(entry >= 0, self.relevance.gains[np.maximum(entry, 0)], 0))

    def _graded(self, rows: slice, gained: Array) -> Array:
        """Return gains over those of the best list; a user whose gains are all 0 has no value."""
        assert self._ideal is not None
        best = self._ideal[rows]
        return np.asarray(np.divide(gained, best, out=np.full(gained.shape, np.nan), where=best > 0))

    def _ideal_gains(self) -> Floats:
        """Return the discounted gains of the best list of each user at each cut-off, shape (n_users, n_cutoffs)."""
        counts, gains = self.relevance.counts, self.relevance.gains
        n_users = len(counts)
        if gains is None:
            return np.zeros((n_users, len(self.cutoffs)))
        owners = np.repeat(np.arange(n_users), counts)
        # By descending gain within each user.
        order = np.lexsort((-gains, owners))
        ranks = np.arange(1, len(gains) + 1) - self.relevance.indptr[owners]
        worth = gains[order] / np.log2(ranks + 1)
        sums = [np.bincount(owners, np.where(ranks <= n, worth, 0), minlength=n_users) for n in self.cutoffs]
        return np.stack(sums, axis=1)

    def _r_precision(self, rows: slice, hits: Hits, found: Array) -> Array:
        """Return the share of relevant items among as many as there are."""
        m = found.shape[1]
        # A list that ends before the last place has no more items.
        cut = (hits.relevant > m) & (hits.listed == m)
        if cut.any():
            at = int(np.argmax(cut))
            raise ValueError(
                f"r_precision needs lists as long as a user has relevant items, but row {rows.start + at} has "
                f"{hits.relevant[at]:,} of them and {m:,} recommended items: ask for lists of {hits.relevant.max():,}"
            )
        last = np.clip(hits.relevant, 1, m) - 1
        found_there = np.take_along_axis(found, last[:, None], 1)[:, 0]
        return np.asarray(found_there / np.maximum(hits.relevant, 1))

    def add_ranks(self, rows: slice, ranks: Integers, lengths: Integers) -> None:
        """Take the ranks of the relevant items of users in whole rankings, instead of the rankings.

        Parameters
        ----------
        rows : slice
            The places of the users among all.
        ranks : ndarray of int64
            Of their relevant items, in the order of the entries; 0 where an item is not ranked.
        lengths : ndarray of int64, shape (n,)
            How many items each ranking has.
        """
        relevant = np.diff(self.relevance.indptr[rows.start : rows.stop + 1])
        owners = np.repeat(np.arange(len(relevant)), relevant)
        is_found = ranks > 0
        n_found = np.bincount(owners, is_found, minlength=len(relevant))
        values: dict[str, Array] = {}
        if "r_precision" in self.metrics:
            in_front = np.bincount(owners, is_found & (ranks <= relevant[owners]), minlength=len(relevant))
            values["r_precision"] = in_front / np.maximum(relevant, 1)
        if "auc" in self.metrics:
            # The sum of p - j over the relevant items j = 1, 2, ... at ranks p: ahead of each are so many others.
            ahead = np.bincount(owners, ranks, minlength=len(relevant)) - n_found * (n_found + 1) / 2
            values["auc"] = _right_pairs(n_found, lengths - n_found, ahead, relevant)
        for name, each in values.items():
            self._values[name, 0][rows] = np.where(relevant > 0, each, np.nan)

    # ------------------------------------------------------------------------------------------------------------
    # Measures of lists

    def _count(self, codes: Array) -> None:
        """Count how often each item of the catalogue is among the first n."""
        before = 0
        for place, n in enumerate(self.cutoffs):
            part = codes[:, before:n]
            part = part[part >= 0]
            # Those of a shorter list are in the longer ones too.
            self._times[place:] += np.bincount(part, minlength=self._times.shape[1])
            before = int(n)

    def _add_novelty(self, rows: slice, codes: Array, listed: Array) -> None:
        """Add the mean self-information of the items of each list."""
        assert self._information is not None
        bits = np.cumsum(np.where(listed, self._information[np.maximum(codes, 0)], 0), axis=1)
        lengths = np.cumsum(listed, axis=1)
        for n in self.cutoffs:
            total, length = bits[:, n - 1], lengths[:, n - 1]
            self._values["novelty", n][rows] = np.divide(
                total, length, out=np.full(len(total), np.nan), where=length > 0
            )

    def _add_diversity(self, rows: slice, codes: Array, listed: Array) -> None:
        """Add the mean of 1 - cosine over the pairs of each list.

        The cosines of all pairs of a list follow from the sum S of its unit vectors: |S|^2 is the sum of their squared lengths and
        of two of each cosine.
        """
        assert self._has_vector is not None
        for n in self.cutoffs:
            first, kept = codes[:, :n], listed[:, :n]
            indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
            chosen = first[kept]
            lists = scipy.sparse.csr_array(
                (np.ones(len(chosen)), chosen, indptr), shape=(len(codes), self.vectors.shape[0])
            )
            sums = lists @ self.vectors
            if scipy.sparse.issparse(sums):
                squares = np.asarray(sums.power(2).sum(axis=1)).ravel()
            else:
                squares = np.einsum("ij,ij->i", sums, sums)
            lengths = np.diff(indptr)
            own = np.diff(np.concatenate([[0], np.cumsum(self._has_vector[chosen])])[indptr])
            pairs = lengths * (lengths - 1) / 2
            mean_cosine = np.divide((squares - own) / 2, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
            self._values["diversity", n][rows] = 1 - mean_cosine

    # ------------------------------------------------------------------------------------------------------------
    # Results

    def by_user(self) -> dict[tuple[str, int], Floats]:
        """Return the values of all users, NaN where there is none, by measure and cut-off (0 where it has none)."""
        return self._values

    def of_catalogue(self) -> dict[tuple[str, int], float]:
        """Return the measures of the catalogue, by measure and cut-off."""
        of = {"coverage": coverage, "gini": gini}
        return {
            (name, int(n)): of[name](times)
            for name in self.metrics
            if name in OF_CATALOGUE
            for n, times in zip(self.cutoffs, self._times, strict=True)
        }


def coverage(times: Integers) -> float:
    """Return the share of items that are recommended at all; `times` (n_items,) is how often each one is."""
    return float(np.count_nonzero(times) / len(times)) if len(times) else float("nan")


def gini(times: Integers) -> float:
    """Return the Gini index of how often items are recommended, NaN of one item or of none recommended."""
    n, total = len(times), int(times.sum())
    if n < 2 or total == 0:
        return float("nan")
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float((weights * np.sort(times)).sum() / ((n - 1) * total))


def _auc(is_hit: Array, found: Array, ranks: Array, hits: Hits) -> Array:
    """Return the share of pairs (relevant, other listed item) in the right order; NaN where there is no other item."""
    n_found = found[:, -1].astype(np.float64)
    # Ahead of the j-th relevant item, at rank p, are p - j others.
    ahead = np.where(is_hit, ranks - found, 0).sum(axis=1)
    return _right_pairs(n_found, hits.listed - n_found, ahead, hits.relevant)


def _right_pairs(n_found: Array, others: Array, ahead: Array, relevant: Array) -> Array:
    """Return the share of pairs in the right order, given how many relevant and other items are listed, and others ahead."""
    pairs = np.maximum(relevant, 1) * others
    return np.asarray(np.divide(n_found * others - ahead, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def is_padding(ids: Array) -> npt.NDArray[np.bool_]:
    """Return where recommended ids are no ids, but the marks that short lists are padded with."""
    if ids.dtype.kind in "iu":
        limits = np.iinfo(ids.dtype)
        return np.asarray(ids == (limits.max if ids.dtype.kind == "u" else limits.min))
    return np.asarray(ids == "")
