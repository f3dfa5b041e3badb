"""What follows a fit and what ends it: callbacks, early stopping, interruptions, warm starts, progress."""

import logging
import os
import pickle
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
import reference
import scipy.sparse as sp
from hypothesis import given
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import alsx
from alsx import BayesALS, BiasALS, FactorALS, Ratings
from alsx._models import progress, training
from alsx._models.stopping import Course, StoppingRules
from alsx._solver.alternation import Alternation, Iteration, TrainingSide
from alsx.datasets import make_ratings
from alsx.model_selection import train_test_split


@pytest.fixture(scope="module")
def split():
    """Training and test ratings."""
    return train_test_split(make_ratings(60, 40, 900, random_state=1), 0.2, random_state=0)


def models(**parameters):
    """Each model, so that none stops by itself."""
    return [
        BiasALS(**{"max_iter": 12, "tol": 0, "random_state": 0, "n_jobs": 1, **parameters}),
        FactorALS(**{"k": 4, "max_iter": 12, "tol": 0, "random_state": 0, "n_jobs": 1, **parameters}),
        BayesALS(
            **{
                "k": 3,
                "n_samples": 9,
                "burn_in": 3,
                "als_iter": 2,
                "keep_samples": 3,
                "random_state": 0,
                "n_jobs": 1,
                **parameters,
            }
        ),
    ]


def with_iterations(model, n):
    """The same model with so many iterations, and nothing else that could end the fit."""
    plain = clone(model).set_params(callback=None, early_stopping=False, on_interrupt="raise", warm_start=False)
    return plain.set_params(
        **({"n_samples": n - 3, "keep_samples": 0} if isinstance(model, BayesALS) else {"max_iter": n})
    )


def assert_same_model(one, two, data):
    """Two models are the same, bit for bit, in all that they know."""
    for a, b in ((one._users, two._users), (one._items, two._items)):
        np.testing.assert_array_equal(a.table, b.table)
        np.testing.assert_array_equal(a.cold_start_vector, b.cold_start_vector)
    u, i, _ = data.triples()
    pairs = data.user_ids[u], data.item_ids[i]
    for a, b in zip(one.predict(*pairs, return_std=True), two.predict(*pairs, return_std=True), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.user_counts_, two.user_counts_)
    assert one.best_iter_ == two.best_iter_
    if isinstance(one, BayesALS):
        for name, trace in one.traces_.items():
            np.testing.assert_array_equal(trace, two.traces_[name])


# Callbacks


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_callback_gets_each_iteration(split, model):
    seen = []
    model = clone(model).set_params(callback=seen.append).fit(split[0], eval_set=split[1])
    assert [iteration.number for iteration in seen] == list(range(1, 13))
    for name, values in model.history_.items():
        assert [getattr(iteration, name) for iteration in seen] == values
    assert_same_model(model, clone(model).set_params(callback=None).fit(split[0], eval_set=split[1]), split[1])
    assert seen[0].test_rmse is not None
    assert (seen[0].noise_sd is None) == (not isinstance(model, BayesALS))


@pytest.mark.parametrize("stop", [True, np.True_, 1])
@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_a_callback_may_end_the_fit(split, model, stop):
    stopped = clone(model).set_params(callback=lambda iteration: stop if iteration.number == 7 else None).fit(split[0])
    assert stopped.n_iter_ == stopped.best_iter_ == len(stopped.history_["loss"]) == 7
    assert_same_model(stopped, with_iterations(model, 7).fit(split[0]), split[1])


def test_a_chain_may_end_within_its_burn_in(split, tmp_path):
    model = models(callback=lambda iteration: iteration.number == 2)[2].fit(split[0])
    assert model.n_iter_ == 2
    assert {trace.shape for trace in model.traces_.values()} == {(1, 0)}
    assert "noise_sd" in model.traces_
    assert model.samples_ is None
    assert np.isfinite(model.predict(split[1])).all()
    model.save(tmp_path / "m.npz")
    again = alsx.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.predict(split[1]), model.predict(split[1]))
    assert again.traces_["noise_sd"].shape == (1, 0)


def test_an_error_of_a_callback_changes_nothing(split):
    model = FactorALS(3, random_state=0).fit(split[0])
    before = model.predict(split[1])

    def fail(iteration):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        model.set_params(callback=fail, k=5).fit(split[1])
    np.testing.assert_array_equal(model.predict(split[1]), before)
    assert model.item_factors_.shape[1] == 3


