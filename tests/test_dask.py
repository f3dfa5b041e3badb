"""Fits on a Dask cluster: the bits of the local fit, whatever happens to workers."""

import contextlib
import io
import os
import signal
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("distributed")
pytest.importorskip("dask.dataframe")

import dask
import dask.dataframe as dd
from distributed import Client, Future, LocalCluster

import alsx
from alsx import _core
from alsx.dask import ClusterError, DaskBiasALS, DaskFactorALS, _blocks
from alsx.datasets import make_ratings
from alsx.ratings import is_mapped

# On a busy machine timers of the event loop come late, which is no fault of a fit.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@pytest.fixture(scope="module")
def frame():
    """Ratings in no order."""
    ratings = make_ratings(600, 200, 9000, random_state=0)
    users, items, values = ratings.triples()
    frame = pd.DataFrame({"user": ratings.user_ids[users], "item": ratings.item_ids[items], "rating": values})
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


@pytest.fixture(scope="module")
def expected(frame):
    return alsx.FactorALS(5, implicit_features=None, random_state=0, max_iter=5, tol=0).fit(frame)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(_blocks, "ALIGN_ROWS", 8)


@pytest.fixture(scope="module")
def processes():
    """A cluster of five processes, and its client."""
    with (
        # Dask may stumble over a worker that was killed, where it closes all of them.
        contextlib.suppress(KeyError),
        # Where the machine is busy a process is started again later than Dask waits for.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        LocalCluster(
            n_workers=5, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1", silence_logs=60
        ) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client


