"""All measures of lists from one call, against their definitions and against trec_eval."""

import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from reference import diversity_of_list, gini_of_counts, measures_of_list, novelty_of_list

import alsx
from alsx import Ratings
from alsx.metrics import Score, evaluate, ranking_scores
from alsx.metrics import _ranks as ranks
from alsx.metrics._ranks import METRICS
from alsx.ratings import Ids

PAD = Ids([0]).missing
CUTOFFS = (1, 3, 10)
OF_RELEVANCE = ("precision", "recall", "f1", "hit_rate", "ndcg", "graded_ndcg", "map", "mrr")
N_ITEMS = 30


def made(seed, n_users=40, n_items=N_ITEMS, width=None, most_relevant=12):
    """Whole rankings, some shorter than others, and gains of relevant items, of which some users have none."""
    rng = np.random.default_rng(seed)
    width = n_items if width is None else width
    lists = np.full((n_users, width), PAD)
    for row in lists:
        length = rng.integers(0, width + 1) if rng.random() < 0.3 else width
        row[:length] = rng.permutation(n_items)[:length]
    # Some relevant items are unknown to the lists.
    relevant = [
        {
            int(item): float(rng.integers(1, 6))
            for item in rng.permutation(n_items + 5)[: rng.integers(0, most_relevant)]
        }
        for _ in range(n_users)
    ]
    return lists, relevant


def as_held_out(relevant):
    """The same as ratings of users 100, 101, ..."""
    rows = [(user, item, gain) for user, gains in enumerate(relevant, 100) for item, gain in gains.items()]
    users, items, gains = zip(*rows, strict=True)
    return Ratings.from_arrays(users, items, gains)


def training(seed, n_users=20, n_items=N_ITEMS):
    rng = np.random.default_rng(seed)
    rated = rng.random((n_users, n_items)) < np.linspace(0.02, 0.8, n_items)
    rated[0, :] = False  # a user without ratings counts as nobody
    rated[1, 0] = True
    return Ratings(scipy.sparse.csr_array(rated * 3.0))


def twin(lists, relevant, n):
    """The twin's measures, by user."""
    found = {name: [] for name in (*OF_RELEVANCE, "r_precision", "auc")}
    for row, gains in zip(lists.tolist(), relevant, strict=True):
        each = measures_of_list(row, gains, n, PAD) if gains else dict.fromkeys(found, math.nan)
        for name, values in found.items():
            values.append(each[name])
    return found


def assert_same(score, values):
    np.testing.assert_allclose(score.by_user, values, rtol=1e-12, atol=1e-15)
    assert score == pytest.approx(np.nanmean(values), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("cells", [1, 100, 2**22])
@pytest.mark.parametrize("seed", range(3))
def test_measures_of_relevance_against_the_twin(seed, cells, monkeypatch):
    monkeypatch.setattr(ranks, "BLOCK_CELLS", cells)  # one user at a time, a few, all
    lists, relevant = made(seed)
    scores = ranking_scores(lists, relevant, CUTOFFS, metrics=(*OF_RELEVANCE, "r_precision", "auc"))
    assert len(scores) == len(OF_RELEVANCE) * len(CUTOFFS) + 2
    for n in CUTOFFS:
        for name, values in twin(lists, relevant, n).items():
            assert_same(scores[name if name in ("r_precision", "auc") else f"{name}@{n}"], values)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 8), st.integers(0, 8))
def test_any_lists_against_the_twin(seed, n_items, width, most_relevant):
    width = min(width, n_items)
    lists, relevant = made(seed, 5, n_items, width, most_relevant + 1)
    n = int(np.random.default_rng(seed).integers(1, width + 1))
    scores = ranking_scores(lists, relevant, n) if any(relevant) else {}
    for name, values in twin(lists, relevant, n).items():
        if f"{name}@{n}" in scores:
            assert_same(scores[f"{name}@{n}"], values)