def test_a_callback_is_not_saved(split, tmp_path):
    model = FactorALS(3, callback=print_nothing, random_state=0).fit(split[0])
    model.save(tmp_path / "m.npz")
    assert alsx.load(tmp_path / "m.npz").callback is None
    assert pickle.loads(pickle.dumps(model)).callback is print_nothing
    assert clone(model).callback is print_nothing


def print_nothing(iteration):
    """A callback that can be pickled."""


def test_a_fit_that_nobody_follows_takes_one_snapshot(split, monkeypatch):
    taken = []
    snapshot = Alternation.snapshot
    monkeypatch.setattr(Alternation, "snapshot", lambda self: taken.append(1) or snapshot(self))
    FactorALS(3, random_state=0).fit(split[0], eval_set=split[1])
    assert len(taken) == 1


def test_cold_rows_of_the_iterate_that_is_kept_are_predicted_once(split, monkeypatch):
    """Every iterate may be the best one so far, and a ridge for rows without ratings takes longer than an iteration."""
    X = np.random.default_rng(0).normal(size=(45, 3))  # five items more than there are ratings of
    taken = []
    cold_ridge = TrainingSide._cold_ridge
    monkeypatch.setattr(TrainingSide, "_cold_ridge", lambda *given: taken.append(1) or cold_ridge(*given))
    model = FactorALS(3, random_state=0, max_iter=30, tol=0, early_stopping=True, n_iter_no_change=2)
    users, items, ratings = split[0].triples()
    R = sp.csr_array((ratings, (users, items)), shape=(60, 45))
    model.fit(R, eval_set=split[1], item_features=X)
    assert len(taken) == 1
    best = int(np.argmin(model.history_["test_rmse"])) + 1
    assert 1 < best < model.n_iter_
    short = clone(model).set_params(early_stopping=False, max_iter=best)
    short.fit(R, eval_set=split[1], item_features=X)
    np.testing.assert_array_equal(model.item_factors_, short.item_factors_)
    assert np.ptp(model.item_factors_[40:], 0).min() > 0


def test_a_chain_that_is_ended_has_the_samples_so_far(split):
    model = models()[2]
    whole, ended = (
        clone(model).set_params(callback=lambda iteration, stop=stop: iteration.number == stop).fit(split[0])
        for stop in (None, 10)
    )
    assert whole.samples_.draws.tolist() == [0, 4, 8]
    assert ended.samples_.draws.tolist() == [0, 4]
    for a, b in zip(ended.samples_, whole.samples_, strict=True):
        np.testing.assert_array_equal(a, b[:2])


# Early stopping


def iterations(errors, losses=None):
    return [
        Iteration(at + 1, 1.0 if losses is None else losses[at], 1.0, 0.1, None, error)
        for at, error in enumerate(errors)
    ]


@given(
    errors=st.lists(st.one_of(st.integers(0, 6).map(float), st.just(np.nan)), min_size=1, max_size=25),
    patience=st.integers(1, 5),
    burn_in=st.integers(0, 6),
    keeps=st.booleans(),
)
def test_early_stopping_is_what_the_reference_says(errors, patience, burn_in, keeps):
    rules = StoppingRules(
        None, early_stopping=True, n_iter_no_change=patience, on_interrupt="keep" if keeps else "raise"
    )
    course = Course(rules, None, burn_in, lambda number: SimpleNamespace(number=number))
    for iteration in iterations(errors):
        course.add(iteration)
        if not course.goes_on():
            break
    assert (len(course.iterations), course.outcome().number) == reference.early_stopping(errors, patience, burn_in)


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_early_stopping_keeps_the_best_iterate(split, model):
    if not isinstance(model, BayesALS):
        model = clone(model).set_params(reg=0.01)  # so little that it overfits
    model = clone(model).set_params(early_stopping=True, n_iter_no_change=2, random_state=4)
    model.fit(split[0], eval_set=split[1])
    errors = np.array(model.history_["test_rmse"])
    assert (model.n_iter_, model.best_iter_) == reference.early_stopping(
        errors, 2, 3 if isinstance(model, BayesALS) else 0
    )
    assert model.n_iter_ < 12
    assert_same_model(model, with_iterations(model, model.best_iter_).fit(split[0]), split[1])
    u, i, ratings = split[1].triples()
    predicted = model.predict(split[1].user_ids[u], split[1].item_ids[i])
    assert alsx.metrics.rmse(ratings, predicted) == pytest.approx(errors[model.best_iter_ - 1], rel=1e-6)


