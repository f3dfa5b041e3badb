"""Lists of items for users: whose, among which items, by which strategy."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._files import atomic_write
from alsx._models import top_n
from alsx._models.fitted import FittedModel
from alsx._models.fold_in import guests
from alsx._models.frames import check_kind, make_frame, text_column
from alsx._models.side import FittedSide
from alsx._models.state import Titles
from alsx._models.strategies import STRATEGIES, Query, check_strategy
from alsx._models.top_n import CodeSets, Limits, Lists, Scores
from alsx.ratings import Ids, described_rows, is_frame
from alsx.ratings._caller import show
from alsx.typing import Chosen, Floats, Frame, FrameKind, Id, IdArray, RandomState, RatingsLike, Strategy

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]


# Letters of a message, at most: near ids that are long are left out.
MAX_MESSAGE = 300


class ListOptions(NamedTuple):
    """What is asked of lists, checked but for ids; see `Recommendations.recommend`."""

    n: int
    candidates: Any
    exclude: Any
    exclude_rated: bool
    min_ratings: int
    strategy: str
    n_std: float
    random_state: Any
    unknown: str | None


class Filters(NamedTuple):
    """What may appear in the lists of m users.

    Parameters
    ----------
    allowed : ndarray of bool, shape (n_items,), or None
        What may appear in any list; None for all.
    excluded, candidates : CodeSets of m sets, or None
        What each user's list leaves out, and the only items that it may have, where users differ in that.
    """

    allowed: top_n.Mask | None
    excluded: CodeSets | None
    candidates: CodeSets | None


class Recommendations(FittedModel):
    """Lists of items for users."""

    # What lists are ordered by where nothing else is asked for; a model whose scores know what users rate takes "mean".
    _default_strategy: ClassVar[str] = "propensity"

    @overload
    def recommend(
        self,
        users: Id | IdArray | None = None,
        n: int = 10,
        *,
        ratings: Mapping[Any, float] | RatingsLike | None = None,
        candidates: Chosen | None = None,
        exclude: Chosen | None = None,
        exclude_rated: bool = True,
        min_ratings: int = 0,
        strategy: Strategy | None = None,
        n_std: float = 1.0,
        random_state: RandomState = None,
        unknown: Literal["raise", "prior"] | None = None,
        as_frame: Literal[False] = False,
    ) -> tuple[Array, Floats]: ...
    @overload
    def recommend(
        self,
        users: Id | IdArray | None = None,
        n: int = 10,
        *,
        ratings: Mapping[Any, float] | RatingsLike | None = None,
        candidates: Chosen | None = None,
        exclude: Chosen | None = None,
        exclude_rated: bool = True,
        min_ratings: int = 0,
        strategy: Strategy | None = None,
        n_std: float = 1.0,
        random_state: RandomState = None,
        unknown: Literal["raise", "prior"] | None = None,
        as_frame: bool | FrameKind,
    ) -> Any: ...
    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        ratings: Any = None,
        candidates: Any = None,
        exclude: Any = None,
        exclude_rated: bool = True,
        min_ratings: int = 0,
        strategy: str | None = None,
        n_std: float = 1.0,
        random_state: Any = None,
        unknown: str | None = None,
        as_frame: bool | str = False,
    ) -> Any:
        """Recommend the items that a user is likely to rate, and to rate highly.

        The highest predicted ratings alone are not a good list: a model of ratings has learned from what people rated, and lists
        consist of what they did not, among which hardly anybody's choice are the little-known items that a few rated highly. So by
        default (`strategy`) an item is judged by its predicted rating and by how likely the user is to rate it at all; among films
        that users rated later this finds twice as many as the highest predicted ratings do (``docs/accuracy.md``).

        Parameters
        ----------
        users : id, or array-like of ids, shape (m,)
            Users. May be left out where `ratings` are given: the lists are then for all users of these, in ascending order of
            their ids, or for the one person whose ratings they are.
        n : int, default=10
            How many items a user.
        ratings : mapping of item -> rating, or ratings as `fit` takes them, default=None
            The ratings of users who were not in training, all that there are of each: they are folded in for this call (see
            `fold_in`). A mapping is one person's. Of users who were in training these ratings stand instead of theirs.
        candidates : array-like of ids, or array-likes of ids for each user, default=None
            Recommend among these only: for all users, or a mapping of user -> items, or a list with the items of each user.
            Default: all items that have ratings or features; others (gaps between the columns of a matrix) appear only if they are
            asked for here.
        exclude : like `candidates`, default=None
            Leave these out. Unknown items are ignored, as are users of a mapping who are not asked for.
        exclude_rated : bool, default=True
            Leave out the items that the user rated.
        min_ratings : int, default=0
            Leave out items with fewer training ratings.
        strategy : {"propensity", "mean", "lower", "upper", "thompson"}, default=None
            What an item is judged by. "propensity", the default: its predicted rating, plus on the scale of the training error
            (the last of ``history_["train_rmse"]``) log(1 + its number of ratings) and the ratio of how much more of the user's
            ratings than of all ratings are of items with factors like its own. "mean": its predicted rating, or for `RankALS`,
            whose scores know what users are likely to rate and which takes it by default, its score. "lower" and "upper": the
            predicted rating minus and plus `n_std` standard deviations of what more ratings would tell (the noise of ratings
            plays no part): "lower" is cautious, "upper" tries what may be good. "thompson": its rating in a draw from the
            posterior, the same draw for all users of a call, which tries items as often as they may be the best. The last three
            take as long as an iteration, or where there are many users, "lower" and "upper", much longer:
            (n_users + 1) n_items k^2.
        n_std : float, default=1.0
            For "lower" and "upper".
        random_state : int, Generator, RandomState or None, default=None
            For "thompson". An int gives the same draw at each call.
        unknown : {None, "raise", "prior"}, default=None
            What an unknown user gets. "prior": what most users like, the items with the highest biases (with
            `implicit_features`, what the average user likes). "raise": an error that names ids like it. None: a single user the
            error, users in an array the prior, with a warning where they are more than half.
        as_frame : bool or {"pandas", "polars", "arrow"}, default=False
            Return a data frame of pandas (True), polars or pyarrow instead: columns ``user``, ``rank`` (from 1), ``item``,
            ``title`` (after `set_titles`) and ``score``, without padding.

        Returns
        -------
        ids : ndarray, shape (n,) or (m, n)
            Items, best first; equal scores in ascending order of ids. Where fewer than `n` items are left, the
            rest is padded with `alsx.ratings.Ids.missing`, which is no id, and a score of NaN.
        scores : ndarray of float64, shape (n,) or (m, n)
            What the items were judged by, in rating units; not clipped, so that the best remain distinguishable. Predicted ratings
            only with "mean": of the items of any list `predict` gives them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        TypeError
            If ids are of another kind than those the model was fitted to.
        ValueError
            If a single user is unknown (see `unknown`), `n` is less than 1, an id in `candidates` or an item in `ratings` is
            unknown, or there is no such strategy.

        References
        ----------
        T. Kanamori, S. Hido, M. Sugiyama, "A least-squares approach to direct importance estimation", Journal of Machine Learning
        Research 10, 2009, pages 1391-1445 (the ratio); T. Schnabel, A. Swaminathan, A. Singh, N. Chandak, T. Joachims,
        "Recommendations as treatments", ICML 2016, pages 1670-1679 (propensities of ratings).

        O. Chapelle, L. Li, "An empirical evaluation of Thompson sampling", NIPS 2011, pages 2249-2257; L. Li, W. Chu,
        J. Langford, R. Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW 2010, pages
        661-670 (the upper limit).

        Examples
        --------
        >>> from alsx import BiasALS
        >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3), ("cat", 9)]
        >>> model = BiasALS().fit(R, [4.5, 3.0, 5.0, 4.0, 2.0])
        >>> ids, scores = model.recommend("bob", n=2)
        >>> ids
        array([3, 9])
        >>> ids, scores = model.recommend(ratings={3: 5.0}, n=1)
        >>> ids
        array([7])
        """
        check_is_fitted(self, "mean_")
        options = self._list_options(
            n, candidates, exclude, exclude_rated, min_ratings, strategy, n_std, random_state, unknown
        )
        kind = check_kind(as_frame)
        if ratings is not None:
            model, guests_asked = self._with_guests(users, ratings)
            return model._recommended(
                guests_asked, options, kind, anonymous=users is None and np.ndim(guests_asked) == 0
            )
        if users is None:
            raise ValueError("users is None; give a user or users, or ratings=, the ratings of somebody new")
        return self._recommended(users, options, kind)

    def recommend_all(
        self,
        path: str | os.PathLike[str] | IO[bytes] | None = None,
        n: int = 10,
        *,
        candidates: IdArray | Mapping[Any, IdArray] | None = None,
        exclude: IdArray | Mapping[Any, IdArray] | None = None,
        exclude_rated: bool = True,
        min_ratings: int = 0,
        strategy: Strategy | None = None,
        n_std: float = 1.0,
        random_state: RandomState = None,
        block_size: int = 8192,
    ) -> Any:
        """Recommend items to all users who have ratings or features, a block of users at a time.

        Parameters
        ----------
        path : path-like, binary file object or None, default=None
            The Parquet file to write; a leading ``~`` is the home folder. It is written beside it and moved into place, so that an
            interruption leaves the old one. Memory is that of one block. None: return a table of pyarrow, all of it in memory.
        n, exclude_rated, min_ratings, strategy, n_std, random_state
            As of `recommend`.
        candidates, exclude : array-like of ids, or mapping of user -> ids, default=None
            As of `recommend`; for each user by a mapping.
        block_size : int, default=8192
            Users at a time, a row group of the file.

        Returns
        -------
        table : pyarrow.Table or None
            Columns ``user``, ``rank`` (from 1), ``item``, ``title`` (after `set_titles`) and ``score``; users ascending, the best
            items first. None where a file was written.

        Raises
        ------
        TypeError, ValueError
            As `recommend`.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> from alsx import BiasALS
        >>> model = BiasALS().fit([("ann", 7), ("bob", 7), ("ann", 3), ("cat", 9)], [4.5, 3.0, 5.0, 4.0])
        >>> model.recommend_all(n=1)["item"].to_pylist()
        [9, 3, 3]
        """
        check_is_fitted(self, "mean_")
        if strategy == "thompson":  # the same draw for all blocks
            random_state = int(_check.generator(random_state).integers(2**31))
        options = self._list_options(
            n, candidates, exclude, exclude_rated, min_ratings, strategy, n_std, random_state, "raise"
        )
        blocks = self._blocks(options, _check.integer("block_size", block_size, 1))
        if path is None:
            import pyarrow as pa

            return pa.concat_tables(blocks)
        if not isinstance(path, (str, os.PathLike)):
            write_blocks(path, blocks)
            return None
        with atomic_write(path) as file:
            write_blocks(file, blocks)
        return None

    def _blocks(self, options: ListOptions, block_size: int) -> Iterator[pa.Table]:
        """Yield the lists of all users as tables, with a progress bar where the model is verbose."""
        codes = np.flatnonzero(self._users.has_data).astype(np.int32)
        starts: Any = range(0, len(codes), block_size)
        if self.verbose:
            from tqdm import tqdm

            starts = tqdm(starts, desc="recommend_all", unit="block", file=sys.stderr)
        for start in starts:
            rows = codes[start : start + block_size]
            ids = self._users.ids.values[rows]
            lists = self._lists(rows, options, self._filters(options, ids, len(rows)))
            yield self._shown(ids, rows, self._items, lists, "arrow", ("user", "item"))

    def set_titles(self, titles: Mapping[Any, str] | Frame) -> Self:
        """Give the items titles, for tables that people read (`as_frame` of `recommend`, `similar_items`, `explain`).

        Parameters
        ----------
        titles : mapping of id -> title, or data frame with a column of items and a column ``title``
            Such as `items` of a data set that `alsx.datasets.load_movielens` returns. Items need not all have one. They are saved
            with the model, and a new `fit` forgets them.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If `titles` is neither, or its ids are of another kind than the model's.

        Examples
        --------
        >>> from alsx import BiasALS
        >>> model = BiasALS().fit([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0])
        >>> model.set_titles({3: "Alien", 7: "Brazil"}).recommend("bob", as_frame="arrow")["title"].to_pylist()
        ['Alien']
        """
        check_is_fitted(self, "mean_")
        self._titles = _read_titles(titles, self._items)
        return self

    # ------------------------------------------------------------------------------------------------------------
    # Steps

    def _list_options(
        self,
        n: int,
        candidates: Any = None,
        exclude: Any = None,
        exclude_rated: bool = True,
        min_ratings: int = 0,
        strategy: str | None = None,
        n_std: float = 1.0,
        random_state: Any = None,
        unknown: str | None = None,
    ) -> ListOptions:
        """Return what is asked of lists, checked; the arguments are those of `recommend`."""
        chosen = check_strategy(self._default_strategy if strategy is None else strategy)
        return ListOptions(
            _check.integer("n", n, 1),
            candidates,
            exclude,
            exclude_rated,
            _check.integer("min_ratings", min_ratings, 0),
            chosen,
            _check.real("n_std", n_std),
            random_state,
            check_unknown(unknown),
        )

    def _rank_items(
        self, users: Array, indptr: npt.NDArray[np.int64], items: Array, **options: Any
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the ranks, from 1, that items have in the whole rankings of users, and how long these are.

        Items that are not in them have rank 0. It is how `alsx.metrics.evaluate` looks at whole rankings, without making them.

        Parameters
        ----------
        users : ndarray of ids, shape (m,)
        indptr : ndarray of int64, shape (m + 1,)
            Where the items of each user begin.
        items : ndarray of ids, shape (indptr[-1],)
        **options
            Of `recommend`.
        """
        check_is_fitted(self, "mean_")
        checked = self._list_options(1, **options)
        rows = np.asarray(self._users.ids.codes(users, "users"))
        filters = self._filters(checked, users, len(rows))
        scores, limits = self._scored(rows, checked, filters)
        return top_n.ranks(scores, limits, CodeSets(indptr, np.asarray(self._items.ids.codes(items, "items"))))

    def _recommended(self, users: Any, options: ListOptions, kind: str | None, *, anonymous: bool = False) -> Any:
        """Return what `recommend` returns, of users that this model has; an `anonymous` one has no id to show."""
        codes = self._codes_of(self._users, users, "users", options.unknown)
        rows = np.atleast_1d(codes)
        if options.unknown is None:
            self._warn_unknown(rows, stacklevel=4)
        filters = self._filters(options, users, len(rows))
        lists = self._lists(rows, options, filters)
        return self._shown(None if anonymous else users, codes, self._items, lists, kind, ("user", "item"))

    def _lists(self, rows: Array, options: ListOptions, filters: Filters) -> Lists:
        """Return the lists of users by code."""
        lists = top_n.best(*self._scored(rows, options, filters), options.n, self._n_threads())
        if self._scale is not None and options.strategy == "mean":
            lists = lists._replace(scores=self._scale.expected(lists.scores))
        return lists

    def _scored(self, rows: Array, options: ListOptions, filters: Filters) -> tuple[Scores, Limits]:
        """Return what the items are judged by for users by code, and what may appear in their lists."""
        query = Query(rows, filters.allowed, options.n_std, options.random_state, self._n_threads())
        rated = top_n.rated_by(self._seen) if options.exclude_rated else None
        limits = Limits(filters.allowed, rated, rows, filters.excluded, filters.candidates)
        return STRATEGIES[options.strategy](self, query), limits

    def _with_guests(self, users: Any, ratings: Any) -> tuple[Recommendations, Any]:
        """Return a model whose users are those of some ratings alone, and who of them is asked for."""
        y = None
        if isinstance(ratings, Mapping):
            if users is not None and np.ndim(users) > 0:
                raise ValueError(
                    "ratings is a mapping of items, which is one person's, but users are several: give a data frame or pairs "
                    "(user, item)"
                )
            if not ratings:
                raise ValueError('ratings is empty; leave it out and pass unknown="prior" for somebody without ratings')
            users = new_id(self._users.ids) if users is None else users
            ratings, y = [(users, item) for item in ratings], list(ratings.values())
        elif isinstance(ratings, tuple) and len(ratings) == 2:
            ratings, y = ratings
        self._refuse_ordinal("ratings is given")
        found = guests(
            self._users,
            self._items,
            self.mean_,
            self._missing,
            self._uncertainty,
            ratings,
            self._values_of(ratings, y),
            self.n_jobs,
            self._n_threads(),
        )
        state = self._state()._replace(users=found.users, seen=found.seen, uncertainty=found.uncertainty, chain=None)
        # What is known of items is what the model has seen, not these few ratings.
        model = self._with_state(state, self.item_counts_)
        return model, found.users.ids.values if users is None else users

    def _filters(self, options: ListOptions, users: Any, m: int) -> Filters:
        """Return what may appear in the lists of m users.

        Items of which nothing is known, such as gaps between the columns of a matrix, appear only if they are asked for.
        """
        side, allowed = self._items, np.ones(len(self._items), bool)
        if options.min_ratings:
            allowed &= self.item_counts_ >= options.min_ratings
        excluded = candidates = None
        if options.candidates is None:
            allowed &= side.has_data
        elif (per_user := by_user("candidates", options.candidates, users, m)) is None:
            listed = np.zeros(len(side), bool)
            listed[known_codes(side, options.candidates, "candidates")] = True
            allowed &= listed
        else:
            candidates = CodeSets.of([known_codes(side, ids, "candidates") for ids in per_user])
        if options.exclude is not None:
            per_user = by_user("exclude", options.exclude, users, m, default=())
            if per_user is None:
                allowed[codes_of_known(side, options.exclude, "exclude")] = False
            else:
                excluded = CodeSets.of([codes_of_known(side, ids, "exclude") for ids in per_user])
        return Filters(None if allowed.all() else allowed, excluded, candidates)

    def _codes_of(self, side: FittedSide, ids: Any, argument: str, unknown: str | None) -> Array:
        """Return codes of one id or of many; refuse unknown ones where `unknown` says so."""
        codes = np.asarray(side.ids.codes(ids, argument))
        if unknown == "prior" or (unknown is None and codes.ndim > 0) or not (codes < 0).any():
            return codes
        place = int(np.flatnonzero(np.atleast_1d(codes) < 0)[0])
        raise ValueError(unknown_id(side, np.atleast_1d(np.asarray(ids))[place].item(), argument))

    def _shown(
        self, asked: Any, codes: Array, side: FittedSide, lists: Lists, kind: str | None, names: tuple[str, str]
    ) -> Any:
        """Return lists with ids instead of codes: two arrays, or a frame of this kind.

        Parameters
        ----------
        asked : id or array-like of ids, or None
            Whose lists these are; None for somebody without an id.
        codes : ndarray of int32
            Of `asked`; without an axis the arrays have none either.
        side : FittedSide
            What is listed.
        lists : Lists
        kind : str or None
        names : pair of str
            The columns of `asked` and of what is listed.
        """
        ids = side.ids_of(lists.codes)
        if kind is None:
            return (ids[0], lists.scores[0]) if codes.ndim == 0 else (ids, lists.scores)
        rows, places = np.nonzero(lists.codes >= 0)
        whose = [None] * len(rows) if asked is None else np.atleast_1d(np.asarray(asked))[rows]
        listed = ids[rows, places]
        columns: dict[str, Any] = {names[0]: whose, "rank": places + 1, names[1]: listed}
        if self._titles is not None and side.name == "item":
            columns["title"] = text_column(self._titles.of(listed))
        return make_frame({**columns, "score": lists.scores[rows, places]}, kind)


