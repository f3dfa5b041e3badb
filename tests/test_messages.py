"""Every message of reading data: it names the argument and the place, says what to do, and is short.

The calls below raise at every `raise` of `alsx.ratings` and `alsx._models.features`, with names, paths and values as long as they
come; a test finds the lines that none of them reaches.
"""

import ast
import collections
import datetime
import decimal
import gzip
import traceback
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from pyarrow import parquet

import alsx
from alsx import Ratings
from alsx._models.features import FeatureEncoder
from alsx.ratings import Caller, Ids, id_pairs, read_ratings

MOST = 300
LONG = "a rather long name of a column that somebody called so, and so on, " * 5
WORD = "x" * 500
CALLERS = (Caller(), Caller("R", options="Ratings"), Caller("RATINGS", options="flags"))
ROOT = Path(alsx.__file__).parent
# Lines that hand on what others raised, or that guard against what nothing is known to bring about.
NOT_REACHED = {
    "csv.Error('a field runs over rows')": "caught, and another message given",
    "is not UTF-8: pass encoding=": "Arrow and Python agree on what UTF-8 is",
    "distinct ids are more than": "takes 2^31 ids",
    "ids are more than 2**31 - 1": "takes 2^31 ids",
    "its features have": "of a damaged model file: tests/test_persistence.py",
    "IndexError(at)": "a row that a file does not have",
    "is malformed (": "Arrow refuses to make such columns",
    "SciPy cannot convert it": "what SciPy refuses is refused before",
    "its data is masked'": "NumPy's own functions lose the mask",
    "cannot be read: {str(error)[:150]}": "a complaint of Arrow about a line that Python reads",
    "raise NotPlain": "caught: another reader reads the file",
    "raise ReadAgain": "caught: the files are read again",
    "raise OverflowError": "caught, and another message given",
    "raise repeated_pair(users, items, n_threads) #2": "caught, and the first of the whole input looked for",
    "raise IndexError(name)": "caught: ratings by the path of a file",
    "raise ValueError(name)": "caught: ratings are prepared again",
    "was removed while it was in use": "takes two processes at one moment",
    "preparing ratings takes about 40 bytes": "of a full disk: tests/test_larger_than_memory.py",
    "was changed while it was read": "tests/test_larger_than_memory.py",
    "is shorter than it was written": "takes a damaged disk",
}


def table(**columns):
    return pa.table({"user": [1, 2], "item": [3, 4], "rating": [1.0, 2.0]} | columns)


def arrays(users=(1, 2), items=(3, 4), ratings=(1.0, 2.0), **options):
    return lambda caller: Ratings.from_arrays(users, items, ratings, **options)


def read(data, y=None, **options):
    return lambda caller: read_ratings(data, y, caller=caller, **options)


def corrupt(make, **changes):
    matrix = make(sp.csr_array(np.eye(4)))
    for name, value in changes.items():
        setattr(matrix, name, value)
    return read(matrix)


def lil():
    matrix = sp.lil_array(np.eye(4))
    matrix.rows[1] = [0, 1, 2]
    return read(matrix)


def coo():
    matrix = sp.coo_array(np.eye(4))
    matrix.data = np.ones(3)
    return read(matrix)


def features(data, fitted=(1, 2), later=None, **options):
    def call(caller):
        encoder = FeatureEncoder.fit(data, "item_features", Ids(list(fitted)))[0]
        if later is not None:
            encoder.transform(later, "features", **{"side": "item"} | options)

    return call


FILMS = pa.table({"item": [1, 2], LONG: [3.0, 4.0], "g": ["a", "b"]})
FREE = pa.table({"item": range(1000), LONG: [f"{WORD}{n}" for n in range(1000)]})
OVERLONG = ["x" * 100_000, *map(str, range(5000))]
BAD_TEXT = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32).tobytes()), pa.py_buffer(b"\xff\xfe")]
)
MASKED = np.ma.array([0, 1, 2, 3, 4], mask=[0, 1, 0, 0, 0])


