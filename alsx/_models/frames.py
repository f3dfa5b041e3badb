"""Tables that methods return where `as_frame` asks for them."""

from __future__ import annotations

from typing import Any

KINDS = ("pandas", "polars", "arrow")


def check_kind(as_frame: Any) -> str | None:
    """Return which library's table `as_frame` asks for; None for none."""
    if as_frame is False or as_frame is None:
        return None
    kind = "pandas" if as_frame is True else as_frame
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f'as_frame is {as_frame!r}; it must be False, True, "pandas", "polars" or "arrow"')
    if kind != "arrow":
        import importlib.util

        if importlib.util.find_spec(kind) is None:
            raise ImportError(
                f'as_frame is {as_frame!r}, but {kind} is not installed: install it, or pass as_frame="arrow" for a table of '
                "pyarrow"
            )
    return kind


def make_frame(columns: dict[str, Any], kind: str) -> Any:
    """Return a table of these columns.

    Parameters
    ----------
    columns : dict of name -> array-like of shape (n,)
        Lists may hold None.
    kind : {"pandas", "polars", "arrow"}
    """
    import pyarrow as pa

    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    table = pa.table(arrays)
    if kind == "pandas":
        return table.to_pandas()
    if kind == "polars":
        import polars

        return polars.from_arrow(table)
    return table


def text_column(texts: Any) -> Any:
    """Return texts, some of them None, as a column of texts even where all are None."""
    import pyarrow as pa

    return pa.array(texts, pa.string())