def test_the_best_iterate_is_saved_and_folded_into(split, tmp_path):
    model = FactorALS(4, reg=0.01, early_stopping=True, random_state=3, tol=0).fit(split[0], eval_set=split[1])
    assert model.best_iter_ < model.n_iter_
    model.save(tmp_path / "m.npz")
    again = alsx.load(tmp_path / "m.npz")
    assert (again.best_iter_, again.n_iter_) == (model.best_iter_, model.n_iter_)
    assert again.early_stopping is True
    folded = again.fold_in([(10_000, int(split[0].item_ids[0]))], [3.0])
    assert folded.best_iter_ == model.best_iter_


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("implicit_features", [None, "both"])
def test_a_share_of_the_ratings_is_held_out(split, weighted, implicit_features, tmp_path):
    R = split[0]
    weights = np.random.default_rng(0).integers(0, 3, len(R)) if weighted else None
    model = FactorALS(
        4, early_stopping=True, validation_fraction=0.25, dtype="float64", implicit_features=implicit_features, n_jobs=1
    )
    fitted = clone(model).set_params(random_state=7).fit(R, sample_weight=weights)
    generator = np.random.default_rng(7)
    counted = np.flatnonzero(np.ones(len(R)) if weights is None else weights)
    held_out = generator.choice(counted, round(0.25 * len(counted)), replace=False, shuffle=False)
    rest = np.setdiff1d(np.arange(len(R)), held_out)
    R64 = Ratings(R, sample_weight=weights, dtype="float64")
    apart = clone(model).set_params(random_state=generator).fit(R64.select(rest), eval_set=R64.select(held_out))
    np.testing.assert_allclose(fitted.history_["test_rmse"], apart.history_["test_rmse"], rtol=1e-9)
    np.testing.assert_allclose(fitted._items.table, apart._items.table, atol=1e-8)
    # It tells nothing of how certain predictions are, either: as if it were not there, and also in files without ratings.
    pairs = R.user_ids[:30], R.item_ids[:30]
    expected = apart.predict(*pairs, return_std=True)[1]
    np.testing.assert_allclose(fitted.predict(*pairs, return_std=True)[1], expected, rtol=1e-7)
    for with_ratings in (True, False):
        fitted.save(tmp_path / "m.npz", with_ratings=with_ratings)
        again = alsx.load(tmp_path / "m.npz")
        np.testing.assert_allclose(again.predict(*pairs, return_std=True)[1], expected, rtol=1e-7)
    # What was held out is rated all the same, and not recommended.
    np.testing.assert_array_equal(fitted.user_counts_, np.diff(R.by_user.indptr))
    user = R.user_ids[0]
    rated = R.item_ids[R.by_user.indices[: R.by_user.indptr[1]]]
    assert not np.isin(fitted.recommend(user, 40)[0], rated).any()


def test_the_share_is_the_same_for_the_same_seed(split):
    fits = [BiasALS(early_stopping=True, random_state=seed).fit(split[0]).history_["test_rmse"] for seed in (0, 0, 1)]
    assert fits[0] == fits[1] != fits[2]


def test_early_stopping_with_a_chosen_regularisation(split):
    model = FactorALS(3, reg="auto", early_stopping=True, random_state=0).fit(split[0])
    assert "test_rmse" in model.history_


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"callback": 3}, TypeError, "callback is 3; it must be None or a function of one argument"),
        ({"early_stopping": 0.1}, TypeError, "early_stopping is 0.1; it must be True or False"),
        ({"early_stopping": "yes"}, TypeError, "early_stopping is 'yes'; it must be True or False"),
        ({"validation_fraction": 0}, ValueError, "validation_fraction is 0; it must be above 0 and below 1"),
        ({"validation_fraction": 1.5}, ValueError, "validation_fraction is 1.5; it must be above 0 and below 1"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change is 0; it must be at least 1"),
        ({"on_interrupt": "ignore"}, ValueError, 'on_interrupt is \'ignore\'; it must be "raise" or "keep"'),
        ({"on_interrupt": None}, ValueError, "on_interrupt is None; it must be"),
        ({"warm_start": 1}, TypeError, "warm_start is 1; it must be True or False"),
    ],
)
@pytest.mark.parametrize("kind", [BiasALS, FactorALS, BayesALS])
def test_wrong_parameters(split, kind, parameters, error, message):
    with pytest.raises(error, match=re.escape(message)) as raised:
        kind(**parameters).fit(split[0])
    assert len(str(raised.value)) <= 300


