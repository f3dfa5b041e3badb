"""The default order of lists: predicted rating and how likely users are to rate an item at all."""

import numpy as np
import pytest
from reference import propensity_scores
from sklearn.base import clone

import alsx
from alsx import BayesALS, BiasALS, FactorALS, Ratings
from alsx._models import propensity
from alsx.datasets import load_movielens, make_ratings
from alsx.metrics import ranking_scores
from alsx.model_selection import train_test_split

MODELS = {
    "bias": BiasALS(),
    "plain": FactorALS(4, implicit_features=None, max_iter=4, random_state=0),
    "float64": FactorALS(3, max_iter=4, random_state=0, dtype="float64"),
    "k = 0": FactorALS(0, max_iter=2),
    "bayes": BayesALS(3, n_samples=3, burn_in=2, random_state=0),
}


@pytest.fixture(scope="module")
def ratings():
    return make_ratings(60, 45, 900, random_state=0)


@pytest.fixture(scope="module", params=MODELS)
def model(request, ratings):
    return clone(MODELS[request.param]).fit(ratings)


def expected(model, user):
    """The twin's scores of all items for the user of a code, -1 for an unknown one."""
    k, seen = model._k, model._seen
    vector = model._users.cold_start_vector if user < 0 else model._users.table[user, : k + 1]
    rated = [] if user < 0 else seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
    return propensity_scores(
        model.mean_, np.asarray(vector, np.float64), model._items.table[:, : k + 1].astype(np.float64), model._items.counts,
        np.array(rated, int), model.history_["train_rmse"][-1], propensity.RIDGE, propensity.PRIOR_RATINGS,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*predictions know only part")
def test_against_the_twin(model):
    users = [*model.user_ids_[[0, 7, 31]], -5]
    n = len(model.item_ids_)
    ids, scores = model.recommend(users, n, exclude_rated=False)
    for row, user in enumerate((0, 7, 31, -1)):
        wanted = expected(model, user)
        np.testing.assert_allclose(scores[row], wanted[model._items.ids.codes(ids[row])], rtol=2e-5)
        assert (np.diff(scores[row]) <= 0).all()
    same = model.recommend(users, n, exclude_rated=False, strategy="propensity")
    np.testing.assert_array_equal(same[0], ids)


@pytest.mark.parametrize("entries", [1, 40, 10**6])
def test_no_bit_depends_on_the_parts_or_on_company(entries, monkeypatch, ratings):
    model = FactorALS(4, max_iter=3, random_state=0).fit(ratings)
    ids, scores = model.recommend(model.user_ids_, 6)
    monkeypatch.setattr(propensity, "CHUNK_ENTRIES", entries)
    for users in (model.user_ids_, model.user_ids_[::-1]):
        again = model.recommend(users, 6)
        order = slice(None) if users[0] == model.user_ids_[0] else slice(None, None, -1)
        np.testing.assert_array_equal(again[0][order], ids)
        np.testing.assert_array_equal(again[1][order], scores)
    for row in (0, 5):
        np.testing.assert_array_equal(model.recommend(model.user_ids_[row], 6)[1], scores[row])


def test_lists_are_the_same_on_every_scale(ratings):
    u, i, r = ratings.triples()
    fits = [
        FactorALS(3, max_iter=4, random_state=0, dtype="float64").fit(
            Ratings.from_arrays(u, i, factor * r, dtype="float64")
        )
        for factor in (1, 8)
    ]
    lists = [model.recommend(model.user_ids_[:9], 8) for model in fits]
    np.testing.assert_array_equal(lists[0][0], lists[1][0])
    np.testing.assert_allclose(8 * lists[0][1], lists[1][1], rtol=1e-9)


def test_files_and_folded_in_users_keep_the_order(ratings, tmp_path):
    model = FactorALS(3, max_iter=3, random_state=0).fit(ratings)
    users = model.user_ids_[:5]
    ids, scores = model.recommend(users, 7)
    for with_ratings in (True, False):
        model.save(tmp_path / "model.npz", with_ratings=with_ratings)
        again = alsx.load(tmp_path / "model.npz").recommend(users, 7)
        np.testing.assert_array_equal(again[0], ids)
        np.testing.assert_array_equal(again[1], scores)
    # Popularity is that of the fit, so that somebody new changes nothing for others.
    folded = model.fold_in([(999, item) for item in model.item_ids_[:9]], np.ones(9))
    np.testing.assert_array_equal(folded.recommend(users, 7)[1], scores)
    assert folded.recommend(999, 7)[0].tolist() != ids[0].tolist()


def test_factors_of_zeros_leave_popularity_and_biases(ratings):
    model = FactorALS(2, reg=1e6, implicit_features=None, max_iter=2, random_state=0).fit(ratings)
    assert np.abs(model.item_factors_).max() < 1e-3
    assert np.isfinite(model.recommend(model.user_ids_[0], 5)[1]).all()
    found = propensity.directions(np.zeros((4, 2), np.float32), np.array([1, 2, 0, 3]))
    assert not found.of_items.any()
    assert not found.of_all.any()


@pytest.mark.parametrize("name", ["ml-100k", "ml-latest-small"])
def test_lists_are_better_than_popularity_on_real_ratings(name, movielens_folder):
    data = load_movielens(movielens_folder / f"{name}.zip")
    train, test = train_test_split(data.ratings, 0.2, by="last")
    users = test.user_ids[np.diff(test.by_user.indptr) > 0]
    popular = np.argsort(-np.diff(train.by_item.indptr), kind="stable")[:400]
    rated = train.to_csr()[np.searchsorted(train.user_ids, users)].toarray()[:, popular] != 0
    first = np.argsort(rated, axis=1, kind="stable")[:, :10]  # the most popular ones that are not rated
    lists = {"popularity": train.item_ids[popular[first]]}
    model = FactorALS(random_state=0).fit(train)
    for strategy in ("propensity", "mean"):
        lists[strategy] = model.recommend(users, 10, strategy=strategy)[0]
    for least in (4.0, None):
        ndcg = {
            kind: ranking_scores(ids, test, 10, users=users, min_rating=least, metrics="ndcg")["ndcg@10"]
            for kind, ids in lists.items()
        }
        assert ndcg["propensity"] > 1.3 * ndcg["popularity"]
        assert ndcg["propensity"] > 1.3 * ndcg["mean"]


def test_the_list_of_a_newcomer_is_his(movielens_folder):
    """Three films for children rated 5: films for children, not the films with the highest predictions of all."""
    data = load_movielens(movielens_folder / "ml-latest-small.zip")
    model = FactorALS(random_state=0).fit(data.ratings)
    titles = data.titles(model.item_ids_, alternates=False, years=True)
    rated = [
        model.item_ids_[titles.index(title)] for title in ("Toy Story (1995)", "Shrek (2001)", "Finding Nemo (2003)")
    ]
    ids, _ = model.recommend(ratings=dict.fromkeys(map(int, rated), 5.0))
    for_children = [bool({"Animation", "Children"} & set(genres)) for genres in data.genres_of(ids)]
    assert sum(for_children) >= 6
    assert all(for_children[:4])
    by_mean, _ = model.recommend(ratings=dict.fromkeys(map(int, rated), 5.0), strategy="mean")
    assert sum(bool({"Animation", "Children"} & set(genres)) for genres in data.genres_of(by_mean)) <= 2