def test_one_pass_gives_what_single_calls_give():
    lists, relevant = made(5)
    train = training(0)
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, 4))
    given_all = {"train": train, "item_vectors": vectors}
    together = ranking_scores(lists, relevant, (10, 3), metrics=METRICS, **given_all)
    assert list(together)[:4] == ["precision@3", "precision@10", "recall@3", "recall@10"]
    for name in METRICS:
        for n in (3, 10):
            alone = ranking_scores(lists, relevant, n, metrics=name, **given_all)
            ((key, value),) = alone.items()
            assert together[key] == pytest.approx(value, rel=1e-14, nan_ok=True)
            assert type(together[key]) is (float if name in ("coverage", "gini") else Score)


@pytest.mark.parametrize("kind", ["mappings", "ratings", "strings"])
def test_ratings_are_gains_whatever_the_ids(kind):
    lists, relevant = made(7)
    wanted = ranking_scores(lists, relevant, CUTOFFS)
    if kind == "ratings":
        held_out = as_held_out(relevant)
        users = np.arange(100, 100 + len(relevant))
        scores = ranking_scores(lists, held_out, CUTOFFS, users=users)
        # Users in another order, of whom one is unknown.
        order = np.random.default_rng(0).permutation(len(users))
        other = ranking_scores(
            np.vstack([lists[order], lists[:1]]), held_out, 3, users=np.append(users[order], 5), metrics="ndcg"
        )
        np.testing.assert_array_equal(other["ndcg@3"].by_user, [*wanted["ndcg@3"].by_user[order], math.nan])
    elif kind == "strings":
        texts = np.where(lists == PAD, "", lists.astype(str)).astype(object)
        scores = ranking_scores(texts, [{str(x): g for x, g in gains.items()} for gains in relevant], CUTOFFS)
    else:
        scores = ranking_scores(lists.tolist(), relevant, CUTOFFS)
    assert scores.keys() == wanted.keys()
    for name, score in scores.items():
        np.testing.assert_array_equal(score.by_user, wanted[name].by_user)


def test_min_rating_chooses_what_is_relevant():
    lists, relevant = made(11)
    held_out = as_held_out(relevant)
    users = np.arange(100, 100 + len(relevant))
    liked = [{item: gain for item, gain in gains.items() if gain >= 4} for gains in relevant]
    scores = ranking_scores(lists, held_out, 10, users=users, min_rating=4)
    for name, values in twin(lists, liked, 10).items():
        if f"{name}@10" in scores:
            assert_same(scores[f"{name}@10"], values)


@pytest.mark.parametrize("sparse", [False, True])
def test_measures_of_lists_against_the_twin(sparse):
    lists, relevant = made(3)
    lists[0, :2] = [999, PAD]  # an item that nobody has rated, and a list of one
    train = training(1)
    counts = dict(zip(train.item_ids.tolist(), np.diff(train.by_item.indptr).tolist(), strict=True))
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(N_ITEMS, 3)) * (rng.random((N_ITEMS, 3)) < 0.5)
    assert (vectors == 0).all(axis=1).any()
    scores = ranking_scores(
        lists,
        relevant,
        CUTOFFS,
        train=train,
        item_vectors=scipy.sparse.coo_array(vectors) if sparse else vectors,
    )
    n_users = int(np.count_nonzero(np.diff(train.by_user.indptr)))
    assert n_users < train.n_users
    for n in CUTOFFS:
        rows = lists.tolist()
        assert_same(scores[f"novelty@{n}"], [novelty_of_list(row, n, counts, n_users) for row in rows])
        of_item = dict(enumerate(vectors))
        wanted = [diversity_of_list(row, n, of_item) for row in rows]
        if n > 1:
            assert_same(scores[f"diversity@{n}"], wanted)
        else:
            assert np.isnan(scores["diversity@1"].by_user).all()
        times = [sum(item in row[:n] for row in rows) for item in counts]
        assert scores[f"coverage@{n}"] == sum(x > 0 for x in times) / len(times)
        assert scores[f"gini@{n}"] == pytest.approx(gini_of_counts(times), rel=1e-12)


