"""Features of users and items: from data frames and matrices to the numbers that prior means are learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from alsx.ratings import Ids, described_rows, is_frame
from alsx.ratings._caller import show_name
from alsx.ratings.columns import is_arrow_text

Array = npt.NDArray[Any]

# A column of more different texts than this, that differ in more than half of the rows, is not a category: titles, post
# codes, comments. Fewer do little harm, and small tables differ in every row by chance.
MAX_FREE_TEXTS = 100

# What a column may hold later, by what it held when the encoder was fitted. A column that is missing whole has no type.
FAMILIES_LATER = {
    "numbers": ("numbers", "nothing"),
    "days": ("days", "nothing"),
    "category": ("category", "text", "numbers", "nothing"),
    "labels": ("text", "lists", "nothing"),
}
FAMILY_WORDS = {
    "numbers": "numbers",
    "days": "dates",
    "category": "categories",
    "labels": "lists of texts, or texts with bars",
    "text": "texts",
    "lists": "lists",
}


class FeatureEncoder:
    """How features become numbers, learned once and then the same for later rows.

    `fit` makes it. Numbers are standardised (a missing one is the mean). Texts, categories and truth values become one
    column per value, lists of texts and texts with bars such as ``"Comedy|Drama"`` one column per label, of zeros and
    ones (missing, blank or never seen before: zeros). Times are numbers of days. Integers that stand for categories must
    be made categories or texts first. Columns of a matrix are taken as they are.

    Attributes
    ----------
    names : list of str
        What each column of numbers is: ``"year"``, ``"genres=Drama"``; ``"feature 0"`` where they had no names.
    """

    def __init__(self, names: list[str], columns: list[dict[str, Any]] | None) -> None:
        self.names = names
        self._columns = columns

    @classmethod
    def fit(cls, data: Any, name: str, rated: Ids) -> tuple[FeatureEncoder, Array, scipy.sparse.csr_array]:
        """Learn how `data` becomes numbers.

        Parameters
        ----------
        data : scipy sparse matrix, array-like of shape (n, m), or data frame
            A matrix has a row for each of the rated ids; a frame has a column of ids, rated or not.
        name : {"user_features", "item_features"}
            What messages call it, and which column of ids is looked for.
        rated : Ids
            The ids that have ratings.

        Returns
        -------
        encoder : FeatureEncoder
        ids : ndarray, shape (n,)
            The id of each row.
        matrix : csr_array of float64, shape (n, len(names))

        Raises
        ------
        TypeError, ValueError
            Where `data` cannot be used; the message names the column or the row, and what to do.
        """
        side = name.partition("_")[0]
        if not is_frame(data):
            matrix = _matrix(data, name)
            if matrix.shape[0] != len(rated):
                raise ValueError(
                    f"{name} has {matrix.shape[0]:,} rows, but the ratings have {len(rated):,} {side}s: give a row for "
                    "each, in ascending order of ids, or a data frame with a column of ids"
                )
            return cls([f"feature {place}" for place in range(matrix.shape[1])], None), rated.values, matrix
        ids, found = described_rows(data, side, name)
        if not found:
            raise ValueError(f"{name} has no columns but the ids: give at least one feature, or leave {name} out")
        rated.codes(ids, name)  # ids of another kind are refused
        columns = [_learn_column(column, values, name) for column, values in found.items()]
        names = []
        for column in columns:
            own = column["name"]
            names += [own] if "mean" in column else [f"{own}={label}" for label in column["labels"]]
        encoder = cls(names, columns)
        return encoder, ids, encoder._encoded(found, name)

    def transform(self, data: Any, name: str, side: str, ids: Any = None) -> tuple[Array, scipy.sparse.csr_array]:
        """Return the same numbers for other rows.

        Parameters
        ----------
        data : as for `fit`
            Of the same columns, in any order; others are ignored.
        name : str
            What messages call it.
        side : {"user", "item"}
            Which column of ids is looked for.
        ids : ndarray, shape (n,), default=None
            The ids of the rows of a matrix; None: 0 to n - 1. A frame has its own ids, which must be of the kind of these.

        Returns
        -------
        ids : ndarray, shape (n,)
        matrix : csr_array of float64, shape (n, len(names))

        Raises
        ------
        TypeError, ValueError
            Where `data` cannot be used, or is not like what the encoder was fitted to.
        """
        if is_frame(data) != (self._columns is not None):
            had = "a data frame" if self._columns is not None else "a matrix"
            raise TypeError(f"{name}: the model was fitted to features in {had}: give {had} of the same columns")
        if self._columns is None:
            matrix = _matrix(data, name)
            n, m = matrix.shape
            if m != len(self.names):
                raise ValueError(
                    f"{name} has {m} columns; the model was fitted to {len(self.names)}: give the same ones"
                )
            own = np.arange(n) if ids is None else np.asarray(ids)
            if len(own) != n:
                raise ValueError(f"{name} has {n:,} rows for {len(own):,} {side}s: give a row for each")
            return own, matrix
        own, found = described_rows(data, side, name)
        if ids is not None:
            Ids(np.unique(ids), f"{side}s").codes(own, name)  # ids of another kind are refused
        lacking = [column["name"] for column in self._columns if column["name"] not in found]
        if lacking:
            raise ValueError(
                f"{name} lacks the column {show_name(lacking[0])}, which the model was fitted to: add it, with nulls where "
                "nothing is known"
            )
        return own, self._encoded(found, name)

    def _encoded(self, found: dict[str, Any], name: str) -> scipy.sparse.csr_array:
        """The numbers of all columns, side by side."""
        blocks = [_encode_column(column, found[column["name"]], name) for column in self._columns or []]
        return _tidy(scipy.sparse.csr_array(scipy.sparse.hstack(blocks, format="csr"), dtype=np.float64))

    def state(self) -> dict[str, Any]:
        """Return all that there is, as JSON can hold it."""
        return {"names": self.names, "columns": self._columns}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FeatureEncoder:
        """Return an encoder that gives the same numbers as the one whose `state` this is."""
        return cls([str(name) for name in state["names"]], state["columns"])


def _tidy(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Without stored zeros, which would cost time in every sweep, and in the order of columns."""
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _matrix(data: Any, name: str) -> scipy.sparse.csr_array:
    """A matrix of finite numbers."""
    remedy = (
        "give a matrix of numbers with one row for each id, or a data frame with a column of ids (collect a lazy one)"
    )
    if not scipy.sparse.issparse(data):
        if data is None or isinstance(data, str | bytes | dict | set) or hasattr(data, "collect"):
            raise TypeError(
                f"{name} is of type {type(data).__name__}, which holds no features that can be read: {remedy}"
            )
        if np.ma.is_masked(data):
            row = int(np.argwhere(np.ma.getmaskarray(data))[0][0])
            raise ValueError(f"{name}: row {row} has a masked place: fill it in, or {remedy}")
        try:
            data = np.asarray(data)
        except ValueError:
            raise ValueError(f"{name} has rows of different lengths: {remedy}") from None
    if data.ndim != 2:
        raise ValueError(f"{name} has {data.ndim} dimensions: {remedy}")
    if data.dtype.kind not in "biufO":
        raise TypeError(f"{name} is of {data.dtype}; it must be numbers: {remedy}")
    if not data.shape[1]:
        raise ValueError(f"{name} has no columns: give at least one feature, or leave {name} out")
    try:
        matrix = scipy.sparse.csr_array(data.astype(np.float64), copy=True)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be made a matrix of numbers ({str(error)[:80]}): {remedy}") from None
    matrix.sum_duplicates()
    wrong = np.flatnonzero(~np.isfinite(matrix.data))
    if len(wrong):
        row = int(np.searchsorted(matrix.indptr, wrong[0], side="right")) - 1
        raise ValueError(
            f"{name}: row {row}, column {matrix.indices[wrong[0]]} is {matrix.data[wrong[0]]}: fill such places in first "
            "(a data frame may have missing ones)"
        )
    return _tidy(matrix)


