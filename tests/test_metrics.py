"""Metrics against figures worked out by hand."""

import math
import pickle

import numpy as np
import pytest

from alsx import Ratings, metrics
from alsx.metrics import Score, mae, ndcg_at_n, precision_at_n, recall_at_n, relevant_items, rmse
from alsx.metrics._ranks import METRICS

RANKED = (precision_at_n, recall_at_n, ndcg_at_n)


@pytest.mark.parametrize("kind", [list, np.array, lambda x: np.array(x, "f4"), tuple])
def test_errors_by_hand(kind):
    true, predicted = kind([1, 2, 3, 4]), kind([1, 4, 3, 1])  # errors 0, -2, 0, 3
    assert rmse(true, predicted) == pytest.approx(math.sqrt(13 / 4), rel=1e-15)
    assert mae(true, predicted) == pytest.approx(5 / 4, rel=1e-15)
    assert rmse(true, predicted, sample_weight=kind([1, 3, 0, 4])) == pytest.approx(math.sqrt(48 / 8), rel=1e-15)
    assert mae(true, predicted, kind([1, 3, 0, 4])) == pytest.approx(18 / 8, rel=1e-15)
    assert rmse(true, true) == mae(true, true) == 0
    assert type(rmse(true, true)) is type(mae(true, predicted)) is float


def test_errors_are_in_double_precision_and_do_not_overflow():
    true = np.full(100_000, 0.1, "f4")
    assert rmse(true, np.zeros(100_000, "f4")) == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    assert rmse([1e200, 1e200], [0, 0]) == pytest.approx(1e200)
    assert rmse([1e-200, 1e-200], [0, 0]) == pytest.approx(1e-200)
    assert rmse([0, 2], [0, 0], [1e308, 1e308]) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("error", [rmse, mae])
@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        (([1, 2], [1]), ValueError, "lengths differ: y_true 2, y_pred 1"),
        (([], []), ValueError, "y_true is empty"),
        (([1, float("nan")], [1, 2]), ValueError, "y_true: row 1 is nan"),
        (([1, 2], [float("inf"), 2]), ValueError, "y_pred: row 0 is inf"),
        (([1, "a"], [1, 2]), TypeError, "y_true: row 1 is 'a' .str.; it must be a number"),
        (([[1, 2]], [[1, 2]]), TypeError, r"y_true: row 0 is \[1, 2\] .list.; it must be a number"),
        ((np.ones((1, 2)), np.ones((1, 2))), ValueError, r"shape \(1, 2\)"),
        (([1, 2], [1, 2], [1]), ValueError, "sample_weight 1"),
        (([1, 2], [1, 2], [1, -1]), ValueError, "sample_weight: row 1 is -1"),
        (([1, 2], [1, 2], [0, 0]), ValueError, "sample_weight is 0 in every row"),
        (([1, 2], [1, 2], [1, float("nan")]), ValueError, "sample_weight: row 1 is nan"),
    ],
)
def test_errors_refused(error, arguments, kind, sentence):
    with pytest.raises(kind, match=sentence):
        error(*arguments)


# Four users: two of three found at ranks 1 and 3; none of one; nothing relevant; one of five, at rank 2, in a short list.
RECOMMENDED = np.array([[10, 20, 30, 40], [10, 20, 30, 40], [10, 20, 30, 40], [60, 50, -1, -1]])
RELEVANT = [[30, 10, 99], {70}, [], (50, 51, 52, 53, 54)]
IDEAL = [1 + 1 / math.log2(3) + 1 / 2, 1, 1, 1 + 1 / math.log2(3) + 1 / 2 + 1 / math.log2(5)]
BY_HAND = {
    precision_at_n: [2 / 4, 0, math.nan, 1 / 4],
    recall_at_n: [2 / 3, 0, math.nan, 1 / 5],
    ndcg_at_n: [(1 + 1 / 2) / IDEAL[0], 0, math.nan, (1 / math.log2(3)) / IDEAL[3]],
}
BY_HAND_AT_2 = {
    precision_at_n: [1 / 2, 0, math.nan, 1 / 2],
    recall_at_n: [1 / 3, 0, math.nan, 1 / 5],
    ndcg_at_n: [1 / (1 + 1 / math.log2(3)), 0, math.nan, (1 / math.log2(3)) / (1 + 1 / math.log2(3))],
}