def memory_calls():
    """Calls with data in memory."""
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    by_user = pd.DataFrame({"item": [1], "rating": [2.0]}, index=pd.Index([1], name="user"))
    nothing = Ratings.from_arrays([1, 2], [1, 1], [1, 2], sample_weight=[1, 0])
    return [
        *[
            arrays(users=x)
            for x in (WORD, ["", WORD], {1: 2}, sp.eye_array(2), np.ones((2, 1)), [1.0, 2.0], [WORD, None])
        ],
        *[
            arrays(users=x)
            for x in ([WORD, 1], [1, 2**80], [WORD, WORD + "\0"], [WORD, "\ud800" * 500], [(1, 2), WORD])
        ],
        *[
            arrays(users=x)
            for x in (pa.array([1, None]), pa.array([1.5, 2]), BAD_TEXT, np.ma.array([1, 2], mask=[0, 1]))
        ],
        arrays(users=pa.DictionaryArray.from_arrays(pa.array([0, 9], pa.int32()), pa.array(["a", "b"]), safe=False)),
        arrays(users=pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array([WORD, WORD + "\0"]))),
        arrays(users=[datetime.date(2020, 1, 1)] * 2),
        arrays(users=[decimal.Decimal("1.5")] * 2),
        arrays(users=OVERLONG, items=np.arange(5001), ratings=np.ones(5001)),
        *[
            arrays(ratings=x)
            for x in ([1, WORD], [True, False], [1, None], [1, 10**400], [1, float("nan")], [1, 1e300], [1])
        ],
        *[arrays(ratings=x, users=[], items=[]) for x in ([],)],
        *[arrays(sample_weight=x) for x in ([1], [1, -1], [0, 0])],
        *[
            arrays(timestamps=x)
            for x in (["a", "b"], [1.0, float("inf")], np.array([1, 2**63], "u8"), [10**12, 0], [None, 1])
        ],
        arrays([1, 1], [1, 1]),
        arrays([1, 1], [1, 1], timestamps=[1, 2]),
        arrays([1, 1], [1, 1], [1, 2], sample_weight=[1, 0], duplicates="last"),
        arrays(missing=[1, 2]),
        arrays(missing={}),
        arrays(duplicates=WORD),
        *[read(table(), id_types=x) for x in (WORD, {WORD: "strings"}, "strings")],
        read(table(), [1, 2], rating="rating"),
        read(table(), user=LONG),
        read(table(), user="item"),
        *[read(pa.table({LONG + str(n): [1] for n in range(n)})) for n in (3, 49, 500)],
        read(table(uid=[1, 2])),
        read(pa.table([[1], [1], [1], [1]], names=["user", "user", "item", "rating"])),
        read(by_user),
        read(pd.DataFrame(np.ones((2, 900)), columns=[LONG + str(n) for n in range(900)])),
        read(pl.DataFrame({"user": [1]}).lazy()),
        read(sp.eye_array(2), [1, 2]),
        read(sp.eye_array(2), user=LONG),
        *[
            read(x)
            for x in (
                [(1, 2)],
                np.ones(3),
                np.ones((3, 3)),
                np.ones((3, 9)),
                np.ones((3, 1)),
                np.ones((3, 2)) * 1j,
                np.zeros(2, [("user", int)]),
                {},
                None,
            )
        ],
        *[read(x, [1]) for x in ([], [(WORD, 1, 2)], [WORD])],
        read(sp.csr_array((3, 4))),
        read(sp.coo_array(np.ones(3))),
        read(sp.eye_array(3, dtype=bool)),
        read(sp.coo_array((2**31, 3))),
        read(sp.eye_array(3), missing=1),
        corrupt(sp.csr_array, indptr=MASKED),
        corrupt(sp.csr_array, indices=np.ones(4)),
        corrupt(sp.csr_array, data=np.ones((4, 1))),
        corrupt(sp.csr_array, data=np.ma.array(np.ones(4), mask=[0, 1, 0, 0])),
        corrupt(sp.csr_array, indptr=np.arange(9)),
        corrupt(sp.csr_array, indptr=np.array([0, 3, 2, 3, 4])),
        corrupt(sp.csr_array, indices=np.array([0, 1, 2, 9])),
        corrupt(lambda x: x.tobsr((2, 2)), data=np.ones(3)),
        corrupt(lambda x: x.tobsr((2, 2)), data=np.ones((2, 3, 2))),
        corrupt(lambda x: x.todia(), offsets=np.array([0, 1])),
        lil(),
        coo(),
        lambda caller: Ids(["b", "a"]),
        lambda caller: Ids(["", "a"]),
        lambda caller: Ids([1]).codes([WORD]),
        *[lambda caller, x=x: id_pairs(x, caller) for x in (nothing, sp.eye_array(2), np.ones(2), np.ones((2, 3)))],
        *[lambda caller, x=x: nothing.select(x) for x in ([1.0], [True], [5], [0, 0], [], [1])],
        lambda caller: nothing.with_ids(Ids([1])),
    ]


