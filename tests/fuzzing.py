"""Random inputs for `Ratings`, `load_movielens` and `load`, most of them broken: no foreign error, nothing silently wrong.

An input is made from a number alone, so that whatever is found can be made again. `tests/test_fuzz.py` tries some of each
kind, `benchmarks/fuzz.py` as many as there is time for.
"""

import contextlib
import csv
import functools
import io
import json
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyarrow import parquet
from test_datasets_movielens import METHODS, files_1m, files_10m, files_100k, files_csv, write_zip

import alsx
from alsx import Ratings
from alsx.datasets import load_movielens, make_ratings
from alsx.ratings.csvfile import CsvFile

MOVIELENS = (files_100k, files_1m, files_10m, files_csv)
# What a message may be; all else is a bug.
KINDS = (TypeError, ValueError, FileNotFoundError)
MOST = 300
PIECES = [
    *[
        x.encode()
        for x in (",", ";", "\t", "|", "::", " ", '"', '""', "\n", "\r\n", "\r", "\n\n", "\0", "\ufeff", "é", "-", "+")
    ],
    *[
        x.encode()
        for x in ("0", "007", "1", "-1", "1.0", "1e5", "0x1F", "1_0", "nan", "inf", "N/A", "null", "5,0", "99", "user")
    ],
    *[
        str(x).encode()
        for x in (2**31, 2**63, 2**64, -(2**63), 10**30, "1e400", "2020-01-01", "1588000000000", "x" * 300)
    ],
    *[b"\xff", b"\x1f", b"\x80", b"user,item,rating\n", b'"a\nb"', b"NaN", b"\xc3", b"\n,,\n", b",,"],
]


def attempt(call):
    """What a call returns, or None where it says what is wrong; every other error goes on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return call()
        except KINDS as error:
            said = error
    assert type(said) in KINDS, repr(said)
    assert len(str(said)) <= MOST, str(said)
    assert not str(said).endswith("."), str(said)
    return None


def consistent(R):
    """A Ratings is what kernels may trust."""
    n, m = R.shape
    for rows, size, other in ((R.by_user, n, m), (R.by_item, m, n)):
        assert len(rows.indptr) == size + 1
        assert rows.indptr[0] == 0
        assert rows.indptr[-1] == len(rows.indices) == len(rows.values) == len(R)
        assert (rows.indptr[1:] >= rows.indptr[:-1]).all()
        assert rows.indices.min() >= 0
        assert rows.indices.max() < other
        inner = np.ones(len(rows.indices), bool)
        inner[rows.indptr[:-1][rows.indptr[:-1] < len(inner)]] = False
        assert (np.diff(rows.indices)[inner[1:]] > 0).all()
        assert np.isfinite(rows.values).all()
        assert rows.values.flags.c_contiguous
        assert rows.values.flags.aligned
    assert (R.user_ids[1:] > R.user_ids[:-1]).all()
    assert (R.item_ids[1:] > R.item_ids[:-1]).all()


def triples(R):
    """Ratings as a dictionary of pairs of ids."""
    u, i, r = R.triples()
    return dict(zip(zip(R.user_ids[u].tolist(), R.item_ids[i].tolist(), strict=True), r.tolist(), strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# CSV


def text_of(rng):
    """A file of text: sound, or with some places changed."""
    n = int(rng.integers(1, 30))
    separator = str(rng.choice([",", ",", ",", "\t", ";", "|", "::"]))
    names = [
        ["user", "item", "rating"],
        ["userId", "movieId", "rating", "timestamp"],
        ["review", "item", "user", "stars"],
    ]
    header = names[int(rng.integers(3))]
    kinds = {name: int(rng.integers(4)) for name in header}
    lines = []
    for at in range(n):
        fields = []
        for name in header:
            if name in ("rating", "stars"):
                fields.append(str(int(rng.integers(1, 11)) / 2) if kinds[name] else str(int(rng.integers(1, 6))))
            elif name == "timestamp":
                fields.append(str(int(rng.integers(8e8, 2e9))))
            elif name == "review":
                fields.append(str(rng.choice(["fine", '"so, so"', 'a "good" one', "", "6 feet"])))
            else:
                value = at if rng.random() < 0.7 else int(rng.integers(40))
                fields.append([str(value), f"u{value}", f"{value:03}", f'"{value}"'][kinds[name]])
        lines.append(separator.join(fields))
    ending = str(rng.choice(["\n", "\n", "\r\n", "\r"]))
    text = ending.join([separator.join(header), *lines]) + ending * int(rng.integers(3))
    return text.encode(str(rng.choice(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1", "utf-8-sig"])))


def mutated(content, rng, most=4):
    """Bytes with some places taken out, doubled, or replaced by what files stumble over."""
    content = bytearray(content)
    for _ in range(int(rng.integers(most + 1))):
        at = int(rng.integers(len(content) + 1))
        kind = int(rng.integers(5))
        if kind == 0:
            del content[at : at + int(rng.integers(1, 9))]
        elif kind == 1:
            content[at:at] = content[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            content[at : at + 1] = bytes([int(rng.integers(256))])
        else:
            piece = PIECES[int(rng.integers(len(PIECES)))]
            content[at : at + (len(piece) if kind == 3 else 0)] = piece
    return bytes(content)


def twin(path, options):
    """The rows of a file by Python's own reader, in the layout that was found: users, items, ratings as they are written."""
    from alsx.ratings._caller import OWN
    from alsx.ratings.names import choose_columns
    from alsx.ratings.raw import Missing
    from alsx.ratings.text import LayoutOptions, text_lines

    file = CsvFile(path, LayoutOptions(**options), set(), OWN)
    roles = choose_columns(file.names, dict.fromkeys(("user", "item", "rating", "timestamp")), False, OWN)
    # The reader settles what quotes mean.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.read(roles, np.dtype("float64"), {}, Missing())
    style = csv.QUOTE_MINIMAL if file._quoting else csv.QUOTE_NONE
    with text_lines(path, file._layout) as lines:
        found = [
            row for row in csv.reader(lines, delimiter=file._layout.delimiter, quoting=style) if "".join(row).strip()
        ]
    at = [file.names.index(roles[role]) for role in ("user", "item", "rating")]
    return [[row[place] for place in at] for row in found]


