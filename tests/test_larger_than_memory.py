"""Prepared ratings: the same as in memory, to the last bit; a cache that holds nothing that is not whole and fresh."""

import errno
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv, parquet

import alsx
import alsx.__main__
from alsx import Ratings
from alsx._solver.alternation import Alternation
from alsx._solver.prior import Penalty, PriorSources
from alsx.ratings import cache, csvfile, external, gathering, is_mapped

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """Steps of some rows, so that small data take many of them."""
    monkeypatch.setattr(external, "MAX_MOVED", 300)
    monkeypatch.setattr(external, "MIN_SORTED", 200)
    monkeypatch.setattr(external, "SORT_BYTES", 10**9)
    monkeypatch.setattr(external, "MERGE_BYTES", 10**9)
    monkeypatch.setattr(csvfile, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(gathering, "SET_ROWS", 50)


def arrays(R):
    """All that a Ratings holds."""
    found = {f"{name}.{part}": x for name in ("by_user", "by_item") for part, x in getattr(R, name)._asdict().items()}
    return found | {"users": R.user_ids, "items": R.item_ids, "times": R.timestamps}


def assert_same(A, B):
    """The same ratings, to the last bit."""
    for name, x in arrays(A).items():
        y = arrays(B)[name]
        assert (x is None) == (y is None), name
        if x is not None:
            assert x.dtype == y.dtype, name
            np.testing.assert_array_equal(x, y, err_msg=name)
            assert not y.flags.writeable
    assert A.range == B.range
    assert A.is_reordered == B.is_reordered
    assert (A.mean, A.std) == (B.mean, B.std)


def columns(n=3000, seed=0, doubled=False):
    """Ratings in random order, with times."""
    random = np.random.default_rng(seed)
    if doubled:
        pairs = random.integers(0, 60 * 50, n)
    else:
        pairs = random.permutation(90 * 50)[:n]
    times = random.integers(10**9, 10**9 + 10**7, n)
    return {
        "user": 7 * (pairs // 50) + 3,
        "item": pairs % 50 - 20,
        "rating": random.integers(1, 11, n) / 2,
        "time": times,
    }


def write(folder, table, kind, n_files=1):
    """A file, or a folder of files, of a table."""
    table = pa.table(table)
    endings = {"csv": "csv", "gz": "csv.gz", "zst": "csv.zst", "parquet": "parquet"}
    if n_files > 1:
        folder = folder / "ratings"
        folder.mkdir()
    size = -(-len(table) // n_files)
    for number in range(n_files):
        path = folder / f"part-{number}.{endings[kind]}"
        part = table.slice(number * size, size)
        if kind == "parquet":
            parquet.write_table(part, path, row_group_size=500)
        else:
            compressed = {"gz": "gzip", "zst": "zstd"}.get(kind)
            with pa.output_stream(str(path), compression=compressed) as file:
                csv.write_csv(part, file)
    return folder if n_files > 1 else path


@pytest.mark.parametrize("kind", ["csv", "gz", "zst", "parquet"])
@pytest.mark.parametrize("n_files", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_as_in_memory(tmp_path, kind, n_files, dtype):
    table = columns()
    path = write(tmp_path, table, kind, n_files)
    whole = Ratings(pa.table(table), dtype=dtype)
    assert_same(whole, Ratings(path, dtype=dtype))
    for _ in range(2):  # prepared, and then found
        assert_same(whole, Ratings(path, dtype=dtype, cache=tmp_path / "cache"))


def test_all_types_of_ids_and_ratings(tmp_path):
    n = 1000
    table = columns(n)
    users, items = table["user"], table["item"]
    texts = [f"u{x}é" for x in users]
    others = [f"i{x}é" for x in items]
    for number, (left, right, values) in enumerate(
        [
            (users, items, table["rating"]),
            (users * 2**40, items.astype("i2"), (2 * table["rating"]).astype("i8")),
            (users.astype("u8") + 2**63, others, table["rating"].astype("f4")),
            (texts, [f"{x:05}" for x in items], (2 * table["rating"]).astype("u1")),
        ]
    ):
        for kind in ("csv", "parquet"):
            own = pa.table({"user": left, "item": right, "rating": values})
            folder = tmp_path / f"{number}{kind}"
            folder.mkdir()
            path = write(folder, own, kind)
            assert_same(Ratings(path), Ratings(path, cache=tmp_path))


@pytest.mark.parametrize("duplicates", ["last", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_doubled_ratings_are_merged_as_in_memory(tmp_path, duplicates, weighted):
    table = columns(doubled=True)
    path = write(tmp_path, table, "parquet", 3)
    weights = np.random.default_rng(1).random(3000) if weighted else None
    options = {"duplicates": duplicates, "sample_weight": weights}
    whole = Ratings(pa.table(table), **options)
    assert whole.n_ratings < 3000
    assert_same(whole, Ratings(path, **options))
    assert_same(whole, Ratings(path, **options, cache=tmp_path))
    # Other weights are another preparation.
    if weighted:
        options["sample_weight"] = weights[::-1]
        assert_same(Ratings(pa.table(table), **options), Ratings(path, **options, cache=tmp_path))


def test_ratings_merged_in_a_late_bucket_alone_have_weights_everywhere(tmp_path):
    table = pa.concat_tables([pa.table(columns()), pa.table(columns()).sort_by("user").slice(2999)])
    path = write(tmp_path, table, "csv")
    assert_same(Ratings(table, duplicates="mean"), Ratings(path, duplicates="mean", cache=tmp_path))


def test_missing_ratings_and_texts(tmp_path):
    table = pa.table(columns(1500))
    texts = pc.cast(table["rating"], pa.string()).to_pylist()
    texts[::7] = ["N/A"] * len(texts[::7])
    texts[3] = None
    table = table.set_column(2, "rating", pa.array(texts))
    path = write(tmp_path, table, "csv", 2)
    options = {"missing": ["N/A", "", 2.5]}
    with pytest.raises((TypeError, ValueError), match=r"part-0.csv.*(line 5 of part-0|is '' |is empty)|line 5"):
        Ratings(path, cache=tmp_path, missing="N/A")
    one = tmp_path / "one.csv"
    csv.write_csv(table, one)
    weights = np.arange(1.0, 1501)
    whole = Ratings(one, **options, sample_weight=weights)
    assert_same(whole, Ratings(path, **options, sample_weight=weights))
    assert_same(whole, Ratings(path, **options, sample_weight=weights, cache=tmp_path))


def test_a_column_that_turns_out_to_be_text_is_text_in_all_files(tmp_path):
    table = pa.table(columns(1500))
    users = [str(x) for x in table["user"].to_pylist()]
    users[1400] = "00999"
    texts = table.set_column(0, "user", pa.array(users))
    folder = tmp_path / "ratings"
    folder.mkdir()
    for number in range(3):
        csv.write_csv(texts.slice(500 * number, 500), folder / f"{number}.csv", csv.WriteOptions(quoting_style="none"))
    R = Ratings(folder, cache=tmp_path)
    assert_same(Ratings(texts), R)
    assert R.user_ids.dtype.kind == "U"
    integers = Ratings(folder, cache=tmp_path, id_types="integers")
    assert integers.user_ids.dtype.kind == "i"
    assert_same(Ratings(folder, id_types="integers"), integers)


def test_times_of_any_unit(tmp_path):
    for number, unit in enumerate((1, 1000, 10**9)):
        table = columns(700)
        path = tmp_path / f"{number}.csv"
        csv.write_csv(pa.table(table | {"time": table["time"] * unit}), path)
        R = Ratings(path, cache=tmp_path)
        assert_same(Ratings(pa.table(table)), R)
        assert Ratings(path, cache=tmp_path, timestamp=False).timestamps is None
    table["time"][::2] *= 1000
    csv.write_csv(pa.table(table), path)
    with pytest.warns(UserWarning, match="timestamps are left out"):
        assert Ratings(path, cache=tmp_path).timestamps is None
    for place in (None, tmp_path):
        with pytest.raises(ValueError, match="convert them all to seconds"):
            Ratings(path, cache=place, timestamp=True)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("5,5,x", "line 1,302 is 'x'; it must be a number"),
        (",5,1", "line 1,302 is empty"),
        ("5,5", "line 1,302 has 2 columns, not 3"),
        ("user,item,rating", "line 1,302"),
        ("5,5,inf", "line 1,302 is inf"),
        ("17,-20,3\n17,-20,3", "line 1,303 rates user 17, item -20 again, after line 1,302"),
    ],
)
def test_messages_name_the_line(tmp_path, line, says):
    table = {name: x for name, x in columns(1300).items() if name != "time"}
    table["user"][table["user"] == 17] = 10**6
    lines = ["user,item,rating"] + [f"{u},{i},{r}" for u, i, r in zip(*table.values(), strict=True)]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join([*lines, line]) + "\n" + "\n".join(f"{x},7,1" for x in range(10**7, 10**7 + 900)))
    for place in (None, tmp_path / "cache"):
        with pytest.raises((ValueError, TypeError), match=says) as error:
            Ratings(path, cache=place)
        assert len(str(error.value)) <= 300
    assert not list((tmp_path / "cache").iterdir())


def test_the_first_repeated_row_of_all(tmp_path):
    table = pa.table(columns(2500))
    again = pa.concat_tables([table, table.take(np.random.default_rng(3).permutation(2500))])
    path = write(tmp_path, again, "parquet")
    said = []
    for place in (None, tmp_path):
        with pytest.raises(ValueError, match="row 2500 rates user") as error:
            Ratings(path, cache=place)
        said.append(str(error.value))
    assert said[0] == said[1]


@settings(max_examples=30)
@given(st.data())
def test_any_ratings_in_any_steps(data):
    rows = data.draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(-5, 5), st.integers(1, 5)), min_size=1, max_size=60)
    )
    duplicates = data.draw(st.sampled_from(["last", "mean", "sum"]))
    table = pa.table(dict(zip(("user", "item", "rating"), map(list, zip(*rows, strict=True)), strict=True)))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(external, "MAX_MOVED", data.draw(st.integers(1, 70)))
        patch.setattr(external, "MIN_SORTED", data.draw(st.integers(1, 70)))
        with tempfile.TemporaryDirectory() as own:
            parquet.write_table(table, Path(own, "r.parquet"))
            prepared = Ratings(Path(own, "r.parquet"), duplicates=duplicates, cache=own)
            assert_same(Ratings(table, duplicates=duplicates), prepared)


