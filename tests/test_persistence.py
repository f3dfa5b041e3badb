"""Saved models: file objects, what is kept, and files in which something was changed."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

import alsx
from alsx.datasets import make_ratings

FEATURES = np.random.default_rng(1).normal(size=(40, 3))


def fitted(kind):
    """A small model of each kind of file."""
    R = make_ratings(60, 40, 600, random_state=0)
    if kind == "bayes":
        model = alsx.BayesALS(2, n_samples=4, burn_in=1, als_iter=1, keep_samples=2, random_state=0, n_jobs=2)
        return model.fit(R, item_features=FEATURES)
    model = alsx.FactorALS(3, max_iter=2, random_state=0, n_jobs=2).fit(R, item_features=FEATURES)
    if kind == "folded":
        model = model.fold_in([(900, 3), (900, 4), (1, 2)], [4.0, 2.0, 5.0])
        model = model.fold_in([(900, 500), (2, 500)], [4.0, 2.0], side="item")
    return model


@pytest.fixture(scope="module", params=["factor", "bayes", "folded"])
def model(request):
    return fitted(request.param)


def arrays_of(model):
    """What a file of the model holds."""
    file = io.BytesIO()
    model.save(file)
    with np.load(io.BytesIO(file.getvalue())) as stored:
        return dict(stored)


def loaded(arrays):
    """The model of a file that holds these arrays."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    return alsx.load(file)


def same(a, b):
    """Whether two models predict, recommend and doubt the same."""
    pairs = np.repeat(a.user_ids_[:9], 9), np.tile(a.item_ids_[:9], 9)
    for x, y in zip(a.predict(*pairs, return_std=True), b.predict(*pairs, return_std=True), strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(a.recommend(a.user_ids_[:5]), b.recommend(a.user_ids_[:5]), strict=True):
        np.testing.assert_array_equal(x, y)


def test_file_objects_and_odd_paths(model, tmp_path, monkeypatch):
    file = io.BytesIO(b"before")
    file.seek(6)
    model.save(file)
    file.seek(6)
    same(model, alsx.load(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    model.save("~/stars")
    assert (tmp_path / "stars").exists()
    same(model, alsx.load("~/stars"))
    with pytest.raises(FileNotFoundError, match="none/here to write m.npz to; make it first"):
        model.save(tmp_path / "none/here/m.npz")
    for wrong in (3, None):
        with pytest.raises(TypeError, match="it must be a path or a binary file object"):
            model.save(wrong)
        with pytest.raises(TypeError, match="it must be a path or a binary file object"):
            alsx.load(wrong)


def test_threads_are_not_kept_and_values_may_be_left_out(model):
    file = io.BytesIO()
    model.save(file, with_ratings=False)
    small = len(file.getvalue())
    file.seek(0)
    without = alsx.load(file)
    assert without.n_jobs is None
    assert len(without._seen.values) == 0
    same(model, without)
    whole = loaded(arrays_of(model))
    np.testing.assert_array_equal(whole._seen.values, model._seen.values)
    assert small < len(file.getvalue()) + 4 * len(model._seen.values)
    np.testing.assert_array_equal(whole.folded_in_ids_, model.folded_in_ids_)


@pytest.mark.parametrize(
    "indptr",
    [[0, 2**63 - 1, -(2**63), -1], [0, 5, 3], [1], [0, -1], [0, 10**6]],
    ids=["wrapping", "descending", "not from 0", "negative", "beyond"],
)
def test_offsets_that_would_read_out_of_bounds(model, indptr):
    arrays = arrays_of(model)
    changed = arrays["seen_indptr"].copy()
    changed[: len(indptr)] = indptr
    with pytest.raises(ValueError, match="seen_indptr does not ascend"):
        loaded({**arrays, "seen_indptr": changed})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mean": float("nan")}, "its mean is nan"),
        ({"mean": 1e400}, "its mean is inf"),
        ({"rating_range": [5, 1]}, "its ratings go from 5.0 to 1.0"),
        ({"k": 10**18}, "k is 1000000000000000000; it must be"),
        ({"k": True}, "k is True"),
        ({"history": {"loss": [1, 2], "seconds": [1]}}, "history has lists of different lengths"),
        ({"history": {}}, "history has lists"),
    ],
)
def test_numbers_that_cannot_be(model, change, says):
    arrays = arrays_of(model)
    about = json.loads(str(arrays["about"]))
    with pytest.raises(ValueError, match=says):
        loaded({**arrays, "about": np.array(json.dumps({**about, **change}))})


def test_encoders_that_do_not_fit(model):
    arrays = arrays_of(model)
    about = json.loads(str(arrays["about"]))
    about["priors"]["item"]["encoder"]["names"].append("one more")
    with pytest.raises(ValueError, match="item_feature_effects is float32 of shape"):
        loaded({**arrays, "about": np.array(json.dumps(about))})
    about["priors"]["item"]["encoder"] = None
    with pytest.raises(ValueError, match="item_feature_effects"):
        loaded({**arrays, "about": np.array(json.dumps(about))})


def test_numbers_that_are_not_finite_are_refused_in_every_array(model):
    arrays = arrays_of(model)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not name.startswith(("trace_", "samples_")):
            changed = array.copy()
            changed.flat[-1] = np.nan
            with pytest.raises(ValueError, match=f"its {name} holds numbers that are not finite"):
                loaded({**arrays, name: changed})


def test_a_small_file_that_would_fill_the_memory_is_refused(model, tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", **arrays_of(model), other=np.zeros(30_000_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 10**6
    with pytest.raises(ValueError, match="its arrays are said to have"):
        alsx.load(tmp_path / "bomb.npz")


def test_the_file_of_another_kind_of_model_is_named(tmp_path):
    (tmp_path / "text.npz").write_text("user,item,rating\n")
    with pytest.raises(ValueError, match=r"text\.npz is not a whole model file written by alsx"):
        alsx.load(tmp_path / "text.npz")
    assert not list(Path(tmp_path).glob("*.part"))