def test_too_few_ratings_to_hold_a_share_out():
    with pytest.raises(ValueError, match=r"validation_fraction is 0\.1, which holds out 0 of 3 ratings"):
        BiasALS(early_stopping=True).fit([(1, 1), (1, 2), (2, 1)], [1, 2, 3])
    # Held-out ratings that are given need no share.
    BiasALS(early_stopping=True).fit([(1, 1), (1, 2), (2, 1)], [1, 2, 3], eval_set=([(2, 2)], [4]))


# Interruptions


class Interrupt:
    """Interrupts the n-th call of a function, and each one after it that is told."""

    def __init__(self, function, *places):
        self.function, self.places, self.calls = function, places, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls in self.places:
            raise KeyboardInterrupt
        return self.function(*args, **kwargs)


def interrupted(monkeypatch, owner, name, *places):
    """Interrupt some calls of a function or a method."""
    interrupt = Interrupt(getattr(owner, name), *places)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: interrupt(*args, **kwargs))


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("model", models(on_interrupt="keep"), ids=lambda model: type(model).__name__)
def test_an_interrupted_fit_keeps_the_last_whole_iteration(split, model, half, monkeypatch):
    expected = with_iterations(model, 5).fit(split[0], eval_set=split[1])
    name = "alsx._solver.gibbs" if isinstance(model, BayesALS) else "alsx._solver.alternation"
    owner = getattr(sys.modules[name], "Gibbs" if isinstance(model, BayesALS) else "Alternation")
    interrupted(monkeypatch, owner, "update", 11 + half)
    with pytest.warns(
        ConvergenceWarning, match=r"interrupted after 5 of 12 iterations: the model is that of iteration 5"
    ):
        model = clone(model).fit(split[0], eval_set=split[1])
    assert_same_model(model, expected, split[1])
    assert model.history_["test_rmse"] == expected.history_["test_rmse"]
    assert {len(values) for values in model.history_.values()} == {5}


@pytest.mark.parametrize(
    ("owner", "name", "call", "n_iter"),
    [
        (training.HeldOut, "rmse", 5, 4),  # an iteration whose error is not known is not whole
        (Alternation, "snapshot", 5, 4),
        (training, "training_errors", 1, 12),  # after the last iteration
        (progress.Progress, "report", 5, 5),
    ],
)
def test_an_interruption_between_sweeps(split, monkeypatch, owner, name, call, n_iter):
    model = models(on_interrupt="keep")[1]
    expected = with_iterations(model, n_iter).fit(split[0], eval_set=split[1])
    interrupted(monkeypatch, owner, name, call)
    with pytest.warns(ConvergenceWarning, match=f"after {n_iter} of 12"):
        model.fit(split[0], eval_set=split[1])
    assert_same_model(model, expected, split[1])
    assert {len(values) for values in model.history_.values()} == {n_iter}


@pytest.mark.parametrize(
    ("parameters", "places"),
    [
        ({"on_interrupt": "raise"}, (11,)),
        ({"on_interrupt": "raise", "early_stopping": True}, (5,)),
        ({"on_interrupt": "keep"}, (1,)),  # there is no whole iteration
        ({"on_interrupt": "keep"}, (2,)),
    ],
)
def test_an_interruption_that_is_raised_changes_nothing(split, monkeypatch, parameters, places):
    model = FactorALS(4, random_state=0).fit(split[0])
    before, history = model.predict(split[1]), dict(model.history_)
    interrupted(monkeypatch, Alternation, "update", *places)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(k=7, tol=0, **parameters).fit(split[1], eval_set=split[0])
    np.testing.assert_array_equal(model.predict(split[1]), before)
    assert model.history_ == history


def test_a_second_interruption_is_raised(split, monkeypatch):
    model = FactorALS(4, random_state=0, on_interrupt="keep", tol=0).fit(split[0])
    before = model.predict(split[1])
    interrupted(monkeypatch, Alternation, "update", 11)
    interrupted(monkeypatch, training, "training_errors", 1)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(k=7).fit(split[0])
    np.testing.assert_array_equal(model.predict(split[1]), before)