def feature_calls():
    """Calls with features."""
    pd = pytest.importorskip("pandas")
    return [
        *[
            features(x)
            for x in (
                np.ones((9, 1)),
                np.ones(2),
                np.ones((2, 0)),
                [[WORD], ["b"]],
                [[1.0], [np.inf]],
                None,
                [[1], [1, 2]],
            )
        ],
        features(np.array([[object()], [1]], object)),
        features(np.ma.array([[1.0], [2.0]], mask=[[0], [1]])),
        features(FILMS.drop_columns("item")),
        features(FILMS.append_column("movie", FILMS["item"])),
        features(FILMS.select(["item"])),
        features(FILMS.slice(0, 0)),
        features(pa.concat_tables([FILMS, FILMS])),
        features(pd.DataFrame([[1, 2, 3]], columns=["item", LONG, LONG])),
        features(pd.DataFrame({"item": [1, 2], LONG: [object(), 1]})),
        *[
            features(pa.table({"item": [1, 2], LONG: x}))
            for x in ([1.0, np.inf], [b"a", b"b"], pa.nulls(2), [None, np.nan], [1e308, -1e308])
        ],
        features(pa.table({"item": [1, 2], LONG: pa.array([None, None], pa.string())})),
        features(FREE, [1]),
        features(FILMS, later=np.ones((1, 1))),
        features(FILMS, later=FILMS.drop_columns(LONG)),
        features(FILMS, later=pa.table({"item": [1], LONG: [WORD], "g": ["a"]})),
        features(np.ones((2, 2)), later=np.ones((2, 3))),
        features(np.ones((2, 2)), later=np.ones((2, 2)), side="item", ids=np.arange(3)),
    ]


def file_calls(folder):
    """Calls with files."""
    place = folder / ("a folder with a long name " * 4)
    place.mkdir()

    def file(content, name="ratings.csv", y=None, **options):
        path = place / f"{len(list(place.iterdir()))} {name}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(path, y, **options)

    head = f"user,item,rating,{LONG.replace(',', ' ')}\n"
    parquet.write_table(table(), place / "good.parquet")
    cut = gzip.compress(("user,item,rating\n" + "".join(f"{n},{n * 7919 % 1000},3\n" for n in range(9000))).encode())[
        :500
    ]
    return [
        read(place),
        read(place / WORD[:200]),
        read("https://example.org/" + WORD),
        read(place / "good.parquet", separator=","),
        file(b"PAR1 and so on", "bad.parquet"),
        file(cut, "ratings.csv.gz"),
        *[
            file(x)
            for x in (
                "",
                "1:\n1488844,3,2005\n",
                b"PK\x03\x04",
                '{"user": 1}',
                b"\0" * 90,
                WORD,
                f"{WORD},1.5,{WORD}\n",
            )
        ],
        *[file(head + x) for x in ("", f"{WORD},1,1\n", ",1,1,\n", "1,1,,\n", "1.0,1,1,\n", "1,1,1,\nNone,1,1,\n")],
        *[
            file(head + x)
            for x in (f"1,1,{WORD},\n", "1,1,1,\nuser,item,rating,\n", '1,1,1,"\n2,2,2\n', f"1,1,1,\n1,1,{WORD}\n")
        ],
        file(f"user,item,{LONG.replace(',', '')}\n1,1,{WORD}\n", rating=LONG.replace(",", "").strip()),
        file("user,item,rating\n1,1,1\n1,1,2\n"),
        file("user,item\na,b\nuser,item\n", y=[1, 2]),
        file(head + '"u1",1,1,"a\n"u2",2,2,b\n'),
        file(head + f"{'1' * 400},1,1,\n", id_types="integers"),
        file(head + f"{WORD},1,1,\n", id_types="integers"),
        file((head + f"{WORD}\u00e9,1,1,\n").encode("latin-1")),
        file(head.encode("utf-16") + b"\x00", encoding="utf-16"),
        *[
            file(head + "1,1,1,\n", **{name: x})
            for name, x in (("encoding", WORD), ("names", ["a"]), ("names", WORD), ("header", WORD))
        ],
        *[file(head + "1,1,1,\n", **{name: x}) for name, x in (("separator", "\n"), ("encoding", 5))],
        file("user,item,rating,date\n1,1,1,Jan 3\n", timestamp="date"),
        file("user,item,rating\n1,1,1\n", user=LONG),
        file("user,anime_id,rating\n1,1,1\n"),
    ]