def write_blocks(file: Any, blocks: Iterator[pa.Table]) -> None:
    """Write tables of one schema as row groups of a Parquet file."""
    import pyarrow.parquet as pq

    first = next(blocks)
    with pq.ParquetWriter(file, first.schema) as writer:
        for block in itertools.chain([first], blocks):
            writer.write_table(block)


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def new_id(ids: Ids) -> Any:
    """Return an id of the kind of these that none of them is, for somebody who has none."""
    values = ids.values
    if ids.kind == "integers":  # the numbers below and above all of them are ids, too, but for the mark of missing ones
        highest = int(values[-1])
        return highest + 1 if highest < 2**63 - 1 else int(values[0]) - 1
    return f"{values[-1]}+"


def check_unknown(unknown: Any) -> str | None:
    """Return what is to be done with unknown ids."""
    if unknown not in (None, "raise", "prior"):
        raise ValueError(f'unknown is {unknown!r}; it must be None, "raise" or "prior"')
    return None if unknown is None else str(unknown)


def unknown_id(side: FittedSide, one: Any, argument: str) -> str:
    """Return what is said of an unknown id, with known ones that look like it."""
    remedies = "Give one of them, " if argument.endswith("s") else "Give one of them, or "
    if argument.startswith("item") or not argument.endswith("s"):
        remedies += "fold it in first"
    else:
        remedies += "pass ratings= for somebody new"
    if argument.endswith("s"):  # `explain` takes one user and one item, and nothing but these
        remedies += ', or pass unknown="prior" for what is expected without ratings'
    near = [show(x) for x in side.ids.near(one)]
    while True:
        nearest = f", where the nearest are {', '.join(near)}" if near else ""
        message = f"{argument}: {show(one)} is unknown: it was not among the training {side.name}s{nearest}. {remedies}"
        if len(message) <= MAX_MESSAGE or not near:
            return message
        near.pop()