def kinds():
    texts = [[str(x) if x >= 0 else "" for x in row] for row in RECOMMENDED.tolist()]
    text_items = [[str(x) for x in items] for items in RELEVANT]
    return {
        "integers": (RECOMMENDED, RELEVANT),
        "lists": (RECOMMENDED.tolist(), [list(x) for x in RELEVANT]),
        "arrays": (RECOMMENDED.astype(np.int32), [np.array(sorted(x), int) for x in RELEVANT]),
        "empty as float": (RECOMMENDED, [np.array(sorted(x)) for x in RELEVANT]),
        "strings": (texts, text_items),
        "string arrays": (np.array(texts), [np.array(x, str) for x in text_items]),
        "objects": (np.array(texts, object), text_items),
        "repeated": (RECOMMENDED, [[*x, *x] for x in RELEVANT]),
        "unsigned": (np.where(RECOMMENDED < 0, 0, RECOMMENDED).astype(np.uint64), RELEVANT),
    }


KINDS = kinds()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", RANKED)
def test_ranks_by_hand(metric, kind):
    recommended, relevant = KINDS[kind]
    for n, wanted in ((None, BY_HAND), (4, BY_HAND), (2, BY_HAND_AT_2)):
        score = metric(recommended, relevant, n)
        np.testing.assert_allclose(score.by_user, wanted[metric], rtol=1e-15)
        assert score == pytest.approx(np.nanmean(wanted[metric]), rel=1e-15)
        assert (score.n_users, score.n_skipped) == (3, 1)


@pytest.mark.parametrize("metric", RANKED)
def test_perfect_lists_and_one_user(metric):
    assert metric([[3, 1, 2]], [[1, 2, 3]]) == 1
    assert metric([3, 1, 2], [1, 2, 3]) == 1
    assert metric(["b", "a"], {"a", "b"}) == 1
    # All that can be had: one relevant item, in front.
    assert metric([[3, 1, 2]], [[3]]) == (1 if metric is not precision_at_n else pytest.approx(1 / 3))
    assert metric([[3, 1]], [[1, 2, 3, 4]]) == (1 if metric is not recall_at_n else pytest.approx(1 / 2))


@pytest.mark.parametrize("metric", RANKED)
def test_no_user_with_relevant_items_is_nan(metric):
    score = metric([[1, 2], [3, 4]], [[], []])
    assert math.isnan(score)
    assert (score.n_users, score.n_skipped) == (0, 2)


def test_score_is_a_float_that_tells_and_travels():
    score = precision_at_n(RECOMMENDED, RELEVANT)
    assert isinstance(score, float)
    assert repr(score) == "Score(0.25, mean of 3 users, 1 without relevant items skipped)"
    assert str(score) == f"{score}" == "0.25"
    again = pickle.loads(pickle.dumps(score))
    assert again == score
    assert type(again) is Score
    np.testing.assert_array_equal(again.by_user, score.by_user)
    assert repr(precision_at_n([[1]], [[1]])) == "Score(1.0, mean of 1 user)"