@pytest.fixture(scope="module")
def threads():
    """A cluster of two workers of two threads in this process."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=False,
            protocol="tcp",
            dashboard_address=":0",
            host="127.0.0.1",
            silence_logs=60,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def model(client, **parameters):
    return DaskFactorALS(5, **{"random_state": 0, "max_iter": 5, "tol": 0, "client": client} | parameters)


def assert_same_bits(fitted, expected):
    """Everything that the saved files hold is the same."""
    local = fitted if isinstance(fitted, alsx.BiasALS | alsx.FactorALS) else fitted.to_local()
    contents = []
    for one in (local, expected):
        buffer = io.BytesIO()
        one.save(buffer)
        buffer.seek(0)
        contents.append(dict(np.load(buffer)))
    assert contents[0].keys() == contents[1].keys()
    for name in contents[0].keys() - {"about"}:
        assert contents[0][name].dtype == contents[1][name].dtype
        np.testing.assert_array_equal(contents[0][name], contents[1][name], err_msg=name)
    for name in ("loss", "train_rmse"):
        assert local.history_[name] == expected.history_[name]
    assert (local.mean_, local.rating_range_) == (expected.mean_, expected.rating_range_)


def held(client):
    """Our keys that the scheduler holds."""
    keys = client.run_on_scheduler(lambda dask_scheduler: [str(x) for x in dask_scheduler.tasks])
    return [key for key in keys if "alsx" in key]


def left_over(client, but=()):
    """The same, but those that were there before, once it has had time to hear of what the client has released."""
    for _ in range(600):
        ours = sorted(set(held(client)) - set(but))
        if not ours:
            break
        time.sleep(0.05)
    return ours


@pytest.mark.parametrize("n_workers", [5, 3, 2, 1])
def test_the_same_bits_for_any_number_of_workers(n_workers, processes, frame, expected):
    cluster, client = processes
    cluster.scale(n_workers)
    while len(client.nthreads()) > n_workers:
        time.sleep(0.05)
    parts = [frame[:0], frame[:1], frame[1:5000], frame[:0], frame[5000:7000], frame[7000:]]
    source = dd.from_map(lambda at: parts[at], range(6), meta=frame[:0])
    fitted = model(client).fit(source)
    assert_same_bits(fitted, expected)
    assert len(fitted.history_["seconds"]) == fitted.n_iter_ == 5
    assert (fitted.n_users_, fitted.n_items_, fitted.n_ratings_) == (600, 200, 9000)
    assert (min(fitted.traffic_["planned"]) > 0) == (n_workers > 1)
    assert held(client)
    fitted.close()
    assert left_over(client) == []
    with pytest.raises(ValueError, match="the model was closed"):
        fitted.to_local()


def test_any_partitions_in_any_order(threads, frame, expected):
    for seed, n in ((1, 1), (2, 7)):
        shuffled = frame.sample(frac=1, random_state=seed)
        assert_same_bits(model(threads).fit(dd.from_pandas(shuffled, npartitions=n, sort=False)), expected)
    assert left_over(threads) == []


def test_biases(threads, frame):
    fitted = DaskBiasALS(client=threads, max_iter=7).fit(dd.from_pandas(frame, npartitions=3))
    assert_same_bits(fitted, alsx.BiasALS(max_iter=7).fit(frame))


def test_double_precision_weights_and_other_parameters(threads, frame):
    weights = np.random.default_rng(0).choice([0.0, 0.5, 1.7, 3.0], len(frame))
    parameters = {"dtype": "float64", "reg": (0.5, 2), "reg_bias": 0.1, "reg_scaling": 1.0}
    for dtype in ("float32", "float64"):
        parameters["dtype"] = dtype
        local = alsx.FactorALS(5, implicit_features=None, random_state=0, max_iter=5, tol=0, **parameters)
        fitted = model(threads, **parameters).fit(dd.from_pandas(frame.assign(w=weights), npartitions=4), weight="w")
        assert_same_bits(fitted, local.fit(frame, sample_weight=weights))


@pytest.mark.parametrize("how", ["last", "mean", "sum"])
def test_pairs_that_are_there_twice(how, threads, frame):
    twice = pd.concat([frame, frame[:300].assign(rating=frame.rating[:300] * 0.3 + 0.1), frame[100:150]])
    local = alsx.FactorALS(5, implicit_features=None, random_state=0, max_iter=5, tol=0)
    local.fit(alsx.Ratings(twice, duplicates=how))
    source = dd.from_pandas(twice.reset_index(drop=True), npartitions=5)
    assert_same_bits(model(threads).fit(source, duplicates=how), local)
    with pytest.raises(
        ValueError, match="duplicate ratings in source: .* rates user .*, item .* again, .*: pass duplicates="
    ):
        model(threads).fit(source)


def test_files(threads, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = frame.assign(user="u" + frame.user.astype(str)).rename(columns={"user": "who", "item": "film"})
    local = alsx.FactorALS(5, implicit_features=None, random_state=0, max_iter=5, tol=0)
    (tmp_path / "parquet").mkdir()
    (tmp_path / "text").mkdir()
    for at in range(3):
        named[at::3].to_parquet(tmp_path / f"parquet/part-{at}.parquet", row_group_size=500)
        named[at::3].to_csv(tmp_path / f"text/part-{at}.csv", index=False)
    (tmp_path / "parquet/_SUCCESS").touch()
    monkeypatch.setattr("alsx.dask._source.SPLIT_BYTES", 1000)
    for folder, source in (
        ("parquet", "parquet"),
        ("parquet", tmp_path / "parquet/*.parquet"),
        ("text", "text/part-?.csv"),
    ):
        expected = local.fit(alsx.Ratings(tmp_path / folder, user="who", item="film"))
        fitted = model(threads).fit(source, user="who", item="film")
        assert_same_bits(fitted, expected)
    # Ids that are integers in one file and not in another are texts in all of them.
    frame[:4000].to_csv(tmp_path / "text/part-0.csv", index=False)
    frame[4000:].assign(user=[f"0{x}" for x in frame.user[4000:]]).to_csv(tmp_path / "text/part-1.csv", index=False)
    (tmp_path / "text/part-2.csv").unlink()
    assert_same_bits(model(threads).fit("text"), local.fit("text"))


def test_mixed_instruction_sets(threads, frame, expected, restored_simd):
    # The workers are in this process, so that all of them have what it has.
    _core.set_simd_level("base")
    local = alsx.FactorALS(5, implicit_features=None, random_state=0, max_iter=5, tol=0).fit(frame)
    fitted = model(threads).fit(dd.from_pandas(frame, npartitions=2))
    assert fitted.simd_level_ == "base"
    assert_same_bits(fitted, local)


# ---------------------------------------------------------------------------------------------------------------------
# A fitted model


@pytest.fixture(scope="module")
def fitted(threads, frame):
    """A fitted model on the cluster, with small blocks."""
    before, _blocks.ALIGN_ROWS = _blocks.ALIGN_ROWS, 8
    fitted = model(threads).fit(dd.from_pandas(frame, npartitions=3))
    _blocks.ALIGN_ROWS = before
    yield fitted
    fitted.close()


def test_predictions_by_partition(fitted, frame, expected):
    pairs = pd.concat([frame[["user", "item"]][:1000], pd.DataFrame({"user": [10**9, 3], "item": [5, 10**9]})])
    source = dd.from_pandas(pairs.reset_index(drop=True), npartitions=4)
    predicted = fitted.predict(source)
    assert predicted.npartitions == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        local = expected.predict(pairs)
    pd.testing.assert_series_equal(predicted.compute(), pd.Series(local, name="prediction"), check_exact=True)
    named = source.rename(columns={"user": "a", "item": "b"})
    np.testing.assert_array_equal(fitted.predict(named, user="a", item="b").compute(), local)
    with pytest.raises(TypeError, match="pairs is of type DataFrame; it must be a data frame of Dask"):
        fitted.predict(pairs)


def test_lists(fitted, frame, expected, tmp_path):
    local = expected.recommend_all(n=7).to_pandas()
    lists = fitted.recommend(n=7)
    assert list(lists.columns) == ["user", "rank", "item", "score"]
    pd.testing.assert_frame_equal(lists.compute().reset_index(drop=True), local, check_exact=True)
    fitted.recommend(n=7, to=tmp_path / "lists")
    written = pd.read_parquet(tmp_path / "lists")
    pd.testing.assert_frame_equal(written, local, check_exact=True)
    users = frame.user[:5].to_numpy()
    options = {"n": 3, "strategy": "mean", "exclude": [frame.item[0]], "min_ratings": 2, "exclude_rated": False}
    some = fitted.recommend(users, **options).compute().reset_index(drop=True)
    expected_lists = expected.recommend(np.unique(users), as_frame="pandas", **options)
    pd.testing.assert_frame_equal(some, expected_lists, check_exact=True)
    fitted.recommend(n=1, to=tmp_path / "lists")  # the old ones go
    assert len(pd.read_parquet(tmp_path / "lists")) == len(local) / 7
    assert sorted(x.name for x in tmp_path.iterdir()) == ["lists"]
    with pytest.raises(ValueError, match=r"users: 1000000000 \(place 1\) is not among the training users"):
        fitted.recommend([users[0], 10**9])
    with pytest.raises(ValueError, match='strategy is "?\'lower\'.* must be "propensity" or "mean"'):
        fitted.recommend(strategy="lower")
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="which is there and was not written by such a call"):
        fitted.recommend(to=tmp_path / "mine")


@pytest.mark.parametrize("mmap", [False, True])
def test_saved_by_blocks(mmap, fitted, expected, tmp_path):
    fitted.save(tmp_path / "model")
    fitted.save(tmp_path / "model")
    loaded = alsx.load(tmp_path / "model", mmap=mmap)
    assert_same_bits(loaded, expected)
    if mmap:  # kernels read the file itself
        assert is_mapped(loaded.item_factors_)
    user = expected.user_ids_[3]
    np.testing.assert_array_equal(loaded.recommend(user)[0], expected.recommend(user)[0])
    assert loaded.predict_interval(user, expected.item_ids_[2]) == expected.predict_interval(
        user, expected.item_ids_[2]
    )
    assert sorted(x.name for x in tmp_path.iterdir()) == ["model"]
    with (tmp_path / "model/item_table.npy").open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(ValueError, match="is not a whole model file written by alsx: item_table.npy is said to have"):
        alsx.load(tmp_path / "model", mmap=mmap)


# ---------------------------------------------------------------------------------------------------------------------
# What goes wrong


def test_what_is_refused(threads, frame, tmp_path):
    source = dd.from_pandas(frame, npartitions=3)
    cases = [
        (
            model(threads, implicit_features="user"),
            source,
            {},
            "implicit_features is .user.; on a cluster it must be None",
        ),
        (model(threads, reg="auto"), source, {}, "reg is 'auto'; on a cluster it must be a number"),
        (model(threads), frame, {}, "source is of type DataFrame; .* or pass dask.dataframe.from_pandas"),
        (model(threads), source, {"weight": "w"}, "weight='w' is not a column"),
        (model(threads), source, {"user": "w"}, "user='w' is not a column"),
        (model(threads), source, {"separator": ";"}, "separator is for files, but source is of type DataFrame"),
        (model(threads), tmp_path / "nothing*.parquet", {}, "where there are no files of ratings"),
        (model(threads, timeout=0), source, {}, "timeout is 0; it must be above 0"),
        (model(threads, checkpoint=3), source, {}, "checkpoint is of type int; it must be the path of a folder"),
        (model(threads, checkpoint_every=0), source, {}, "checkpoint_every is 0; it must be an integer|at least 1"),
        (model("tcp://"), source, {}, "client is of type str; it must be a distributed.Client"),
        (model(threads), source[["user", "item"]], {}, "no column of ratings is recognised"),
        (model(threads), dd.from_pandas(frame[:0], npartitions=1), {}, "there are no ratings: source is empty"),
        (model(threads), source.assign(rating=np.nan), {}, r"partition 0: source\['rating'\]: row 0 is nan"),
        (model(threads, reg=0, reg_bias=0), source, {}, r"the equations of user \d+ \(row \d+.*\) are singular"),
    ]
    before = held(threads)
    for estimator, data, options, message in cases:
        with pytest.raises((TypeError, ValueError, FileNotFoundError, np.linalg.LinAlgError), match=message) as caught:
            estimator.fit(data, **options)
        assert len(str(caught.value)) <= 300
        assert not hasattr(estimator, "mean_")
    assert left_over(threads, before) == []


def test_singular_rows_are_named_as_by_the_local_fit(threads, frame):
    local = alsx.FactorALS(5, implicit_features=None, reg=0, reg_bias=0, random_state=0)
    messages = []
    for estimator, data in ((local, frame), (model(threads, reg=0, reg_bias=0), dd.from_pandas(frame, npartitions=3))):
        with pytest.raises(np.linalg.LinAlgError) as caught:
            estimator.fit(data)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_warning_as_by_local_readers(threads, frame):
    odd = frame.assign(rating=np.where(np.arange(len(frame)) % 50, frame.rating, -1))
    with pytest.warns(UserWarning, match="source: -1 is there 180 times, far off the other ratings"):
        model(threads, max_iter=1).fit(dd.from_pandas(odd, npartitions=3))
    marked = dd.from_pandas(odd, npartitions=3)
    assert model(threads, max_iter=1).fit(marked, missing=-1).n_ratings_ == len(frame) - 180


def test_checkpoints(threads, frame, expected, tmp_path):
    source, folder = dd.from_pandas(frame, npartitions=3), tmp_path / "checkpoint"
    options = {"checkpoint": folder, "checkpoint_every": 2}
    seen = []
    model(threads, max_iter=3, **options).fit(source)
    (folder / "iteration-000002.0123456789abcdef.part").mkdir()  # of a process that was killed
    shuffled = dd.from_pandas(frame.sample(frac=1, random_state=9), npartitions=5, sort=False)
    fitted = model(threads, callback=lambda iteration: seen.append(iteration.number), **options).fit(shuffled)
    assert seen == [4, 5]
    assert_same_bits(fitted, expected)
    assert [x.name for x in folder.iterdir()] == ["iteration-000005"]
    again = model(threads, **options).fit(source)  # there is nothing left to do
    assert_same_bits(again, expected)
    assert again.history_ == fitted.history_
    cases = [
        (model(threads, **options), source.assign(rating=source.rating + 0.5), "which is of other ratings"),
        (model(threads, **options | {"random_state": 1}), source, "which is of a fit with random_state=0"),
        (model(threads, reg=1.5, **options), source, "which is of a fit with another reg, reg_bias or reg_scaling"),
        (DaskFactorALS(4, random_state=0, client=threads, **options), source, "which is of a fit with another k"),
    ]
    for other, data, message in cases:
        with pytest.raises(ValueError, match=message):
            other.fit(data)
    file = folder / "iteration-000005/items-0001.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9] + b"x" + whole[-8:])
    with pytest.raises(ValueError, match="checkpoint is damaged: .*items-0001.npz is not what was written"):
        model(threads, **options).fit(source)
    (folder / "iteration-000005/manifest.json").write_text("{")
    with pytest.raises(ValueError, match="which is damaged .* in its manifest.: remove it to begin anew"):
        model(threads, **options).fit(source)


def test_two_fits_at_once_and_one_that_is_cancelled(threads, frame, expected):
    source, caught, fits = dd.from_pandas(frame, npartitions=3), [], []

    def cancelled():
        ours = model(threads, max_iter=1000)

        def cancel(iteration):
            if iteration.number == 2:
                threads.cancel([Future(key, threads) for key in list(threads.futures) if "alsx-local" in str(key)])

        ours.callback = cancel
        try:
            ours.fit(source)
        except ClusterError as error:
            caught.append(str(error))

    for _ in range(2):
        fits.append(model(threads))
    runs = [threading.Thread(target=fit.fit, args=(source,)) for fit in fits]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    for fit in fits:
        assert_same_bits(fit, expected)
        fit.close()
    cancelled()
    assert len(caught) == 1
    assert "tasks were cancelled" in caught[0]
    assert left_over(threads) == []


def test_workers_join_and_leave(threads, frame, expected):
    n_workers = {1: 3, 2: 1, 4: 2}

    def follow(iteration):
        if iteration.number in n_workers:
            threads.cluster.scale(n_workers[iteration.number])
            if iteration.number != 2:
                threads.wait_for_workers(n_workers[iteration.number])

    fitted = model(threads, callback=follow).fit(dd.from_pandas(frame, npartitions=3))
    assert_same_bits(fitted, expected)
    fitted.close()
    assert left_over(threads) == []


def test_ctrl_c(threads, frame):
    ours = model(threads, max_iter=1000)
    # A shell lets jobs in the background ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(iteration):
        if iteration.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    ours.callback = press
    try:
        with pytest.raises(KeyboardInterrupt):
            ours.fit(dd.from_pandas(frame, npartitions=3))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not hasattr(ours, "mean_")
    assert left_over(threads) == []


def kill(client, n):
    """Kill -9 of n workers."""
    workers = client.run(os.getpid, on_error="ignore")
    for address in sorted(workers)[:n]:
        os.kill(workers[address], signal.SIGKILL)


def test_killed_workers_cost_time_and_no_bits(processes, frame, expected):
    """More of them, at random moments: benchmarks/dask_kills.py."""
    cluster, client = processes
    cluster.scale(2)
    client.wait_for_workers(2)
    kills = []

    def follow(iteration):
        kills.append(iteration.number)
        if iteration.number in (1, 3):
            kill(client, iteration.number)  # one of them, or both

    parts = [frame[:3000], frame[3000:]]
    source = dd.from_map(lambda at: parts[at], range(2), meta=frame[:0])
    fitted = model(client, callback=follow).fit(source)
    assert kills == [1, 2, 3, 4, 5]
    # What is on the cluster is made again, too.
    client.wait_for_workers(2)
    kill(client, 1)
    assert_same_bits(fitted, expected)
    fitted.close()
    assert left_over(client) == []
    # Data that were only in the memory of workers cannot be read again.
    scattered = client.scatter(parts)
    begun = time.monotonic()
    with pytest.raises(ClusterError, match="what they read was lost with a worker and cannot be made again"):
        model(client, callback=lambda iteration: kill(client, 2)).fit(dd.from_delayed(scattered, meta=frame[:0]))
    assert time.monotonic() - begun < 100
    del scattered
    assert left_over(client) == []