def known_codes(side: FittedSide, ids: Any, argument: str) -> Array:
    """Return codes of ids, one or many, all of which must be known."""
    codes = np.atleast_1d(side.ids.codes(_listed(ids), argument))
    if (codes < 0).any():
        first = int(np.flatnonzero(codes < 0)[0])
        unknown = np.atleast_1d(np.asarray(_listed(ids)))[first].item()
        raise ValueError(
            f"{argument}: {show(unknown)} (place {first}) is not among the {len(side)} training {side.name}s; leave it out"
        )
    return codes


def codes_of_known(side: FittedSide, ids: Any, argument: str) -> Array:
    """Return codes of those ids that are known."""
    codes = np.atleast_1d(side.ids.codes(_listed(ids), argument))
    return codes[codes >= 0]


def _listed(ids: Any) -> Any:
    """Return ids in an order: a set has none."""
    return list(ids) if isinstance(ids, (set, frozenset, range)) else ids


def by_user(argument: str, given: Any, users: Any, m: int, default: Any = None) -> list[Any] | None:
    """Return the items of each of m users, where users have items of their own; None where they are for all.

    Parameters
    ----------
    argument : str
    given : mapping of user -> ids, list of ids for each user, or ids
    users : id, or array-like of ids
    m : int
    default : array-like, default=None
        For users that a mapping lacks. Default: they are an error.
    """
    if isinstance(given, Mapping):
        asked = np.atleast_1d(np.asarray(users)).tolist()
        if default is None and (lacking := [one for one in asked if one not in given]):
            raise ValueError(
                f"{argument} has nothing for user {show(lacking[0])}: give ids for each of the users, all items if it may be any"
            )
        return [given.get(one, default) for one in asked]
    nested = isinstance(given, np.ndarray) and given.ndim == 2
    if isinstance(given, (list, tuple)) or (isinstance(given, np.ndarray) and given.dtype == object):
        kinds = {isinstance(one, (list, tuple, set, frozenset, range)) or np.ndim(one) > 0 for one in given}
        if len(kinds) == 2:
            raise ValueError(f"{argument} has ids and lists of ids; give ids for all users, or a list of ids for each")
        nested = kinds == {True}
    if not nested:
        return None
    if len(given) != m:
        raise ValueError(f"{argument} has lists of ids for {len(given)} users, but there are {m}: give one for each")
    return list(given)


def _read_titles(titles: Any, side: FittedSide) -> Titles:
    """Return titles of items, whatever holds them."""
    if isinstance(titles, Mapping):
        keys, texts = list(titles), list(titles.values())
    elif is_frame(titles):
        ids_of_rows, columns = described_rows(titles, "item", "titles")
        if "title" not in columns:
            raise ValueError("titles has no column title; rename the one that holds them")
        keys, texts = ids_of_rows.tolist(), columns["title"].to_pylist()
    else:
        raise TypeError(
            f"titles is of type {type(titles).__name__}; it must be a mapping of id -> title, or a data frame with columns of "
            "items and of titles"
        )
    side.ids.codes(keys, "titles")  # ids of another kind are refused
    known = [(key, str(text)) for key, text in zip(keys, texts, strict=True) if text is not None]
    if not known:
        raise ValueError("titles is empty; give at least one title")
    order = np.argsort(np.array([key for key, _ in known]), kind="stable")
    ids = Ids(np.array([known[place][0] for place in order]), "titles")
    return Titles(ids, np.array([known[place][1] for place in order]))