# ---------------------------------------------------------------------------------------------------------------------
# Columns of data frames


def _learn_column(column: str, values: Any, name: str) -> dict[str, Any]:
    """What scikit-learn's transformer for the kind of a column learns from it."""
    from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder, StandardScaler

    family = _family(column, values, name)
    empty = f"{name}: the column {show_name(column)} holds nothing: drop it"
    if family == "nothing":
        raise ValueError(empty)
    if family in ("numbers", "days"):
        numbers = _numbers(column, values, family, name)
        if np.isnan(numbers).all():
            raise ValueError(empty)
        with np.errstate(over="ignore", invalid="ignore"):
            scaler = StandardScaler().fit(numbers[:, None])
        mean, scale = float(scaler.mean_[0]), float(scaler.scale_[0])
        if not np.isfinite([mean, scale, scaler.var_[0]]).all():
            raise ValueError(
                f"{name}: the numbers of the column {show_name(column)} are too large to be standardised: rescale it"
            )
        return {"name": column, "kind": family, "mean": mean, "scale": scale}
    bars = _with_bars(values) if family == "text" else 0
    if bars or family == "lists":
        rows: list[Any] = [labels for labels in _labels(values) if labels]
        found = MultiLabelBinarizer().fit(rows).classes_.tolist()
        kind = "labels"
    else:
        rows = [word for word in _words(values) if word is not None]
        found = OneHotEncoder().fit(_upright(rows)).categories_[0].tolist() if rows else []
        kind = "category"
    if not found:
        raise ValueError(empty)
    # A bar in a few rows does not make labels of a column of texts; where there are lists, any number of labels is fine.
    if family != "lists" and 10 * bars < len(rows) and len(found) > MAX_FREE_TEXTS and 2 * len(found) > len(rows):
        raise ValueError(
            f"{name}: the column {show_name(column)} has {len(found):,} different values in {len(rows):,} rows, as free text has, "
            "not categories: drop it (or make lists of it, to have one feature per value all the same)"
        )
    return {"name": column, "kind": kind, "labels": found}


