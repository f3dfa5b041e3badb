"""Lists: what may appear in them, whose they are, frames, unknown ids; the same for all strategies."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import reference
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import alsx
from alsx import BiasALS, Ratings, _pool, _scores
from alsx._models import top_n
from alsx._models.side import Packed
from alsx._models.strategies import STRATEGIES
from alsx._models.top_n import CodeSets, Limits, Product
from alsx._solver.tables import factor_table
from alsx.datasets import make_ratings

MISSING = np.iinfo(np.int64).min


@pytest.fixture(scope="module")
def model():
    R = make_ratings(60, 45, 900, random_state=0)
    return alsx.FactorALS(3, max_iter=4, random_state=0).fit(R)


@pytest.fixture(scope="module")
def named():
    R = make_ratings(30, 25, 400, random_state=1)
    u, i, r = R.triples()
    users, items = np.array([f"u{x:02d}" for x in range(30)]), np.array([f"Film {x}" for x in range(25)])
    return alsx.FactorALS(2, max_iter=3, random_state=0).fit(alsx.Ratings.from_arrays(users[u], items[i], r))


def rated(model, user):
    code = model._users.ids.codes(user)
    return set(model.item_ids_[model._seen.indices[model._seen.indptr[code] : model._seen.indptr[code + 1]]].tolist())


def found(ids):
    """The items of a list, without its padding."""
    return [x for x in ids.tolist() if x != MISSING]


def full_scores(model, user, strategy):
    """The score of every item, by a list of all."""
    ids, scores = model.recommend(user, len(model.item_ids_), exclude_rated=False, strategy=strategy, random_state=7)
    return dict(zip(ids.tolist(), scores.tolist(), strict=True))


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_filters_mean_the_same_for_all_strategies(model, strategy):
    rng = np.random.default_rng(3)
    users = model.user_ids_[[4, 0, 33]]
    everything = set(model.item_ids_.tolist())
    options = {"strategy": strategy, "random_state": 7}
    some = rng.choice(model.item_ids_, 20, replace=False)
    own = {user: rng.choice(model.item_ids_, 12, replace=False) for user in users.tolist()}
    without = {int(users[0]): own[int(users[0])], 987654: [1]}
    asked = {
        "none": ({}, lambda user: everything - rated(model, user)),
        "rated too": ({"exclude_rated": False}, lambda user: everything),
        "candidates": ({"candidates": some}, lambda user: set(some.tolist()) - rated(model, user)),
        "a set": ({"candidates": set(some.tolist())}, lambda user: set(some.tolist()) - rated(model, user)),
        "excluded": ({"exclude": [*some, 10**6]}, lambda user: everything - set(some.tolist()) - rated(model, user)),
        "by user": ({"candidates": own, "exclude_rated": False}, lambda user: set(own[user].tolist())),
        "by place": (
            {"candidates": [own[u] for u in users.tolist()], "exclude": without},
            lambda user: set(own[user].tolist()) - rated(model, user) - set(without.get(user, np.array([])).tolist()
                                                                            if user in without else []),
        ),
        "both": (
            {"candidates": own, "exclude": some, "min_ratings": 15},
            lambda user: {
                x for x in set(own[user].tolist()) - rated(model, user) - set(some.tolist())
                if model.item_counts_[model._items.ids.codes(x)] >= 15
            },
        ),
    }  # fmt: skip
    for name, (filters, expected) in asked.items():
        ids, scores = model.recommend(users, 45, **filters, **options)
        for row, user in enumerate(users.tolist()):
            assert set(found(ids[row])) == expected(user), name
            whole = full_scores(model, user, strategy)
            best = sorted(expected(user), key=lambda x: (-whole[x], x))
            assert found(ids[row]) == best, name
            np.testing.assert_allclose(scores[row, : len(best)], [whole[x] for x in best], rtol=1e-5)
            assert np.isnan(scores[row, len(best) :]).all()
            if "candidates" not in filters or not isinstance(filters["candidates"], list):
                alone = model.recommend(user, 45, **filters, **options)
                np.testing.assert_array_equal(alone[0], ids[row])
                np.testing.assert_array_equal(alone[1], scores[row])


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_gaps_appear_only_if_they_are_asked_for(strategy):
    matrix = sp.csr_array(([3.0, 4.0, 2.0, 5.0, 1.0, 3.0], ([0, 1, 1, 2, 2, 0], [0, 0, 9, 9, 4, 4])), shape=(3, 12))
    model = alsx.FactorALS(2, random_state=0, max_iter=3).fit(matrix)
    ids, _ = model.recommend(0, 12, strategy=strategy, random_state=0, exclude_rated=False)
    assert sorted(found(ids)) == [0, 4, 9]
    ids, _ = model.recommend(0, 12, candidates=[9, 7, 3], strategy=strategy, random_state=0)
    assert sorted(found(ids)) == [3, 7, 9]
    ids, _ = model.recommend([0, 1], 12, candidates={0: [7], 1: [4, 2]}, strategy=strategy, random_state=0)
    assert [sorted(found(row)) for row in ids] == [[7], [2, 4]]


def test_filters_that_cannot_be(model):
    u = model.user_ids_
    unknown = r"candidates: 99999 \(place 1\) is not among the 45 training items; leave it out"
    for wrong, says in (
        ({"candidates": [3, 99999]}, unknown),
        ({"candidates": {int(u[0]): [1]}}, f"candidates has nothing for user {u[1]}"),
        ({"candidates": [[1], [2], [3]]}, "candidates has lists of ids for 3 users, but there are 2"),
        ({"exclude": [[1]]}, "exclude has lists of ids for 1 users, but there are 2"),
        ({"exclude": [1, [2]]}, "exclude has ids and lists of ids"),
        ({"n": 0}, "n is 0"),
        ({"min_ratings": -1}, "min_ratings is -1"),
        ({"unknown": "maybe"}, "unknown is 'maybe'"),
        ({"as_frame": "spark"}, "as_frame is 'spark'"),
        ({"strategy": ["mean"]}, "strategy is"),
    ):
        with pytest.raises(ValueError, match=says):
            model.recommend(u[:2], **wrong)
    with pytest.raises(TypeError, match="exclude: these ids are integers, but row 0 is 'x'"):
        model.recommend(u[:2], exclude=["x"])
    with pytest.raises(ValueError, match="users is None"):
        model.recommend()


def test_an_empty_list_of_candidates_leaves_nothing(model):
    ids, scores = model.recommend(model.user_ids_[:2], 3, candidates=[[], model.item_ids_[:1]], exclude_rated=False)
    assert found(ids[0]) == []
    assert np.isnan(scores[0]).all()
    assert found(ids[1]) == [model.item_ids_[0]]


# Unknown ids


def test_a_single_unknown_user_is_an_error_that_suggests(model, named):
    with pytest.raises(
        ValueError, match=r"users: 61 is unknown: .* nearest are 59, 58, 57\. Give one of them, pass ratings="
    ):
        model.recommend(61)
    with pytest.raises(ValueError, match=r"users: 'U07' is unknown: .* nearest are 'u07'"):
        named.recommend("U07")
    with pytest.raises(ValueError, match=r"items: 'film 7' is unknown: .* nearest are 'Film 7'.* fold it in"):
        named.similar_items("film 7")
    with pytest.raises(ValueError, match="users: 'u77' is unknown"):
        named.recommend(["u01", "u77"], unknown="raise")
    long = alsx.BiasALS().fit([("x" * 400 + "a", 1), ("x" * 400 + "b", 2), ("u", 1)], [3.0, 4.0, 5.0])
    for call in (lambda: long.recommend("x" * 400), lambda: long.explain("x" * 400, 1)):
        with pytest.raises(ValueError, match=r"is unknown: .* nearest are 'x") as error:
            call()
        assert len(str(error.value)) <= 300
    for one in (-(10**30), 10**30):
        with pytest.raises((ValueError, TypeError)) as error:
            model.recommend(one)
        assert len(str(error.value)) <= 300
    with pytest.warns(UserWarning, match="2 of 3 predictions"):
        ids, scores = model.recommend([-1, -2, 5], 4, strategy="mean")
    one_ids, one_scores = model.recommend(-1, 4, unknown="prior", strategy="mean")
    np.testing.assert_array_equal(ids[0], one_ids)
    np.testing.assert_array_equal(scores[0], one_scores)
    codes = model._items.ids.codes(one_ids)
    np.testing.assert_allclose(one_scores, model._predict_codes(np.full(4, -1, np.int32), codes, False), rtol=1e-6)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30, unique=True), st.integers(-(2**41), 2**41))
@settings(max_examples=50)
def test_near_numbers_are_the_nearest(values, one):
    from alsx.ratings import Ids

    near = Ids(np.sort(np.array(values))).near(one)
    expected = sorted(values, key=lambda x: (abs(x - one), x))[: len(near)]
    assert len(near) == min(3, len(values))
    assert [abs(x - one) for x in near] == [abs(x - one) for x in expected]


# Somebody who was not in training


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_ratings_of_somebody_new_in_one_call(model, strategy):
    stars = {int(x): s for x, s in zip(model.item_ids_[[3, 8, 20]], (5.0, 1.0, 4.0), strict=True)}
    options = {"strategy": strategy, "random_state": 3, "n": 9}
    ids, scores = model.recommend(ratings=stars, **options)
    folded = model.fold_in([(777, item) for item in stars], list(stars.values()))
    expected = folded.recommend(777, **options)
    assert ids.shape == (9,)
    if strategy == "thompson":  # another draw, since rows have other numbers
        assert len(set(ids.tolist()) & set(stars)) == 0
        return
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-6)


def test_ratings_of_several_new_users(model):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"user": np.repeat([900, 901, 3], 6), "item": np.tile(rng.choice(model.item_ids_, 6, replace=False), 3),
         "rating": rng.integers(1, 6, 18).astype(float)}
    )  # fmt: skip
    folded = model.fold_in(frame)
    ids, scores = model.recommend(ratings=frame, n=5)
    expected = folded.recommend([3, 900, 901], 5)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-6)
    ids, scores = model.recommend([901, 3], 5, ratings=frame, candidates={901: model.item_ids_[:9], 3: model.item_ids_})
    assert set(ids[0].tolist()) <= {*model.item_ids_[:9].tolist(), MISSING}
    np.testing.assert_array_equal(ids[1], expected[0][0])
    pairs = frame[["user", "item"]].to_numpy().tolist(), frame["rating"].tolist()
    np.testing.assert_array_equal(model.recommend(ratings=pairs, n=5)[0], expected[0])
    # The ratings of a known user stand instead of those of the fit, what he rated then may be recommended again.
    assert set(model.recommend(3, 45, ratings=frame)[0].tolist()) & rated(model, 3)
    one = model.recommend(ratings={int(model.item_ids_[0]): 3.0}, n=3, as_frame="arrow").to_pydict()
    assert one["user"] == [None] * 3
    # The model stays as it is.
    assert len(model.user_ids_) == 60


@pytest.mark.parametrize(
    "ids", [[0, 1, 2], [-5, 3], [0, 2**63 - 1], np.array([0, 2**64 - 2], np.uint64), ["a", "b"], ["a", "zzz"]]
)
def test_somebody_without_an_id_is_nobody_known(ids):
    from alsx._models.recommendations import new_id
    from alsx.ratings import Ids

    known = Ids(np.array(ids))
    one = new_id(known)
    assert known.codes([one])[0] == -1
    assert Ids(np.array([one])).kind == known.kind
    users = np.repeat(known.values, 2)
    model = BiasALS().fit(Ratings.from_arrays(users, np.tile([1, 2], len(ids)), np.arange(1.0, 2 * len(ids) + 1)))
    assert model.recommend(ratings={1: 3.0}, n=1)[0].tolist() == [2]


def test_ratings_that_cannot_be(model, named):
    for wrong, says in (
        ({"ratings": {}}, "ratings is empty"),
        ({"ratings": {99999: 3.0}}, "ratings: item 99999 was not among the training ratings"),
        ({"ratings": {3: float("nan")}}, "ratings: row 0 is nan"),
        ({"ratings": {3: 5.0}, "users": [1, 2]}, "ratings is a mapping of items, which is one person's"),
    ):
        with pytest.raises(ValueError, match=says):
            model.recommend(**wrong)
    assert named.recommend(ratings={"Film 3": 5.0}, n=2)[0].shape == (2,)
    assert named.recommend("zoe", ratings={"Film 3": 5.0}, n=2)[0].shape == (2,)
    with pytest.raises(ValueError, match="users: 'yan' is unknown"):
        named.recommend("yan", ratings=([("zoe", "Film 3")], [5.0]))


# Frames


def test_frames(named):
    users = ["u03", "u01"]
    named.set_titles({f"Film {x}": f"The film no. {x}" for x in range(20)})
    ids, scores = named.recommend(users, 25)
    frame = named.recommend(users, 25, as_frame=True)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["user", "rank", "item", "title", "score"]
    at = 0
    for row, user in enumerate(users):
        n = int(np.isfinite(scores[row]).sum())
        part = frame.iloc[at : at + n]
        assert part["user"].tolist() == [user] * n
        assert part["rank"].tolist() == list(range(1, n + 1))
        assert part["item"].tolist() == ids[row, :n].tolist()
        np.testing.assert_array_equal(part["score"], scores[row, :n])
        for item, title in zip(part["item"], part["title"], strict=True):
            number = int(item.split()[1])
            assert pd.isna(title) if number >= 20 else title == f"The film no. {number}"
        at += n
    assert at == len(frame)
    assert isinstance(named.recommend(users, 2, as_frame="polars"), pl.DataFrame)
    similar = named.similar_items("Film 3", 4, as_frame="arrow")
    assert similar.column_names == ["of", "rank", "item", "title", "score"]
    assert similar["item"].to_pylist() == named.similar_items("Film 3", 4)[0].tolist()
    assert named.similar_users("u03", 4, as_frame="arrow").column_names == ["of", "rank", "user", "score"]


def test_titles_of_all_kinds_are_saved(named, tmp_path):
    titles = pd.DataFrame({"item": ["Film 0", "Film 1"], "title": ["Zero", "One"], "year": [1990, 1991]})
    named.set_titles(titles)
    named.save(tmp_path / "m.npz")
    again = alsx.load(tmp_path / "m.npz")
    for model in (named, again, again.fold_in([("zoe", "Film 3")], [4.0])):
        frame = model.recommend("u03", candidates=["Film 0", "Film 1"], exclude_rated=False, as_frame="arrow")
        assert dict(zip(frame["item"].to_pylist(), frame["title"].to_pylist(), strict=True)) == {
            "Film 0": "Zero", "Film 1": "One"
        }  # fmt: skip
    with pytest.raises(ValueError, match="titles has no column title"):
        named.set_titles(titles[["item", "year"]])
    with pytest.raises(TypeError, match="titles is of type int"):
        named.set_titles(3)
    with pytest.raises(TypeError, match="titles: these ids are strings"):
        named.set_titles({3: "x"})
    with pytest.raises(ValueError, match="titles is empty"):
        named.set_titles({})


# Similar users and items


def test_similar_users_are_the_cosines_of_their_factors(model):
    p = model.user_factors_.astype(np.float64)
    unit = p / np.linalg.norm(p, axis=1)[:, None]
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    ids, scores = model.similar_users(model.user_ids_, 5)
    np.testing.assert_allclose(scores, -np.sort(-cosine, axis=1)[:, :5], atol=1e-5)
    one, one_scores = model.similar_users(model.user_ids_[7], 5)
    np.testing.assert_array_equal(one, ids[7])
    np.testing.assert_array_equal(one_scores, scores[7])
    floor = int(np.median(model.user_counts_))
    often, _ = model.similar_users(model.user_ids_[:4], 60, min_ratings=floor)
    assert set(often.ravel().tolist()) <= {MISSING, *model.user_ids_[model.user_counts_ >= floor].tolist()}
    ids, scores = model.similar_users(-5, 3, unknown="prior")
    cold = model._users.cold_start_vector[:3]
    np.testing.assert_allclose(scores, np.sort(unit @ cold / np.linalg.norm(cold))[::-1][:3], atol=1e-5)
    plain = alsx.FactorALS(3, implicit_features=None, random_state=0, max_iter=2).fit(
        make_ratings(60, 45, 900, random_state=0)
    )
    with pytest.raises(ValueError, match=r"users: -5 \(place 1\) is unknown, and the model expects nothing"):
        plain.similar_users([1, -5], unknown="prior")


@pytest.mark.parametrize("ask", ["similar_items", "similar_users", "recommend"])
def test_no_call_packs_the_catalogue_again(model, ask, monkeypatch):
    getattr(model, ask)(5)
    monkeypatch.setattr(Packed, "of", lambda *args: pytest.fail("packed again"))
    for row in range(5):
        getattr(model, ask)(row)


# The steps below


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_sets_of_codes(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))

    def some():
        return [rng.choice(n, rng.integers(0, n + 1), replace=False) for _ in range(5)]

    a, b = some(), some()

    def lists(sets):
        return [sorted(set(sets.indices[i:j].tolist())) for i, j in zip(sets.indptr, sets.indptr[1:], strict=False)]

    left, right = CodeSets.of(a), CodeSets.of(b)
    assert lists(left) == [sorted(x.tolist()) for x in a]
    assert lists(left.joined(right)) == [sorted({*x.tolist(), *y.tolist()}) for x, y in zip(a, b, strict=True)]
    assert lists(left.complement(n, [])) == [sorted(set(range(n)) - set(x.tolist())) for x in a]
    without = [sorted((set(range(n)) - {*x.tolist()}) | {*y.tolist()}) for x, y in zip(a, b, strict=True)]
    assert lists(left.complement(n, [right])) == without
    rows = rng.integers(-1, 5, 9)
    assert lists(left.of_rows(rows)) == [[] if row < 0 else sorted(a[row].tolist()) for row in rows]
    assert lists(CodeSets.singles(np.array([3, -1, 0]))) == [[3], [], [0]]
    joined = left.joined(right)
    for i, j in zip(joined.indptr, joined.indptr[1:], strict=False):
        assert (np.diff(joined.indices[i:j]) >= 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_items", [1, 399, 400, 1300])
def test_the_best_are_those_of_the_slow_twin(dtype, n_items, everything_shared):
    rng = np.random.default_rng(n_items)
    table = factor_table(n_items, 4, np.dtype(dtype))
    table[:, :5] = rng.integers(-3, 4, (n_items, 5))  # whole numbers, so that there are ties
    vectors = factor_table(6, 4, np.dtype(dtype))
    vectors[:, :4] = rng.integers(-3, 4, (6, 4))
    base = rng.normal(size=6)
    constants = rng.integers(-5, 6, n_items)
    allowed = rng.random(n_items) < 0.8
    rows = np.array([0, 1, 2, -1, 1, 0], np.int32)
    rated_sets = CodeSets.of([rng.choice(n_items, n_items // 3, replace=False) for _ in range(3)])
    scores = vectors[:, :4] @ table[:, :4].T + table[:, 4] + constants
    scores = np.where(allowed, scores, -np.inf)
    for place, row in enumerate(rows):
        if row >= 0:
            scores[place, rated_sets.indices[rated_sets.indptr[row] : rated_sets.indptr[row + 1]]] = -np.inf
    product = Product(vectors, 4, base, Packed.of(table, 4, 1).plus(constants))
    codes, best = reference.top_n(scores, 7)
    for n_threads in (1, 2, 5):
        lists = top_n.best(product, Limits(allowed, rated_sets, rows), 7, n_threads)
        width = codes.shape[1]
        np.testing.assert_array_equal(lists.codes[:, :width], codes)
        kept = codes >= 0
        np.testing.assert_allclose(lists.scores[:, :width][kept], (best + base[:, None])[kept], rtol=1e-6)
        assert np.isnan(lists.scores[:, :width][~kept]).all()
        assert (lists.codes[:, width:] == -1).all()


def test_a_small_catalogue_is_not_cut_into_slices(model, monkeypatch):
    seen = []
    kernel = _scores.top_n

    def spy(*args):
        seen.append(args[6])
        return kernel(*args)

    monkeypatch.setattr(_scores, "top_n", spy)
    model.set_params(n_jobs=4).recommend(3)
    assert seen == [1]
    before = _pool.set_least_share(0)
    try:
        R = make_ratings(40, 1700, 3000, random_state=0)
        alsx.BiasALS(n_jobs=4).fit(R).recommend(3)
    finally:
        _pool.set_least_share(before)
        model.set_params(n_jobs=None)
    assert seen[1] > 1