def is_integers(texts):
    """Whether all texts are written as Python writes an integer of 64 bits."""
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        return False
    whole = all(str(number) == text for number, text in zip(numbers, texts, strict=True))
    return whole and min(numbers) >= -(2**63) and (max(numbers) < 2**63 or (min(numbers) >= 0 and max(numbers) < 2**64))


def try_csv(rng, folder):
    """Whatever is read is what Python's own reader reads, and every row of it."""
    content = mutated(text_of(rng), rng)
    path = Path(folder) / "ratings.csv"
    path.write_bytes(content)
    options = {} if rng.random() < 0.8 else {"quoting": bool(rng.integers(2))}
    R = attempt(lambda: Ratings(path, dtype="float64", duplicates="last", **options))
    if R is None:
        return False
    consistent(R)
    rows = twin(path, options)
    kinds = [is_integers([row[side] for row in rows]) for side in (0, 1)]
    expected = {}
    for user, item, rating in rows:
        pair = tuple(int(x) if kind else x for x, kind in zip((user.strip(), item.strip()), kinds, strict=True))
        pair = tuple(x if kind else text for x, kind, text in zip(pair, kinds, (user, item), strict=True))
        expected[pair] = float(rating.strip().replace(",", "."))
    found = triples(R)
    # Not all that Python takes for blanks: an id may end with a control character.
    assert {tuple(str(x).strip(" \t") for x in pair): r for pair, r in found.items()} == {
        tuple(str(x).strip(" \t") for x in pair): r for pair, r in expected.items()
    }
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Parquet


def try_parquet(rng, folder):
    """A file that is read is consistent; a changed one is refused by a message, or read."""
    n = int(rng.integers(1, 50))
    users = rng.integers(0, 2 ** int(rng.choice([6, 31, 62])), n)
    columns = {
        "user": [users, users.astype(str), users.astype("u8")][int(rng.integers(3))],
        "item": np.arange(n) if rng.random() < 0.5 else pa.array(np.arange(n).astype(str)).dictionary_encode(),
        "rating": rng.integers(1, 6, n).astype(str(rng.choice(["f4", "f8", "i1"]))),
        "timestamp": rng.integers(8e8, 2e9, n),
    }
    sink = io.BytesIO()
    parquet.write_table(
        pa.table(columns),
        sink,
        row_group_size=int(rng.integers(1, n + 1)),
        compression=str(rng.choice(["none", "snappy"])),
    )
    content = sink.getvalue()
    is_changed = rng.random() < 0.9
    path = Path(folder) / "ratings.parquet"
    path.write_bytes(mutated(content, rng) if is_changed else content)
    R = attempt(lambda: Ratings(path, dtype="float64", duplicates="last"))
    if R is None:
        return False
    consistent(R)
    if not is_changed:
        assert triples(R) == triples(Ratings(pa.table(columns), dtype="float64", duplicates="last"))
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Sparse matrices