def _encode_column(column: dict[str, Any], values: Any, name: str) -> Any:
    """The numbers of one column, by what was learned before."""
    from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder

    own, kind = column["name"], column["kind"]
    family = _family(own, values, name)
    if family not in FAMILIES_LATER[kind]:
        raise TypeError(
            f"{name}: the column {show_name(own)} holds {FAMILY_WORDS[family]} ({values.type}), but {FAMILY_WORDS[kind]} when the "
            "model was fitted: convert it"
        )
    if "mean" in column:
        scaled = (_numbers(own, values, family, name)[:, None] - column["mean"]) / column["scale"]
        return scipy.sparse.csr_array(np.nan_to_num(scaled, nan=0.0))
    labels = column["labels"]
    if kind == "category":
        encoder = OneHotEncoder(categories=[np.array(labels, object)], handle_unknown="ignore")
        # Whatever sklearn.set_config says of outputs, no frames come back.
        return encoder.set_output(transform="default").fit(_upright(labels[:1])).transform(_upright(_words(values)))
    # MultiLabelBinarizer would warn of labels that it does not know.
    fitted = set(labels)
    rows = [[label for label in row if label in fitted] for row in _labels(values)]
    return MultiLabelBinarizer(classes=labels, sparse_output=True).fit([]).transform(rows)


def _family(column: str, values: Any, name: str) -> str:
    """What an Arrow column holds: numbers, days, text, category, lists, or nothing."""
    import pyarrow.types as kinds

    kind = values.type
    if kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind):
        return "numbers"
    if kinds.is_date(kind) or kinds.is_timestamp(kind):
        return "days"
    if kinds.is_null(kind):
        return "nothing"
    if is_arrow_text(kind.value_type if kinds.is_dictionary(kind) else kind):
        return "text"
    if kinds.is_boolean(kind) or kinds.is_dictionary(kind):
        return "category"
    remedy = "drop it, or make numbers, texts, categories, dates or lists of texts of it"
    lists = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list, kinds.is_list_view, kinds.is_large_list_view)
    if any(is_one(kind) for is_one in lists):
        part = kind.value_type.value_type if kinds.is_dictionary(kind.value_type) else kind.value_type
        if is_arrow_text(part) or kinds.is_integer(part) or kinds.is_null(part):
            return "lists"
        if kinds.is_floating(part) or kinds.is_decimal(part):
            remedy = "give each number of the list a column of its own, or pass a matrix"
    raise TypeError(f"{name}: the column {show_name(column)} is {str(kind)[:60]}, which cannot be a feature: {remedy}")


def _numbers(column: str, values: Any, family: str, name: str) -> npt.NDArray[np.float64]:
    """Numbers, NaN where missing; times in days since 1970."""
    import pyarrow as pa
    import pyarrow.types as kinds

    per_day = 1.0
    if family == "days":
        if kinds.is_date(values.type):
            values = values.cast(pa.timestamp("s" if kinds.is_date32(values.type) else "ms"))
        per_day = 86_400.0 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[values.type.unit]
        values = values.cast(pa.int64())
    numbers = np.asarray(values.cast(pa.float64(), safe=False).to_numpy(), np.float64) / per_day
    wrong = np.flatnonzero(np.isinf(numbers))
    if len(wrong):
        raise ValueError(
            f"{name}: the column {show_name(column)} is {numbers[wrong[0]]} in row {wrong[0]}: give finite numbers, or null where "
            "none is known"
        )
    return numbers


def _with_bars(values: Any) -> int:
    """In how many rows a text holds a bar."""
    return sum(text is not None and "|" in text for text in values.to_pylist())


def _word(value: Any) -> str | None:
    """A category or label as text, the same whether integers came as integers or as floats; None where missing."""
    if isinstance(value, dict):  # an interval, as pandas.cut makes them
        return " to ".join(str(_word(part)) for part in value.values())
    if isinstance(value, float):
        if np.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    text = "" if value is None else str(value).strip()
    return text or None


def _words(values: Any) -> list[str | None]:
    return [_word(value) for value in values.to_pylist()]


def _labels(values: Any) -> list[list[str]]:
    """The labels of every row, without missing ones."""
    parts = ((row.split("|") if isinstance(row, str) else row or []) for row in values.to_pylist())
    return [[word for word in map(_word, row) if word is not None] for row in parts]


def _upright(words: Any) -> Array:
    """One column of objects, (n, 1)."""
    column = np.empty((len(words), 1), object)
    column[:, 0] = words
    return column
