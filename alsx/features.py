"""Features of users and items: from data frames and matrices to the numbers that a map of prior means is learned from."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

from alsx.ratings import Ids, described_rows, is_frame

Array = npt.NDArray[Any]

# A column of more different texts than this, that differ in more than half of the rows, is no category: titles, comments.
MANY = 1000


class FeatureEncoder:
    """
    How features become numbers, learned once and then the same for whoever comes later.

    `fit` makes it. Numbers are standardised (a missing one is the mean); texts, categories and truth values become one
    column a value, lists of texts and texts with bars such as ``"Comedy|Drama"`` one column a label, of zeros and ones
    (missing or never seen before: zeros); times are numbers of days. Columns of a matrix are taken as they are.

    Attributes
    ----------
    names : list of str
        What each column of numbers is: ``"year"``, ``"genres=Drama"``; ``"feature 0"`` where they had no names.
    """

    def __init__(self, names: list[str], columns: list[dict[str, Any]] | None) -> None:
        self.names = names
        self._columns = columns

    @classmethod
    def fit(cls, data: Any, name: str, known: Ids) -> tuple[FeatureEncoder, Array, scipy.sparse.csr_array]:
        """
        Learn how `data` becomes numbers.

        Parameters
        ----------
        data : scipy sparse matrix, array-like of shape (n, m), or data frame
            A matrix has a row for each of the known ids; a frame has a column of ids.
        name : {"user_features", "item_features"}
            What sentences call it, and which column of ids is looked for.
        known : Ids
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
            Where `data` cannot be used; the sentence names the column or the row, and what to do.
        """
        if not is_frame(data):
            matrix = _numbers(data, name)
            if matrix.shape[0] != len(known):
                raise ValueError(
                    f"{name} has {matrix.shape[0]:,} rows, but the ratings have {len(known):,} {name.partition('_')[0]}s: "
                    "give a row for each, in ascending order of ids, or a data frame with a column of ids"
                )
            return cls([f"feature {place}" for place in range(matrix.shape[1])], None), known.values, matrix
        ids, found = described_rows(data, name.partition("_")[0], name)
        known.codes(ids, name)  # ids of another kind are refused
        columns, names = [], []
        for column, values in found.items():
            learned = _learned(column, values, name)
            columns.append(learned)
            names += [column] if "mean" in learned else [f"{column}={label}" for label in learned["labels"]]
        if not names:
            raise ValueError(f"{name} has no columns but the ids: give at least one feature, or leave {name} out")
        encoder = cls(names, columns)
        return encoder, ids, encoder._encoded(found)

    def transform(self, data: Any, name: str, side: str, ids: Any = None) -> tuple[Array, scipy.sparse.csr_array]:
        """
        The same numbers for other rows.

        Parameters
        ----------
        data : as for `fit`
            Of the same columns.
        name : str
            What sentences call it.
        side : {"user", "item"}
            Which column of ids is looked for.
        ids : ndarray, shape (n,), default=None
            The ids of the rows of a matrix; None: 0 to n - 1.

        Returns
        -------
        ids : ndarray, shape (n,)
        matrix : csr_array of float64, shape (n, len(names))
        """
        if is_frame(data) != (self._columns is not None):
            had = "a data frame" if self._columns is not None else "a matrix"
            raise TypeError(f"{name}: the model was fitted to features in {had}: give {had} of the same columns")
        if self._columns is None:
            matrix = _numbers(data, name)
            if matrix.shape[1] != len(self.names):
                raise ValueError(f"{name} has {matrix.shape[1]} columns; the model was fitted to {len(self.names)}")
            own = np.arange(matrix.shape[0]) if ids is None else np.asarray(ids)
            if len(own) != matrix.shape[0]:
                raise ValueError(f"{name} has {matrix.shape[0]:,} rows for {len(own):,} {side}s: give a row for each")
            return own, matrix
        own, found = described_rows(data, side, name)
        lacking = [column["name"] for column in self._columns if column["name"] not in found]
        if lacking:
            raise ValueError(f"{name} lacks the column {lacking[0]!r}, which the model was fitted to")
        return own, self._encoded(found)

    def _encoded(self, found: dict[str, Any]) -> scipy.sparse.csr_array:
        blocks = []
        for column in self._columns or []:
            values = found[column["name"]]
            if "mean" in column:
                scaler = StandardScaler()
                scaler.mean_, scaler.scale_ = np.array([column["mean"]]), np.array([column["scale"]])
                scaler.var_, scaler.n_features_in_ = scaler.scale_**2, 1
                scaled = scaler.transform(_as_numbers(column["name"], values, "")[:, None])
                blocks.append(scipy.sparse.csr_array(np.nan_to_num(scaled, nan=0.0)))
            else:
                binarizer = MultiLabelBinarizer(classes=column["labels"], sparse_output=True).fit([])
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "unknown class", UserWarning)
                    blocks.append(binarizer.transform(_as_labels(values)).astype(np.float64))
        return scipy.sparse.csr_array(scipy.sparse.hstack(blocks, format="csr"))

    def state(self) -> dict[str, Any]:
        """All that there is, as JSON can hold it."""
        return {"names": self.names, "columns": self._columns}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FeatureEncoder:
        """An encoder that gives the same numbers as the one whose `state` this is."""
        return cls([str(name) for name in state["names"]], state["columns"])


def _numbers(data: Any, name: str) -> scipy.sparse.csr_array:
    """A matrix of finite numbers."""
    try:
        whole = data if scipy.sparse.issparse(data) else np.asarray(data)
        if whole.ndim != 2:
            raise ValueError(f"{name} has {whole.ndim} dimensions; give a matrix with a row each, or a data frame")
        matrix = scipy.sparse.csr_array(whole, dtype=np.float64)
    except (TypeError, ValueError) as error:
        if name in str(error):
            raise
        raise TypeError(f"{name} is no matrix of numbers ({error}): give numbers, or a data frame") from None
    if not matrix.shape[1]:
        raise ValueError(f"{name} has no columns: give at least one feature, or leave {name} out")
    wrong = np.flatnonzero(~np.isfinite(matrix.data))
    if len(wrong):
        entries = matrix.tocoo()
        at = wrong[0]
        raise ValueError(
            f"{name}: row {entries.row[at]}, column {entries.col[at]} is {entries.data[at]}; fill such places in first "
            "(a data frame may have missing ones)"
        )
    return matrix


def _learned(column: str, values: Any, name: str) -> dict[str, Any]:
    """How one column becomes numbers."""
    import pyarrow.types as kinds

    if not (_is_text(values.type) or kinds.is_boolean(values.type)):
        numbers = _as_numbers(column, values, name)
        scaler = StandardScaler().fit(numbers[:, None])
        mean = float(np.nan_to_num(scaler.mean_[0]))
        return {"name": column, "mean": mean, "scale": float(scaler.scale_[0]) or 1.0}
    labels = _as_labels(values)
    found = MultiLabelBinarizer().fit(labels).classes_.tolist()
    if len(found) > MANY and 2 * len(found) > len(labels):
        raise ValueError(
            f"{name}: the column {column!r} has {len(found):,} different values in {len(labels):,} rows, as free text has; "
            "drop it, or make categories of it"
        )
    if not found:
        raise ValueError(f"{name}: the column {column!r} holds nothing: drop it")
    return {"name": column, "labels": found}


def _is_text(kind: Any) -> bool:
    """Texts, categories of them, and lists."""
    import pyarrow.types as kinds

    if kinds.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)
        or kinds.is_list(kind) or kinds.is_large_list(kind)
    )  # fmt: skip


def _as_numbers(column: str, values: Any, name: str) -> npt.NDArray[np.float64]:
    """Numbers, NaN where missing; times in days."""
    import pyarrow as pa
    import pyarrow.types as kinds

    try:
        if kinds.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        days = kinds.is_date(values.type) or kinds.is_timestamp(values.type)
        if days:
            values = values.cast(pa.timestamp("us")).cast(pa.int64())
        numbers = np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TypeError(
            f"{name}: the column {column!r} is {values.type}, neither numbers nor texts nor lists of texts: drop or "
            "convert it"
        ) from error
    if np.isinf(numbers).any():
        at = int(np.argmax(np.isinf(numbers)))
        raise ValueError(f"{name}: the column {column!r} is {numbers[at]} in row {at}: give finite numbers, or null")
    return numbers / 86_400e6 if days else numbers


def _as_labels(values: Any) -> list[list[str]]:
    """The labels of every row."""

    def split(value: Any) -> list[str]:
        if value is None:
            return []
        if isinstance(value, str):
            parts: Iterable[Any] = value.split("|")
        elif isinstance(value, bool):
            parts = [value]
        else:
            parts = (part for part in value if part is not None)
        return [text for text in (str(part).strip() for part in parts) if text]

    return [split(value) for value in values.to_pylist()]