def odd_array(array, rng):
    """An array as users have them: strided, reversed, misaligned, of another type, or with something wrong in it."""
    kind = int(rng.integers(11))
    n = len(array)
    if kind == 0:
        array = np.repeat(array, 2)[::2]
    elif kind == 1:
        array = array[::-1].copy()[::-1]
    elif kind == 2:
        room = np.zeros(array.nbytes + 1, np.uint8)
        odd = room[1:].view(array.dtype)
        odd[:] = array
        array = odd
    elif kind == 3:
        array = array.astype(array.dtype.newbyteorder(">"))
    elif kind == 4 and n:
        array = array.copy()
        extremes = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
        array[int(rng.integers(n))] = rng.choice([-1, 0, 1, 99, extremes.min, extremes.max])
    elif kind == 5:
        array = array[: int(rng.integers(n + 1))]
    elif kind == 6:
        array = np.append(array, array[: int(rng.integers(n + 1))])
    elif kind == 7:
        array = array.astype(str(rng.choice(["f8", "i1", "u8", "i8", "O", "U", "f4", "c16", "?"])))
    elif kind == 8:
        array = np.ma.array(array, mask=rng.random(n) < 0.3)
    elif kind == 9:
        array = array.reshape(-1, 1)
    return array


def try_sparse(rng, folder):
    """A matrix with changed arrays is refused, or holds what its arrays say."""
    shape = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    dense = np.where(rng.random(shape) < 0.5, rng.integers(1, 6, shape), 0).astype(str(rng.choice(["f8", "f4", "i4"])))
    form = str(rng.choice(["csr", "csr", "csc", "coo", "bsr", "dia", "lil", "dok"]))
    matrix = sp.coo_array(dense).asformat(form)
    names = {
        "csr": ("indptr", "indices", "data"),
        "csc": ("indptr", "indices", "data"),
        "bsr": ("indptr", "indices", "data"),
        "coo": ("row", "col", "data"),
        "dia": ("offsets", "data"),
        "lil": (),
        "dok": (),
    }[form]
    is_changed = False
    for name in names:
        if rng.random() < 0.3:
            is_changed = True
            before = getattr(matrix, name)
            with warnings.catch_warnings(), contextlib.suppress(ValueError, TypeError, OverflowError):
                warnings.simplefilter("ignore")
                changed = odd_array(np.ravel(before), rng)
                if before.ndim > 1 and changed.size == before.size:
                    changed = changed.reshape(before.shape)
                setattr(matrix, name, changed)  # which SciPy may refuse
    if form == "lil" and rng.random() < 0.5:
        is_changed = True
        matrix.rows[int(rng.integers(shape[0]))] = [int(x) for x in rng.integers(-2, 12, int(rng.integers(6)))]
    weights = None if rng.random() < 0.7 else rng.random(int(rng.integers(1, 30)))
    R = attempt(lambda: Ratings(matrix, sample_weight=weights, duplicates="last", dtype="float64"))
    if R is None:
        return False
    consistent(R)
    if not is_changed:
        np.testing.assert_array_equal(R.to_csr().toarray(), dense)
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Columns in memory


def try_columns(rng, folder):
    """Columns of any kind are refused, or give what plain lists of the same values give."""
    n = int(rng.integers(1, 20))
    plain = [rng.integers(0, 9, n), rng.integers(-5, 2**40, n), rng.integers(1, 11, n) / 2, rng.integers(0, 2e9, n)]
    given = [odd_array(x, rng) if rng.random() < 0.5 else x for x in plain]
    given = [wrapped(x, rng) if rng.random() < 0.4 else x for x in given]
    R = attempt(lambda: Ratings.from_arrays(*given[:3], timestamps=given[3], duplicates="last", dtype="float64"))
    if R is None:
        return False
    consistent(R)
    if len(R) and all(len(x) == n for x in given):
        lists = [np.asarray(x).tolist() for x in given[:3]]
        expected = attempt(lambda: Ratings.from_arrays(*lists, duplicates="last", dtype="float64"))
        if expected is not None:
            assert triples(R) == triples(expected)
    return True


def wrapped(array, rng):
    """An array as a column of a library, if it can be one."""
    import pandas as pd
    import polars as pl

    kinds = (
        list,
        pd.Series,
        pd.Index,
        pl.Series,
        pa.array,
        lambda x: pa.chunked_array([pa.array(x[:2]), pa.array(x[2:])]),
        lambda x: pa.array(x).dictionary_encode(),
        lambda x: pd.Series(x).astype("category"),
        lambda x: pd.Series(x).convert_dtypes(),
        lambda x: pa.array([None if rng.random() < 0.1 else v for v in x.tolist()]),
    )
    try:
        return kinds[int(rng.integers(len(kinds)))](array)
    except Exception:
        return array  # a library does not take it


