"""Plain lines of text are parsed as Arrow's reader parses them, or left to it."""

import subprocess
import sys

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from alsx import Ratings, _csv
from alsx.ratings import csvfile, plain
from alsx.ratings._caller import OWN
from alsx.ratings.text import LayoutOptions, find_layout


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of some lines, so that lines lie across their borders."""
    monkeypatch.setattr(plain.plain_columns, "__defaults__", (64,))


def both(path, monkeypatch, **options):
    """What is read with and without the parser of plain lines: triples of ids and ratings, or what is said."""
    found = []
    for is_plain in (True, False):
        with monkeypatch.context() as patch:
            if not is_plain:
                patch.setattr(csvfile, "may_be_plain", lambda *_: False)
                patch.setattr(csvfile, "plain_types", lambda *_: None)
            try:
                R = Ratings(path, duplicates="last", **options)
                users, items, values = R.triples()
                found.append((R.user_ids[users], R.item_ids[items], values, R.timestamps))
            except (ValueError, TypeError) as error:
                found.append(str(error))
    return found


def assert_alike(found):
    if isinstance(found[0], str) or isinstance(found[1], str):
        assert found[0] == found[1]
        return
    for x, y in zip(*found, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


FIELDS = st.one_of(
    st.integers(-(2**31) - 5, 2**31 + 5).map(str),
    st.integers(0, 99).map(str),
    st.decimals(-100, 100, places=3).map(str),
    st.sampled_from(
        ["", " 1", "007", "-0", "+3", "1e3", "0x1F", "2.", ".5", "-", '"4"', "nan", "x", "9" * 17, "9" * 19, "3.5"]
    ),
)
ROWS = st.lists(
    st.tuples(st.integers(0, 30).map(str), st.integers(-9, 9).map(str), st.sampled_from(["1", "2.5", "-3.25", "0.1"]))
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    rows=ROWS,
    odd=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), max_size=2),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
def test_lines_of_any_fields(tmp_path_factory, rows, odd, end, last, dtype):
    rows = [("1", "2", "3"), *rows, *odd, *rows[:3]]
    path = tmp_path_factory.mktemp("plain") / "ratings.csv"
    text = end.join(["user,item,rating", *map(",".join, rows)]) + (end if last else "")
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        assert_alike(both(path, patch, dtype=dtype))


@pytest.mark.parametrize(
    ("layout", "is_plain"),
    [
        ("{u},{i},{r},{t}", True),
        ("{u}\t{i}\t{r}\t{t}", True),
        ("é{u};{u};{i};{r};{t};x y", True),
        ('"{u}",{i},{r},{t}', False),
        ("{u}::{i}::{r}::{t}", False),
    ],
)
def test_layouts(tmp_path, monkeypatch, layout, is_plain):
    path = tmp_path / "ratings.csv"
    names = (
        layout.replace("é{u}", "x")
        .format(u="user", i="item", r="rating", t="timestamp")
        .replace('"', "")
        .replace(";x y", ";z")
    )
    random = np.random.default_rng(0)
    rows = [layout.format(u=u, i=i, r=r / 2, t=10**9 + u) for u, i, r in random.integers(0, 99, (300, 3))]
    path.write_text("\n".join([names, *rows]) + "\n", encoding="utf-8")
    calls, own = [], csvfile.plain_columns

    def noted(*arguments):
        columns = own(*arguments)
        calls.append(len(columns["user"]))
        return columns

    monkeypatch.setattr(csvfile, "plain_columns", noted)
    assert_alike(both(path, monkeypatch))
    assert calls == [300] * is_plain


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decimals_are_the_nearest_numbers(dtype):
    random = np.random.default_rng(0)
    texts = [
        f"{x:.{n}f}"
        for x, n in zip(
            random.random(3000) * 10.0 ** random.integers(0, 5, 3000), random.integers(0, 12, 3000), strict=True
        )
    ]
    taken = 0
    for text in texts:
        out = np.empty(1, dtype)
        line = np.frombuffer(f"1,2,{text}\n\0".encode(), np.uint8)
        ids = np.empty((2, 1), np.int32)
        found = _csv.parse_lines(line, ord(","), np.array([1, 2, 3], np.int32), *ids, out, np.empty(0, np.int64))
        if found == 1:
            taken += 1
            # NumPy, too, rounds once.
            assert out[0] == np.array(text).astype(dtype), text
    assert taken > 1000


ODD_LINES = [
    ["1", "2", "3.25", "4"], ["0", "0", "5", "0"], ["-7", "12345678", "-1.5", "1234567890"], ["99", "123456789", "10", "x y"],
    ["007", "1", "3", "4"], ["1", "2147483648", "3", "4"], ["1", "2", ".5", "4"], ["1", "2", "3", '"'], ["1", "2", "3", ""],
    ["1", "2", "3"], ["1", "2", "3", "4", "5"], ["1", "", "3", "4"], ["1", "2", "3", "4\r"], ["1", "2\r", "3", "4"], [""],
    ["1", "2", "3", "4\0"], ["1", "9" * 17, "3", "4"], ["1" * 20, "2", "3", "4"], ["1", "2", "x.5", "4"], ["1", "2x", "3", "4"],
    ["1", "2", "3", "y" * 9000], ["1", "2", "3.5", "é"],
]  # fmt: skip


@pytest.mark.parametrize("ids", ["int32", "int64"])
@pytest.mark.parametrize(("has_times", "end"), [(False, "\n"), (True, "\n"), (True, "\r\n")])
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    odd=st.lists(st.tuples(st.integers(0, 1500), st.sampled_from(ODD_LINES)), max_size=3),
    order=st.permutations(range(4)),
)
def test_many_lines_at_once(ids, has_times, end, seed, odd, order):
    """Fields that are found strip by strip are what one reads character by character."""
    random = np.random.default_rng(seed)
    lines = [
        [str(x) for x in row]
        for row in zip(
            random.integers(0, 10 ** random.integers(1, 9), 1500), random.integers(0, 99999, 1500),
            random.integers(0, 11, 1500) / 2, random.integers(8e8, 2e9, 1500), strict=True
        )
    ]  # fmt: skip
    for at, line in odd:
        lines.insert(at, line)
    roles = np.array([1, 2, 3, 4 * has_times], np.int32)[order,]
    text = end.join(",".join(line[at] for at in order if at < len(line)) for line in lines) + end
    room = [np.full(len(lines), -1, ids), np.full(len(lines), -1, ids), np.full(len(lines), -1, np.float32)]
    times = np.full(len(lines) * has_times, -1, np.int64)
    buffer = np.frombuffer(text.encode() + b"\0", np.uint8)
    assert _csv.count_lines(buffer) == text.count("\n")
    found = _csv.parse_lines(buffer, ord(","), roles, *room, times)
    expected = reference.plain_lines(text, ",", roles, ids)
    if isinstance(expected, int):
        assert found == expected
        return
    assert found == len(lines)
    for column, values in zip([*room, times][: 3 + has_times], expected, strict=True):
        np.testing.assert_array_equal(column, np.array(values, column.dtype))


def test_plain_files_do_not_need_arrow(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating,timestamp\n" + "".join(f"{n},{n % 7},{n % 5}.5,{10**9 + n}\n" for n in range(99)))
    code = f"import sys, alsx; alsx.BiasALS().fit(alsx.Ratings({str(path)!r})); sys.exit('pyarrow.csv' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parts_are_the_whole(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating\n" + "".join(f"{n},{n * n % 97},{n % 5}.5\n" for n in range(1, 500)))
    layout = find_layout(path, LayoutOptions(), set(), OWN)
    columns = {"user": 0, "item": 1, "rating": 2}
    types = {"user": np.dtype(np.int32), "item": np.dtype(np.int32), "rating": np.dtype(np.float32)}
    with open(path, "rb", buffering=0) as raw:
        whole = plain.plain_columns(raw, layout, columns, types, 300)
    with open(path, "rb") as raw:  # of which the size is not asked for
        grown = plain.plain_columns(raw, layout, columns, types, 300)
    with open(path, "rb") as raw:
        parts = list(plain.plain_parts(raw, layout, columns, types, 300))
    assert len(parts) > 10
    for role in columns:
        np.testing.assert_array_equal(whole[role], np.concatenate([part[role] for part in parts]))
        np.testing.assert_array_equal(whole[role], grown[role])
    np.testing.assert_array_equal(whole["user"], np.arange(1, 500))


def test_lines_that_become_shorter(tmp_path):
    """More rows than the first lines promise."""
    path = tmp_path / "ratings.csv"
    path.write_text(
        "user,item,rating,note\n" + "1,2,3," + "x" * 500 + "\n" + "".join(f"{n},2,3,\n" for n in range(2, 999))
    )
    np.testing.assert_array_equal(Ratings(path).user_ids, np.arange(1, 999))


def test_room_for_fewer_lines_is_not_overrun():
    text = np.frombuffer(b"1,2,3\n" * 3 + b"\0", np.uint8)
    ids, out = np.zeros((2, 2), np.int32), np.zeros(2, np.float32)
    assert _csv.parse_lines(text, ord(","), np.array([1, 2, 3], np.int32), *ids, out, np.empty(0, np.int64)) == -1