@pytest.mark.parametrize("metric", RANKED)
@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        (([[1, 2]], [[1], [2]]), ValueError, "recommended has 1 users, relevant 2"),
        (([[1, 2]], [[1]], 3), ValueError, "n is 3, but recommended has only 2"),
        (([[1, 2]], [[1]], 0), ValueError, "n is 0"),
        (([[1, 2]], [[1]], 1.5), TypeError, "n is 1.5"),
        (([[1, 1]], [[1]]), ValueError, "row 0 recommends 1 more than once"),
        (([["a", "b", "a"]], [["a"]]), ValueError, "row 0 recommends 'a' more than once"),
        (([[1, 2], [3]], [[1], [2]]), ValueError, "row 1 has 1 items, row 0 has 2"),
        (([["1", "2"]], [[1]]), TypeError, "recommended: these ids are integers, but row 0 is '1'"),
        (([[1, 2]], [["1"]]), TypeError, "these ids are strings, but row 0 is 1"),
        (([[1, 2], [1, 2]], [["1"], [1]]), TypeError, "relevant mixes integers and strings"),
        (([[1.0, 2.0]], [[1]]), TypeError, "recommended: row 0 is 1.0 .float.; ids must be integers or strings"),
        (([[1, 2]], [[1.5]]), TypeError, r"relevant\[0\]: row 0 is 1\.5 .float.; ids must be integers or strings"),
        (([[1, 2]], [1]), TypeError, "relevant: row 0 is of type int"),
        (([[1, 2]], ["ab"]), TypeError, "relevant: row 0 is of type str"),
        (([[1, 2]], {0: [1]}), TypeError, "relevant is of type dict"),
        (([[1, 2]], Ratings([(1, 2)], [1])), TypeError, r"relevant is a Ratings.*relevant_items\(relevant, users\)"),
        ((np.ones((1, 1, 1), int), [[1]]), ValueError, r"shape \(1, 1, 1\)"),
        ((np.ones((2, 0), int), [[1], [1]]), ValueError, "no columns"),
    ],
)
def test_ranks_refused(metric, arguments, kind, sentence):
    with pytest.raises(kind, match=sentence):
        metric(*arguments)


def test_ranks_of_many_users_against_a_loop():
    rng = np.random.default_rng(0)
    recommended = np.array([rng.permutation(50)[:10] for _ in range(300)])
    relevant = [rng.permutation(50)[: rng.integers(0, 20)] for _ in range(300)]
    for n in (1, 5, 10):
        wanted = {metric: [] for metric in RANKED}
        for row, right in zip(recommended.tolist(), map(set, map(np.ndarray.tolist, relevant)), strict=True):
            if not right:
                continue
            ranks = [rank for rank, item in enumerate(row[:n], 1) if item in right]
            wanted[precision_at_n].append(len(ranks) / n)
            wanted[recall_at_n].append(len(ranks) / len(right))
            best = sum(1 / math.log2(rank + 1) for rank in range(1, min(n, len(right)) + 1))
            wanted[ndcg_at_n].append(sum(1 / math.log2(rank + 1) for rank in ranks) / best)
        for metric in RANKED:
            score = metric(recommended, relevant, n)
            assert score == pytest.approx(np.mean(wanted[metric]), rel=1e-12)
            assert score.n_users == len(wanted[metric])


def test_relevant_items():
    R = Ratings.from_arrays(["ann", "ann", "bob", "ann"], [7, 3, 3, 9], [4.0, 2.0, 5.0, 3.3])
    lists = relevant_items(R, ["bob", "nobody", "ann"])
    assert [x.tolist() for x in lists] == [[3], [], [3, 7, 9]]
    assert [x.tolist() for x in relevant_items(R, ["ann"], min_rating=3.3)] == [[7, 9]]
    assert [x.tolist() for x in relevant_items(R, "ann", min_rating=4)] == [[7]]
    assert [x.tolist() for x in relevant_items(R.to_csr(), [0])] == [[0, 1, 2]]
    with pytest.raises(TypeError, match="users: these ids are strings"):
        relevant_items(R, [1])
    with pytest.raises((TypeError, ValueError), match="min_rating"):
        relevant_items(R, ["ann"], min_rating=float("nan"))
    score = recall_at_n([[3, 7], [7, 8], [9, 1]], relevant_items(R, ["bob", "nobody", "ann"]))
    np.testing.assert_allclose(score.by_user, [1, math.nan, 1 / 3])


def test_docstrings():
    for metric in RANKED:
        assert "Parameters\n" in metric.__doc__
    # The module's own docstring defines what can be asked for.
    for name in METRICS:
        assert f"``{name}" in metrics.__doc__
