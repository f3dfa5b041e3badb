"""What other programs get: lists of all users, tables of vectors, vectors for searches of nearest neighbours."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest

import alsx
from alsx.datasets import make_ratings


@pytest.fixture(scope="module", params=["float32", "float64"])
def model(request):
    R = make_ratings(70, 55, 1200, random_state=0)
    return alsx.FactorALS(4, max_iter=4, dtype=request.param, random_state=0).fit(R)


# Lists of all users


@pytest.mark.parametrize("strategy", ["mean", "upper", "thompson"])
@pytest.mark.parametrize("block_size", [1, 16, 1000])
def test_lists_of_all_users_are_those_of_each(model, strategy, block_size, tmp_path):
    options = {"n": 5, "strategy": strategy, "random_state": 3, "min_ratings": 5, "exclude": model.item_ids_[:7]}
    table = model.recommend_all(block_size=block_size, **options)
    assert table.column_names == ["user", "rank", "item", "score"]
    if strategy == "thompson":
        assert table.equals(model.recommend_all(block_size=13, **options))
    else:
        ids, scores = model.recommend(model.user_ids_, **options)
        kept = ~np.isnan(scores)
        np.testing.assert_array_equal(table["item"].to_numpy(), ids[kept])
        np.testing.assert_array_equal(table["score"].to_numpy(), scores[kept])
        np.testing.assert_array_equal(table["user"].to_numpy(), np.repeat(model.user_ids_, kept.sum(axis=1)))
    file = tmp_path / "lists.parquet"
    assert model.recommend_all(file, block_size=block_size, **options) is None
    stored = pq.ParquetFile(file)
    assert stored.read().equals(table)
    assert stored.num_row_groups == -(-70 // block_size)
    assert [x.name for x in tmp_path.iterdir()] == ["lists.parquet"]


def test_lists_of_all_users_by_user_and_in_memory(model, capsys):
    own = {user: [3, 4] for user in model.user_ids_.tolist()}
    table = model.recommend_all(n=4, candidates=own, exclude={0: [3]}, exclude_rated=False, block_size=9)
    found = {}
    for user, item in zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True):
        found.setdefault(user, set()).add(item)
    assert found == {user: ({4} if user == 0 else {3, 4}) for user in own}
    file = io.BytesIO()
    model.set_params(verbose=1).recommend_all(file, 3)
    model.set_params(verbose=0)
    assert "recommend_all" in capsys.readouterr().err
    assert pq.read_table(io.BytesIO(file.getvalue())).equals(model.recommend_all(n=3))


def test_an_interruption_leaves_the_old_file(model, tmp_path, monkeypatch):
    file = tmp_path / "lists.parquet"
    model.recommend_all(file, 2)
    before = file.read_bytes()
    calls = []

    def interrupt(self, *args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return shown(self, *args)

    shown = type(model)._shown
    monkeypatch.setattr(type(model), "_shown", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.recommend_all(file, 9, block_size=10)
    assert file.read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["lists.parquet"]
    with pytest.raises(FileNotFoundError, match="none"):
        model.recommend_all(tmp_path / "none" / "lists.parquet")


def test_users_without_ratings_are_left_out():
    import scipy.sparse as sp

    matrix = sp.csr_array(([3.0, 4.0, 2.0], ([0, 5, 5], [0, 0, 3])), shape=(9, 4))
    table = alsx.BiasALS().fit(matrix).recommend_all(exclude_rated=False)
    assert table["user"].to_pylist() == [0, 0, 5, 5]
    assert set(table["item"].to_pylist()) == {0, 3}


# Vectors


def test_tables_of_vectors_predict(model, tmp_path):
    model.set_titles({3: "Brazil"})
    users, items = model.to_arrow("user"), model.to_arrow()
    assert users.column_names == ["user", "ratings", "bias", "factors"]
    assert items.column_names == ["item", "ratings", "bias", "factors", "title"]
    assert items["title"].to_pylist()[:5] == [None, None, None, "Brazil", None]
    np.testing.assert_array_equal(items["ratings"].to_numpy(), model.item_counts_)
    p, q = (np.array(x["factors"].to_pylist()) for x in (users, items))
    b, c = users["bias"].to_numpy(), items["bias"].to_numpy()
    whole = model.mean_ + b[:, None] + c + p @ q.T
    np.testing.assert_allclose(
        whole[5], model.predict(users["user"][5].as_py(), items["item"].to_numpy(), clip=False), rtol=1e-5
    )
    for target in (tmp_path / "items.parquet", io.BytesIO()):
        model.to_parquet(target)
        stored = pq.read_table(target if isinstance(target, io.BytesIO) is False else io.BytesIO(target.getvalue()))
        assert stored.equals(items)
    assert [x.name for x in tmp_path.iterdir()] == ["items.parquet"]
    assert "factors" not in alsx.BiasALS().fit(make_ratings(9, 8, 40, random_state=0)).to_arrow().column_names
    with pytest.raises(ValueError, match="side is 'items'"):
        model.to_arrow("items")


def test_nearest_augmented_vectors_are_the_highest_predictions(model):
    ids, vectors = model.augmented_item_vectors()
    assert vectors.dtype == model.item_factors_.dtype
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)
    queries = model.augmented_user_vectors()
    np.testing.assert_array_equal(queries[7], model.augmented_user_vectors(model.user_ids_[7]))
    best, _ = model.recommend(model.user_ids_, len(ids), exclude_rated=False, strategy="mean")
    x, y = vectors.astype(np.float64), queries.astype(np.float64)
    scores = model.predict(np.repeat(model.user_ids_, len(ids)), np.tile(ids, len(y)), clip=False).reshape(len(y), -1)
    for order in (
        np.argsort(((y[:, None] - x) ** 2).sum(axis=2), axis=1), np.argsort(-(y @ x.T), axis=1),
        np.argsort(-(y @ x.T) / np.linalg.norm(x, axis=1), axis=1),
    ):  # fmt: skip
        # Items of nearly equal scores may change places.
        ranked = np.take_along_axis(scores, order, 1)
        assert (np.diff(ranked, axis=1) <= 1e-4).all()
        assert (ids[order] == best).mean() > 0.98
    unknown = model.augmented_user_vectors([-1])[0]
    assert ids[np.argmax(x @ unknown)] == model.recommend(-1, 1, unknown="prior", strategy="mean")[0][0]


@pytest.mark.parametrize("library", ["hnswlib", "faiss"])
def test_approximate_searches_find_the_lists(library):
    search = pytest.importorskip(library)
    model = alsx.FactorALS(8, max_iter=3, random_state=0).fit(make_ratings(300, 2000, 30_000, random_state=0))
    ids, vectors = model.augmented_item_vectors()
    queries = model.augmented_user_vectors()
    exact, _ = model.recommend(model.user_ids_, 10, exclude_rated=False, strategy="mean")
    if library == "hnswlib":
        index = search.Index("l2", vectors.shape[1])
        index.init_index(len(vectors), M=16, ef_construction=200, random_seed=0)
        index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
        index.set_ef(200)
        found = index.knn_query(queries, 10, num_threads=1)[0]
    else:
        index = search.IndexHNSWFlat(vectors.shape[1], 16)
        index.hnsw.efSearch = 200
        index.add(vectors)
        found = index.search(queries, 10)[1]
    recall = np.mean(
        [len({*a} & {*b}) / 10 for a, b in zip(ids[found.astype(int)].tolist(), exact.tolist(), strict=True)]
    )
    assert recall > 0.95