def folder_calls(folder):
    """Calls with folders of files, and with a cache."""
    place = folder / ("folders with a long name " * 4)

    def files(*tables, y=None, **options):
        path = place / f"{len(list(place.glob('*')))} {WORD[:100]}"
        path.mkdir(parents=True)
        for number, content in enumerate(tables):
            parquet.write_table(content, path / f"{number} {WORD[:100]}.parquet")
        return read(path, y, **options)

    def cached(data, y=None, **options):
        return read(data, y, **{"cache": place / "cache"} | options)

    good = table()
    texts = table(user=["a", "b"], item=["c", "d"])
    times = pa.array([datetime.datetime(2026, 1, 1)] * 2)
    one = folder / "one.parquet"
    parquet.write_table(good, one)
    repeated = folder / "repeated.parquet"
    parquet.write_table(table(user=[1, 1], item=[3, 3]), repeated)
    return [
        files(),
        files(good, table(rating=["1", "2"]).drop_columns("rating")),
        files(good, texts),
        files(table(user=pa.array([2**64 - 1, 1], pa.uint64())), table(user=[-1, 2], item=[5, 6])),
        files(good.slice(0, 0), good.slice(0, 0)),
        files(good, y=[1.0, 2.0]),
        files(table(rating=[0.0, 0.0]), table(user=[5, 6], rating=[0.0, 0.0]), missing=0),
        files(table(timestamp=times), table(user=[5, 6], timestamp=[978300760, 978300761]), timestamp="timestamp"),
        lambda caller: id_pairs(folder, caller=caller),
        read(one, memory="1GB"),
        cached(good),
        cached(one, y=[1.0, 2.0]),
        *[cached(one, memory=x) for x in (WORD, 5, [1])],
        cached(one, cache=5),
        cached(one, cache=one),
        cached(folder / WORD[:200]),
        cached(repeated),
    ]


def chain_of(error):
    """An error, and those that it was raised in the handling of."""
    while error is not None:
        yield error
        error = error.__context__


def raised(calls):
    """What calls raise: the exception, and the line of this package that raised it."""
    for call in calls:
        for caller in CALLERS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    call(caller)
                except Exception as error:
                    yield (
                        error,
                        [
                            (Path(frame.filename).name, frame.lineno)
                            for cause in chain_of(error)
                            for frame in traceback.extract_tb(cause.__traceback__)
                            if Path(frame.filename).is_relative_to(ROOT)
                        ],
                    )
                else:
                    held = [cell.cell_contents for cell in call.__closure__ or ()]
                    pytest.fail(f"nothing is raised by {call.__qualname__} of {str(held)[:300]}")


def statements():
    """All `raise` statements: file, first and last line, text; from the second of the same text in a file on with a number."""
    for path in [*(ROOT / "ratings").glob("*.py"), ROOT / "_models/features.py"]:
        seen = collections.Counter()
        nodes = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Raise))
        for node in sorted(nodes, key=lambda node: node.lineno):
            if node.exc is not None:
                text = ast.unparse(node)
                seen[text] += 1
                yield path.name, node.lineno, node.end_lineno, text + (f" #{seen[text]}" if seen[text] > 1 else "")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return list(
        raised(
            [
                *memory_calls(),
                *feature_calls(),
                *file_calls(tmp_path_factory.mktemp("files")),
                *folder_calls(tmp_path_factory.mktemp("folders")),
            ]
        )
    )


def test_messages_are_short_and_of_one_form(found):
    kinds = (TypeError, ValueError, IndexError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
    wrong = [
        repr(error)
        for error, _ in found
        if len(str(error)) > MOST or str(error).endswith(".") or "\n" in str(error) or type(error) not in kinds
    ]
    assert not wrong, "\n".join(wrong)


def test_every_message_is_tried(found):
    reached = {place for _, places in found for place in places}
    left = [
        f"{file}:{first}: {text}"
        for file, first, last, text in statements()
        if not any(part in text for part in NOT_REACHED)
        and not any((file, line) in reached for line in range(first, last + 1))
    ]
    assert not left, "\n".join(left)


def test_what_is_not_reached_is_still_there():
    texts = [text for *_, text in statements()]
    for part in NOT_REACHED:
        assert any(part in text for text in texts), part