# ---------------------------------------------------------------------------------------------------------------------
# Fits


@pytest.mark.parametrize("options", [{"implicit_features": None}, {}, {"implicit_features": None, "dtype": "float64"}])
def test_fits_have_the_same_bits(tmp_path, options):
    path = write(tmp_path, columns(), "csv")
    dtype = options.get("dtype", "float32")
    fits = [
        alsx.FactorALS(5, max_iter=4, random_state=0, **options).fit(R)
        for R in (Ratings(path, dtype=dtype), Ratings(path, dtype=dtype, cache=tmp_path))
    ]
    np.testing.assert_array_equal(*(fit.user_factors_ for fit in fits))
    np.testing.assert_array_equal(*(fit.item_factors_ for fit in fits))
    assert fits[0].history_["loss"] == fits[1].history_["loss"]
    user = fits[0].user_ids_[3]
    np.testing.assert_array_equal(fits[0].recommend(user)[0], fits[1].recommend(user)[0])
    fits[1].save(tmp_path / "model.npz")
    assert alsx.load(tmp_path / "model.npz").predict(user, 3) == fits[0].predict(user, 3)


# ---------------------------------------------------------------------------------------------------------------------
# The cache


def prepared_folders(root):
    return sorted(x for x in root.iterdir() if x.is_dir())