def test_gini_is_0_where_all_are_equal_and_1_where_one_has_all():
    train = Ratings([(1, item) for item in range(4)], np.ones(4))
    same, different = [[2]] * 4, [[0], [1], [2], [3]]
    for lists, wanted, share in ((same, 1, 1 / 4), (different, 0, 1)):
        scores = ranking_scores(lists, [[0]] * 4, train=train)
        assert scores["gini@1"] == wanted
        assert scores["coverage@1"] == share


def test_against_trec_eval():
    """The measures that trec_eval has, on runs in which a user without hits and short lists occur, to 1e-12."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    lists, relevant = made(13, n_users=200)
    queries = {str(user): {str(x): int(g) for x, g in gains.items()} for user, gains in enumerate(relevant) if gains}
    runs = {
        str(user): {str(item): -float(place) for place, item in enumerate(row) if item != PAD}
        for user, row in enumerate(lists.tolist())
    }
    runs = {user: run for user, run in runs.items() if run and user in queries}
    cuts = ",".join(map(str, CUTOFFS))
    names = {
        f"P.{cuts}",
        f"recall.{cuts}",
        f"success.{cuts}",
        f"map_cut.{cuts}",
        f"ndcg_cut.{cuts}",
        "recip_rank",
        "Rprec",
    }
    graded = pytrec_eval.RelevanceEvaluator(queries, names).evaluate(runs)
    binary = {user: dict.fromkeys(items, 1) for user, items in queries.items()}
    plain = pytrec_eval.RelevanceEvaluator(binary, names).evaluate(runs)
    scores = ranking_scores(lists, relevant, (*CUTOFFS, N_ITEMS), metrics=(*OF_RELEVANCE, "r_precision"))
    assert len(runs) > 100
    for user in runs:
        for n in CUTOFFS:
            for ours, theirs, run in (
                ("precision", "P", plain),
                ("recall", "recall", plain),
                ("hit_rate", "success", plain),
                ("map", "map_cut", plain),
                ("ndcg", "ndcg_cut", plain),
                ("graded_ndcg", "ndcg_cut", graded),
            ):
                value = scores[f"{ours}@{n}"].by_user[int(user)]
                assert value == pytest.approx(run[user][f"{theirs}_{n}"], rel=1e-12, abs=1e-15)
        assert scores[f"mrr@{N_ITEMS}"].by_user[int(user)] == pytest.approx(plain[user]["recip_rank"], rel=1e-12)
        assert scores["r_precision"].by_user[int(user)] == pytest.approx(plain[user]["Rprec"], rel=1e-12)


def test_auc_against_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    lists = np.array([rng.permutation(20) for _ in range(30)])
    relevant = [set(rng.permutation(20)[: rng.integers(1, 19)].tolist()) for _ in range(30)]
    score = ranking_scores(lists, relevant, metrics="auc")["auc"]
    wanted = [
        roc_auc_score([item in items for item in row], -np.arange(20.0))
        for row, items in zip(lists.tolist(), relevant, strict=True)
    ]
    np.testing.assert_allclose(score.by_user, wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ({"metrics": "recal"}, ValueError, "metrics has 'recal'; it must be of precision, recall, "),
        ({"metrics": []}, ValueError, "metrics is empty"),
        (
            {"metrics": "novelty"},
            ValueError,
            "metrics has 'novelty', which needs the training ratings: pass them as train",
        ),
        ({"metrics": "diversity"}, ValueError, "'diversity', which needs vectors of the items: pass item_vectors"),
        ({"relevant": [[1]], "metrics": "graded_ndcg"}, ValueError, "'graded_ndcg', which needs gains: pass a Ratings"),
        (
            {"relevant": [{1: -1.0}], "metrics": "graded_ndcg"},
            ValueError,
            "gains of at least 0, but row 0 of relevant has -1",
        ),
        ({"n": 4}, ValueError, "n is 4, but recommended has only 3 items per user"),
        ({"n": ()}, ValueError, "n is empty"),
        ({"n": (1, 0)}, ValueError, r"n\[1\] is 0; it must be at least 1"),
        ({"n": (1, 2.5)}, TypeError, r"n\[1\] is 2.5"),
        ({"relevant": [{1: 1.0}, [2]], "recommended": [[1], [2]]}, TypeError, "relevant mixes mappings and other"),
        ({"users": [1]}, TypeError, "users is given, but relevant is no Ratings: leave users out"),
        ({"min_rating": 4}, TypeError, "min_rating is given, but relevant is no Ratings"),
        (
            {"relevant": Ratings([(1, 2)], [3])},
            TypeError,
            "relevant is a Ratings.*pass the users of the rows as users=",
        ),
        ({"relevant": Ratings([(1, 2)], [3]), "users": [1, 2]}, ValueError, "recommended has 1 users, users 2"),
        ({"item_vectors": np.ones((3, 2))}, ValueError, "item_vectors is given without train"),
        ({"recommended": [[1, 1, 2]]}, ValueError, "row 0 recommends 1 more than once"),
        (
            {"relevant": [[1, 2, 5, 6]], "metrics": "r_precision"},
            ValueError,
            "row 0 has 4 of them and 3 recommended items",
        ),
    ],
)
def test_refused(arguments, kind, sentence):
    given_ = {"recommended": [[1, 2, 3]], "relevant": [{1: 1.0}]} | arguments
    with pytest.raises(kind, match=sentence) as error:
        ranking_scores(given_.pop("recommended"), given_.pop("relevant"), **given_)
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize(
    ("vectors", "kind", "sentence"),
    [
        (np.ones((4, 2)), ValueError, "item_vectors has 4 rows for 3 items"),
        (np.ones(3), ValueError, r"item_vectors has shape \(3,\)"),
        (np.array([[1], [np.nan], [0]]), ValueError, "item_vectors has values that are not finite"),
        ([["a"], ["b"], ["c"]], TypeError, "item_vectors are not numbers"),
    ],
)
def test_vectors_refused(vectors, kind, sentence):
    train = Ratings([(1, item) for item in range(3)], np.ones(3))
    with pytest.raises(kind, match=sentence):
        ranking_scores([[1, 2]], [[1]], train=train, item_vectors=vectors)


# ---------------------------------------------------------------------------------------------------------------------
# A model


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    rated = rng.random((30, 25)) < 0.4
    R = Ratings(scipy.sparse.csr_array(rated * rng.integers(1, 6, rated.shape).astype(float)))
    held_out = rng.random(len(R)) < 0.25
    train, test = R.select(~held_out), R.select(held_out)
    return alsx.FactorALS(3, random_state=0, max_iter=3).fit(train), train, test


@pytest.mark.parametrize("at_a_time", [1, 50, 2**21])
def test_evaluate_is_errors_and_lists(fitted, at_a_time, monkeypatch):
    from alsx.metrics import _evaluate, mae, rmse

    monkeypatch.setattr(_evaluate, "LISTED_AT_A_TIME", at_a_time)
    model, train, test = fitted
    scores = evaluate(model, test, (2, 5), min_rating=4)
    predicted = model.predict(test)
    assert scores["rmse"] == pytest.approx(rmse(test.by_user.values, predicted), rel=1e-12)
    assert scores["mae"] == pytest.approx(mae(test.by_user.values, predicted), rel=1e-12)
    liked = np.unique(test.user_ids[test.triples()[0][test.by_user.values >= 4]])
    lists = model.recommend(liked, 5)[0]
    wanted = ranking_scores(lists, test, (2, 5), users=liked, min_rating=4, train=train)
    assert list(scores) == ["rmse", "mae", *wanted]
    for name, value in wanted.items():
        assert scores[name] == pytest.approx(value, rel=1e-12)


def test_evaluate_ranks_all_items_for_auc(fitted):
    model, train, test = fitted
    scores = evaluate(
        model, test, 2, metrics=("auc", "r_precision", "recall"), min_rating=5, recommend={"strategy": "mean"}
    )
    rated = train.to_csr().toarray() > 0
    relevant = test.to_csr().toarray() >= 5
    predicted = np.array([model.predict(user, model.item_ids_, clip=False) for user in range(train.n_users)])
    wanted = []
    for user in np.flatnonzero(relevant.any(axis=1)):
        left = ~rated[user]
        good, other = predicted[user][left & relevant[user]], predicted[user][left & ~relevant[user]]
        wanted.append((good[:, None] > other).mean())
    np.testing.assert_allclose(scores["auc"].by_user, wanted, rtol=1e-12)
    assert list(scores) == ["auc", "r_precision", "recall@2"]


@pytest.mark.parametrize("strategy", ["propensity", "mean", "lower"])
@pytest.mark.parametrize("scores_at_a_time", [1, 60, 2**22])
def test_ranks_are_those_of_whole_lists(fitted, strategy, scores_at_a_time, monkeypatch):
    """What a model tells of ranks is what its lists of all items show, whatever is left out, and for ties."""
    from alsx._models import top_n

    monkeypatch.setattr(top_n, "CHUNK_SCORES", scores_at_a_time)
    model, _, test = fitted

    class Lists:
        def __init__(self, model):
            self.model, self.item_ids_ = model, model.item_ids_

        def recommend(self, users, n, **options):
            return self.model.recommend(users, n, **options)

    constant = alsx.BiasALS().fit([(u, i) for u in range(30) for i in range(25) if (u + i) % 3], np.full(500, 3.0))
    for each in (model, constant):
        for options in ({}, {"min_ratings": 12}, {"exclude_rated": False}, {"candidates": [3, 4, 9, 20, 21]}):
            options = options | {"strategy": strategy}
            found, wanted = (
                evaluate(x, test, 3, metrics=("auc", "r_precision", "recall"), recommend=options)
                for x in (each, Lists(each))
            )
            for name in wanted:
                np.testing.assert_allclose(found[name].by_user, wanted[name].by_user, rtol=1e-12)


def test_evaluate_passes_options_and_needs_no_predictions(fitted):
    model, _, test = fitted
    few = evaluate(model, test, 3, metrics="coverage", recommend={"candidates": model.item_ids_[:4]})
    assert few["coverage@3"] <= 4 / 25

    class Lists:
        item_ids_, item_counts_, user_ids_ = model.item_ids_, model.item_counts_, model.user_ids_

        def recommend(self, users, n):
            return model.recommend(users, n)

    scores, whole = evaluate(Lists(), test), evaluate(model, test)
    assert "rmse" not in scores
    assert scores["ndcg@10"] == whole["ndcg@10"]
    vectors = evaluate(model, test, 3, metrics="diversity", item_vectors=model.item_factors_)
    assert 0 < vectors["diversity@3"] < 2


def test_a_model_that_ranks_is_judged_by_its_lists_alone(fitted):
    model, train, test = fitted
    ranking = alsx.RankALS(3, max_iter=2, random_state=0).fit(train)
    assert set(evaluate(model, test)) - set(evaluate(ranking, test)) == {"rmse", "mae"}
    with pytest.raises(ValueError, match="metrics has 'rmse', but what RankALS predicts are no ratings: leave it out"):
        evaluate(ranking, test, metrics=("rmse", "ndcg"))
    np.testing.assert_array_equal(ranking.recommend(0, 5)[0], ranking.recommend(0, 5, strategy="mean")[0])


def test_evaluate_refused(fitted):
    model, _, test = fitted
    with pytest.raises(ValueError, match="metrics has 'mse'; it must be of rmse, mae, precision"):
        evaluate(model, test, metrics="mse")
    with pytest.raises(ValueError, match="test has no relevant item: min_rating is 9; it must be at most 5"):
        evaluate(model, test, min_rating=9)
    with pytest.raises(ValueError, match="metrics is empty"):
        evaluate(model, test, metrics=[])
    with pytest.raises(TypeError, match="item_vectors is given, but the model has no item_ids_"):
        evaluate(type("M", (), {"recommend": None})(), test, item_vectors=np.ones((2, 2)))