def try_archive(rng, folder):
    """A MovieLens archive, broken as a .zip or in one of its texts."""
    path = Path(folder, "archive.zip")
    files = MOVIELENS[int(rng.integers(len(MOVIELENS)))]()
    method = METHODS[int(rng.integers(len(METHODS)))]
    if rng.random() < 0.5:
        name = sorted(files)[int(rng.integers(len(files)))]
        files[name] = mutated(files[name], rng)
        write_zip(path, files, method=method)
    else:
        path.write_bytes(mutated(write_zip(path, files, method=method).read_bytes(), rng))
    read = attempt(lambda: load_movielens(path))
    if read is None:
        return False
    assert read.table.num_rows > 0
    assert np.isfinite(read.table["rating"].to_numpy()).all()
    assert all(isinstance(title, str) for title in read.titles(read.items["item"]))
    return True


@functools.cache
def model_files():
    """The arrays of a file of each kind of model; see `save`."""
    R = make_ratings(60, 40, 600, random_state=0)
    features = np.random.default_rng(1).normal(size=(40, 3))
    bayes = alsx.BayesALS(2, n_samples=4, burn_in=1, als_iter=1, keep_samples=2, random_state=0)
    factor = alsx.FactorALS(3, max_iter=2, random_state=0).fit(R, sample_weight=np.ones(600), item_features=features)
    folded = factor.fold_in([(900, 3), (900, 4), (1, 2)], [4.0, 2.0, 5.0])
    folded = folded.fold_in([(900, 500), (2, 500)], [4.0, 2.0], side="item")
    files = []
    for model in (alsx.BiasALS().fit(R), factor, bayes.fit(R, item_features=features), folded):
        file = io.BytesIO()
        model.save(file)
        with np.load(io.BytesIO(file.getvalue())) as stored:
            files.append(dict(stored))
    return files


def changed_json(value, rng):
    """A JSON value with one part of it exchanged, at any depth."""
    if isinstance(value, (dict, list)) and len(value) and rng.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = keys[int(rng.integers(len(keys)))]
        copy = value.copy()
        if rng.random() < 0.2:
            del copy[key]
        else:
            copy[key] = changed_json(value[key], rng)
        return copy
    others = [None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**18, "", "x" * 500, [], {}, [1, [2]], "float64"]
    return others[int(rng.integers(len(others)))]


def changed_array(array, rng):
    """An array with one number exchanged, or of another shape or type."""
    how = int(rng.integers(6))
    if how < 3 and array.size and array.dtype.kind in "ifb":
        copy = array.copy()
        odd = (
            [0, 1, -1, 2**31 - 1, 2**62, -(2**63), 39, 40, 60]
            if array.dtype.kind == "i"
            else [0, np.nan, np.inf, -1e38]
        )
        with np.errstate(all="ignore"):
            copy.flat[int(rng.integers(copy.size))] = np.array(odd[int(rng.integers(len(odd)))]).astype(array.dtype)
        return copy
    if how == 3 and array.dtype.kind != "U":
        return array.astype(["f4", "f8", "i4", "i8", "U3", "O"][int(rng.integers(5))])
    if how == 4:
        return array.reshape(-1, 1)
    return array[: int(rng.integers(len(array) + 1))] if array.ndim else array


def try_model(rng, folder):
    """A model file in which arrays, the text or bytes were changed: whatever loads can be used."""
    arrays = dict(model_files()[int(rng.integers(len(model_files())))])
    for name in rng.choice(sorted(arrays), 1 + int(rng.integers(2)), replace=False):
        if name == "about" and rng.random() < 0.9:
            about = json.loads(str(arrays[name]))
            arrays[name] = np.array(json.dumps(changed_json(about, rng)))
        elif rng.random() < 0.1:
            del arrays[name]
        else:
            arrays[name] = changed_array(arrays[name], rng)
    file = io.BytesIO()
    np.savez(file, **arrays)
    content = file.getvalue() if rng.random() < 0.8 else mutated(file.getvalue(), rng)
    model = attempt(lambda: alsx.load(io.BytesIO(content)))
    if model is None:
        return False
    use(model)
    return True


def use(model):
    """Whatever a model is asked for gives numbers, or a message."""
    users, items = model.user_ids_[:4], model.item_ids_[:4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = min(len(users), len(items))
        assert np.isfinite(model.predict(users[:known], items[:known])).all()
        model.recommend(model.user_ids_, 5)
        std = attempt(lambda: model.predict(users[:known], items[:known], return_std=True)[1])
        if std is not None:
            assert not np.isnan(std).any()
            with contextlib.suppress(np.linalg.LinAlgError):  # without regularisation there may be nothing to draw from
                model.recommend(users, 5, strategy="thompson", random_state=0)


TARGETS = {
    "csv": try_csv,
    "parquet": try_parquet,
    "sparse": try_sparse,
    "columns": try_columns,
    "archives": try_archive,
    "models": try_model,
}


def try_input(target, number, folder):
    """Try the input of this number; whether it was read."""
    return TARGETS[target](np.random.default_rng([list(TARGETS).index(target), number]), folder)