def count_preparations(monkeypatch):
    """A list that grows by each preparation."""
    calls, own = [], cache.sort_to_disk
    monkeypatch.setattr(cache, "sort_to_disk", lambda *args: calls.append(1) or own(*args))
    return calls


def test_a_change_of_the_source_or_the_options_is_noticed(tmp_path, monkeypatch):
    calls, root = count_preparations(monkeypatch), tmp_path / "cache"
    path = write(tmp_path, columns(1000), "parquet", 2)
    Ratings(path, cache=root)
    Ratings(str(path), cache=str(root))
    assert len(calls) == 1
    Ratings(path, cache=root, dtype="float64")
    Ratings(path, cache=root, missing=1)
    assert len(calls) == 3
    assert len(prepared_folders(root)) == 3
    # Another file, a file of the same size, and one that goes.
    parquet.write_table(pa.table(columns(10, doubled=True)), path / "part-2.parquet")
    assert Ratings(path, cache=root, duplicates="last").n_ratings <= 1010
    os.utime(path / "part-0.parquet", ns=(1, 1))
    (path / "part-2.parquet").unlink()
    assert Ratings(path, cache=root).n_ratings == 1000
    assert len(calls) == 5
    # What was prepared from the files as they were is gone.
    assert len(prepared_folders(root)) == 4