def test_an_interruption_with_early_stopping_keeps_the_best(split, monkeypatch):
    model = FactorALS(4, reg=0.01, early_stopping=True, n_iter_no_change=9, on_interrupt="keep", tol=0, random_state=3)
    whole = clone(model).fit(split[0], eval_set=split[1])
    assert whole.best_iter_ < whole.n_iter_ - 1
    interrupted(monkeypatch, Alternation, "update", 2 * whole.n_iter_)
    with pytest.warns(ConvergenceWarning, match=f"model is that of iteration {whole.best_iter_}$"):
        model.fit(split[0], eval_set=split[1])
    assert (model.n_iter_, model.best_iter_) == (whole.n_iter_ - 1, whole.best_iter_)
    np.testing.assert_array_equal(model._items.table, whole._items.table)


SIGNALLED = """
import sys, warnings
import numpy as np
from alsx import FactorALS
from alsx.datasets import make_ratings

R = make_ratings(400, 300, 20_000, random_state=0)
model = FactorALS(16, random_state=0, n_jobs=2).fit(R)
before = model.predict(R)
ready = lambda iteration: print("ready", flush=True) if iteration.number == 3 else None
model.set_params(callback=ready, max_iter=1_000_000, tol=0, on_interrupt=sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        model.fit(R)
    except KeyboardInterrupt:
        print("raised", np.array_equal(model.predict(R), before), [str(x.message) for x in caught])
    else:
        again = FactorALS(16, random_state=0, max_iter=model.n_iter_, tol=0, n_jobs=2).fit(R)
        same = np.array_equal(again._users.table, model._users.table) and np.array_equal(again.predict(R), model.predict(R))
        print("kept", same, model.n_iter_ >= 3, [str(x.message)[:24] for x in caught])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize(
    ("on_interrupt", "expected"),
    [("keep", "kept True True ['the fit was interrupted ']"), ("raise", "raised True []")],
)
def test_a_real_interrupt(on_interrupt, expected):
    child = subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, on_interrupt], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background job ignores interrupts, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out.strip()) == (0, expected), err


# Warm starts


@pytest.mark.parametrize(
    "model",
    [
        BiasALS(max_iter=5, tol=0),
        FactorALS(4, max_iter=5, tol=0, dtype="float64", implicit_features=None, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_warm_start_goes_on(split, model):
    """Without learned prior means a fit that goes on is the fit that was not interrupted."""
    whole = clone(model).set_params(max_iter=10).fit(split[0], eval_set=split[1])
    parts = clone(model).set_params(warm_start=True).fit(split[0]).fit(split[0], eval_set=split[1])
    np.testing.assert_allclose(parts.history_["loss"], whole.history_["loss"][5:], rtol=1e-11)
    np.testing.assert_allclose(parts.history_["test_rmse"], whole.history_["test_rmse"][5:], rtol=1e-9)
    np.testing.assert_allclose(parts._items.table, whole._items.table, atol=1e-9)


def features_of(ratings, seed=0):
    """Two features of each item."""
    return np.random.default_rng(seed).normal(size=(ratings.n_items, 2))


@pytest.mark.parametrize("implicit_features", ["both", None])
@pytest.mark.parametrize("featured", [False, True])
def test_a_warm_start_never_raises_the_loss(split, implicit_features, featured):
    model = FactorALS(
        4, max_iter=4, tol=0, implicit_features=implicit_features, random_state=0, warm_start=True, dtype="float64"
    )
    given = {"item_features": features_of(split[0])} if featured else {}
    losses = []
    for _ in range(4):
        losses += model.fit(split[0], **given).history_["loss"]
    assert np.diff(losses).max() <= 1e-12 * losses[0]
    # It gets to where a long fit gets.
    long = clone(model).set_params(max_iter=300, warm_start=False).fit(split[0], **given).history_["loss"][-1]
    more = clone(model).set_params(max_iter=75)
    for _ in range(4):
        more.fit(split[0], **given)
    assert more.history_["loss"][-1] == pytest.approx(long, rel=2e-3)


@pytest.mark.parametrize("model", models(warm_start=True), ids=lambda model: type(model).__name__)
def test_a_warm_start_with_other_ratings(split, model):
    """Users and items that are known go on; others begin."""
    some = Ratings.from_arrays(*(x[:300] for x in rows(split[0])))
    more = Ratings.from_arrays(*rows(split[0]))
    model = clone(model).fit(some).fit(more)
    np.testing.assert_array_equal(model.user_ids_, more.user_ids)
    assert np.isfinite(model.predict(split[1])).all()
    cold = clone(model).set_params(warm_start=False).fit(more)
    assert not np.array_equal(model._items.table, cold._items.table)
    assert np.abs(model.predict(split[1]) - cold.predict(split[1])).max() < 1.5
    # Twice the ratings, twice the predictions: the start is in units of the ratings.
    doubled = Ratings.from_arrays(*rows(split[0])[:2], 2 * rows(split[0])[2])
    if isinstance(model, BiasALS):
        model.set_params(max_iter=200)
        np.testing.assert_allclose(
            model.fit(doubled)._items.table,
            clone(model).set_params(warm_start=False).fit(doubled)._items.table,
            atol=1e-6,
        )


def rows(ratings):
    u, i, values = ratings.triples()
    return ratings.user_ids[u], ratings.item_ids[i], values


def test_a_warm_start_of_the_first_fit_is_a_fit(split):
    plain, warm = (FactorALS(4, random_state=0, warm_start=warm).fit(split[0]) for warm in (False, True))
    np.testing.assert_array_equal(plain._items.table, warm._items.table)


def test_a_warm_start_of_another_model_is_refused(split):
    model = FactorALS(4, random_state=0, warm_start=True).fit(split[0])
    before = model.predict(split[1])
    with pytest.raises(
        ValueError, match=r"k is 5, but warm_start is True and the model was fitted with k=4: pass that one"
    ):
        model.set_params(k=5).fit(split[0])
    model.set_params(k=4)
    with pytest.raises(TypeError, match="R: these ids are integers"):
        model.fit([("ann", "x"), ("bob", "y")], [1, 2])
    np.testing.assert_array_equal(model.predict(split[1]), before)


# Progress


def lines_of(fit, capsys):
    fit()
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


LINE = r"{} \d/4: loss [\d.e+]+, train RMSE \d\.\d{{4}}{}, \d+\.\d{{3}} s, at most \d+\.\d s left"


APPLICATION = """
import logging, sys
from alsx import BiasALS
from alsx.datasets import make_ratings
{}
R = make_ratings(60, 40, 900, random_state=0)
BiasALS(max_iter=4, tol=0, verbose=2).fit(R{})
assert logging.getLogger("alsx").handlers == []
"""


@pytest.mark.parametrize(
    ("setup", "form"),
    [
        ("", "{}"),  # nobody set up logging
        ("logging.basicConfig()", "INFO:alsx:{}"),  # the root's level, WARNING, is none of the logger's
        ("logging.basicConfig(stream=sys.stderr, format='%(name)s/%(funcName)s %(message)s')", "alsx/report {}"),
        ("logging.getLogger('alsx').setLevel(logging.WARNING)", None),
        ("logging.disable(logging.INFO)", None),
        ("logging.getLogger('alsx').addFilter(lambda record: False)", None),
    ],
)
@pytest.mark.parametrize("tested", [False, True])
def test_where_lines_go(setup, form, tested):
    """In a process, since pytest itself sets up logging."""
    code = APPLICATION.format(setup, ", eval_set=R" if tested else "")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (out.returncode, out.stdout) == (0, ""), out.stderr
    line = LINE.format("BiasALS", r", test RMSE \d\.\d{4}" if tested else "")
    lines = out.stderr.splitlines()
    assert len(lines) == (0 if form is None else 4)
    assert all(re.fullmatch(form.format(line), x) for x in lines)


def test_lines_are_log_records(split, caplog, capsys):
    model = FactorALS(3, max_iter=4, tol=0, verbose=2, random_state=0)
    assert lines_of(lambda: model.fit(split[0]), capsys) == []
    records = [record for record in caplog.records if record.name == "alsx"]
    assert [record.levelno for record in records] == 4 * [logging.INFO]
    assert all(re.fullmatch(LINE.format("FactorALS", ""), record.getMessage()) for record in records)
    assert records[0].funcName == "report"


@pytest.mark.parametrize("verbose", [0, 1])
def test_nothing_is_logged_unless_asked_for(split, caplog, capsys, verbose):
    BiasALS(max_iter=2, verbose=verbose).fit(split[0], eval_set=split[1])
    assert caplog.records == []
    shown = capsys.readouterr().err
    for name in ("loss=", "train RMSE=", "test RMSE=", "it" if verbose else "loss="):
        assert (name in shown) == bool(verbose)


def test_the_seconds_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = []
    monkeypatch.setattr(progress, "log", shown.append)
    with progress.Progress("FactorALS", 10, 2) as bar:
        for iteration in iterations([0.9, 0.8, 0.7, 0.6]):
            now[0] += 3.0
            bar.report(iteration)
    assert [re.search(r"at most (\S+) s left", line)[1] for line in shown] == ["27.0", "24.0", "21.0", "18.0"]