@pytest.mark.parametrize("harm", ["cut", "gone", "manifest", "half manifest", "format"])
def test_what_is_not_whole_is_not_trusted(tmp_path, monkeypatch, harm):
    calls, root = count_preparations(monkeypatch), tmp_path / "cache"
    table = columns(1000)
    path = write(tmp_path, table, "csv")
    Ratings(path, cache=root)
    (folder,) = prepared_folders(root)
    manifest = folder / "manifest.json"
    if harm == "cut":
        values = folder / "by_item.values.npy"
        os.truncate(values, values.stat().st_size - 4)
    elif harm == "gone":
        (folder / "users.ids.npy").unlink()
    elif harm == "manifest":
        manifest.unlink()
    elif harm == "half manifest":
        manifest.write_text(manifest.read_text()[:200])
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": -1}))
    assert_same(Ratings(pa.table(table)), Ratings(path, cache=root))
    assert len(calls) == 2
    assert len(prepared_folders(root)) == 1


N_STEPS = 2400  # things that the preparation below does to the disk, or somewhat more
# Children of one process, which has imported everything, so that many of them take little time.
CHILDREN = """
import os, signal, sys
import alsx
import alsx.__main__
from alsx.ratings import cache, csvfile, external, spill

external.MAX_MOVED, external.MIN_SORTED, external.SORT_BYTES, csvfile.BLOCK_BYTES = 300, 200, 10**9, 20000
path, root, moments, at_once = sys.argv[1], sys.argv[2], map(int, sys.argv[3].split(",")), sys.argv[4] == "at once"


def kill_at(moment):
    left = [moment]
    for module, name in ((spill, "write_all"), (external, "write_all"), (os, "fsync"), (os, "rename")):
        def stop(*arguments, own=getattr(module, name)):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return own(*arguments)
        setattr(module, name, stop)


children = []
for moment in moments:
    child = os.fork()
    if not child:
        kill_at(moment)
        alsx.Ratings(path, cache=root, memory="10MB", n_jobs=1)
        os._exit(0)
    children.append(child)
    if not at_once:
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, moment
for child in children if at_once else []:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
@pytest.mark.parametrize("at_once", [False, True])
def test_processes_that_are_killed_and_processes_at_once(tmp_path, monkeypatch, at_once):
    """A process is killed before one of the things that it does to the disk, whichever; or several prepare the same at once."""
    table = columns(4000)
    path, root = write(tmp_path, table, "csv"), tmp_path / "cache"
    moments = [10**9] * 3 if at_once else np.random.default_rng(0).permutation(N_STEPS)[:12].tolist()
    arguments = [str(path), str(root), ",".join(map(str, moments)), "at once" if at_once else ""]
    subprocess.run([sys.executable, "-c", CHILDREN, *arguments], check=True)
    if not at_once:
        assert any(folder.name.endswith(".part") for folder in prepared_folders(root))
    calls = count_preparations(monkeypatch)
    assert_same(Ratings(pa.table(table)), Ratings(path, cache=root))
    assert len(calls) == (not at_once)
    assert len(prepared_folders(root)) == 1  # what the others left is gone


@pytest.mark.skipif(os.name == "nt", reason="there are no locks")
def test_another_process_that_prepares_the_same_is_waited_for(tmp_path, monkeypatch):
    calls, root, path = count_preparations(monkeypatch), tmp_path / "cache", write(tmp_path, columns(500), "csv")
    Ratings(path, cache=root)
    (target,) = prepared_folders(root)
    moved = target.with_name(target.name + f".{'0' * 16}.part")
    target.rename(moved)
    code = (
        "import fcntl, os, sys, time; lock = open(os.path.join(sys.argv[1], 'lock'), 'w+b'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('locked', flush=True); time.sleep(0.5); os.rename(sys.argv[1], sys.argv[2])\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(moved), str(target)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"
    Ratings(path, cache=root)
    assert other.wait() == 0
    other.stdout.close()
    assert len(calls) == 1


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    path, root = write(tmp_path, columns(), "csv"), tmp_path / "cache"

    def full(file, array):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(external, "write_all", full)
    with pytest.raises(OSError, match="No space left on device: preparing ratings takes about 40 bytes") as error:
        Ratings(path, cache=root)
    assert error.value.filename == str(root)
    assert not list(root.iterdir())


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path, root, own = write(tmp_path, columns(500), "csv"), tmp_path / "cache", cache.sort_to_disk

    def changing(*args):
        os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
        return own(*args)

    monkeypatch.setattr(cache, "sort_to_disk", changing)
    with pytest.raises(OSError, match="was changed while it was read"):
        Ratings(path, cache=root)
    assert not list(root.iterdir())


def test_arguments_refused(tmp_path):
    path = write(tmp_path, columns(100), "csv")
    (tmp_path / "file").touch()
    for error, says, data, options in (
        (
            TypeError,
            "cache is for the path of a file or a folder, but data is of type dict",
            columns(9),
            {"cache": tmp_path},
        ),
        (TypeError, "memory is given, but no cache", path, {"memory": "1GB"}),
        (TypeError, "cache is 3", path, {"cache": 3}),
        (NotADirectoryError, "cache is .*file; it must be a folder", path, {"cache": tmp_path / "file"}),
        (ValueError, "memory is 'much'; it must be a number of bytes", path, {"cache": tmp_path, "memory": "much"}),
        (ValueError, "memory is 5; it must be", path, {"cache": tmp_path, "memory": 5}),
        (TypeError, "memory is True", path, {"cache": tmp_path, "memory": True}),
        (FileNotFoundError, "there is no file", tmp_path / "none.csv", {"cache": tmp_path}),
        (TypeError, "y is given beside cache", path, {"cache": tmp_path, "y": [1.0] * 100}),
        (
            ValueError,
            "sample_weight has 3 values for 100 ratings",
            path,
            {"cache": tmp_path, "sample_weight": [1, 2, 3]},
        ),
    ):
        with pytest.raises(error, match=says):
            Ratings(data, **options)
    assert cache.memory_bytes("2GB") == 2 * 10**9
    assert cache.memory_bytes("64 MiB") == 2**26
    assert cache.memory_bytes(1e8) == 10**8


def test_mapped_ratings_are_known_and_read_from_one_end_to_the_other(tmp_path):
    path = write(tmp_path, columns(), "csv")
    whole, mapped = Ratings(path), Ratings(path, cache=tmp_path)
    assert [is_mapped(alsx.Ratings(R).by_item.values) for R in (whole, mapped)] == [False, True]
    plain, learned = (PriorSources(), PriorSources()), (PriorSources(1.0), PriorSources())
    for R, sources, in_order in ((whole, plain, False), (mapped, plain, True), (mapped, learned, False)):
        fit = Alternation(R, 2, (Penalty(1.0, 1.0, 0.5),) * 2, np.random.default_rng(0), 1, sources)
        for side in (fit.users, fit.items):
            assert (np.diff(side.tasks.order) == 1).all() == in_order
    again = pickle.loads(pickle.dumps(mapped))
    assert_same(whole, again)


def test_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, columns(600), "csv", 2)
    calls = count_preparations(monkeypatch)
    for words in (
        ["prepare", "ratings", "cache", "--memory=20MB"],
        ["fit", "ratings", "--cache=cache", "--k=2", "--n-jobs=1"],
    ):
        monkeypatch.setattr(sys, "argv", ["alsx", *words])
        alsx.__main__.main()
    assert "sorting by item ..." in (said := capsys.readouterr()).err
    assert "600" in said.out
    assert alsx.load("model.npz").n_iter_ > 0
    assert_same(Ratings("ratings"), Ratings("ratings", cache="cache"))
    assert len(calls) == 1  # what was prepared serves commands and programs
    for words, says in (
        (["prepare", "none", "cache"], "RATINGS is none; there is no such file or folder"),
        (["prepare", "ratings", "cache", "--memory=x"], "--memory is 'x'"),
    ):
        monkeypatch.setattr(sys, "argv", ["alsx", *words])
        with pytest.raises(SystemExit):
            alsx.__main__.main()
        assert says in capsys.readouterr().err
