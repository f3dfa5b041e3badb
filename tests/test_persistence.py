"""Saved models: file objects, what is kept, and files in which something was changed."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

import alsx
from alsx import FactorALS, Ratings
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


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("time", [None, "day"])
def test_a_model_without_its_ratings_can_be_folded_into_and_saved(tmp_path, time, weighted):
    rng = np.random.default_rng(4)
    u, i = np.nonzero(rng.random((12, 9)) < 0.6)
    when = rng.integers(0, 5 * 86400, len(u)) + 10**9
    weights = rng.uniform(0.5, 2, len(u)) if weighted else None
    R = Ratings.from_arrays(u, i, rng.integers(1, 6, len(u)).astype(float), sample_weight=weights, timestamps=when)
    model = FactorALS(2, time=time, random_state=0).fit(R)
    model.save(tmp_path / "m.npz", with_ratings=False)
    small = alsx.load(tmp_path / "m.npz")
    for pairs, side in (([(99, 1), (99, 3), (3, 2)], "user"), ([(1, 77), (3, 77), (2, 4)], "item")):
        told = Ratings.from_arrays(*np.transpose(pairs), [5.0, 1.0, 4.0], timestamps=[10**9, 10**9, 10**9 + 86400])
        folded = small.fold_in(told, side=side)
        folded.save(tmp_path / "n.npz")
        again = alsx.load(tmp_path / "n.npz")
        same(folded, again)
        assert len(again._seen.values) == 0
        # What a list leaves out is known without values.
        for user, item in pairs:
            assert item not in again.recommend(user, 9)[0]


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


def test_mapped_models_are_the_same_and_share_the_file(model, tmp_path):
    file = tmp_path / "m.npz"
    model.save(file)
    mapped = alsx.load(file, mmap=True)
    same(model, mapped)
    in_file = [mapped._seen.indices, mapped._seen.values, mapped._users.table, mapped._items.table]
    in_file += [mapped._users.prior.implicit_effects]
    if mapped._users.basis is not None:
        in_file.append(mapped._users.basis.table)
    whole = mapped._seen.indices
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    assert isinstance(whole, np.memmap)
    for array in in_file:
        assert np.may_share_memory(array, whole)
        assert not array.flags.writeable
        assert array.ctypes.data % 64 == 0
    # All that goes on from a model goes on from a mapped one.
    ids = model.item_ids_[[1, 5]].tolist()
    told = [(990, item) for item in ids], [4.0, 2.0]
    np.testing.assert_array_equal(mapped.fold_in(*told).predict(990, ids), model.fold_in(*told).predict(990, ids))
    copies = alsx.load(file, mmap=True), alsx.load(file)
    for copy in copies:
        copy.partial_fit(*told)
    same(*copies)
    # Saved over: those who have the old file keep it.
    alsx.BiasALS().fit(make_ratings(9, 8, 40, random_state=0)).save(file)
    same(model, mapped)
    with file.open("rb") as opened, pytest.raises(ValueError, match="mmap is True, but path is a file object"):
        alsx.load(opened, mmap=True)


def test_files_that_were_compressed_are_read_where_they_cannot_be_mapped(model, tmp_path):
    np.savez_compressed(tmp_path / "m.npz", **arrays_of(model))
    same(model, alsx.load(tmp_path / "m.npz", mmap=True))


def test_a_model_gives_the_same_bytes_each_time(model, tmp_path):
    files = io.BytesIO(), io.BytesIO()
    for file in files:
        model.save(file)
    assert files[0].getvalue() == files[1].getvalue()
    with np.load(io.BytesIO(files[0].getvalue())) as stored:  # as NumPy reads it
        assert stored["seen_indices"].tolist() == model._seen.indices.tolist()


@pytest.mark.parametrize("at", range(0, 600, 7))
def test_mapped_files_in_which_a_byte_was_changed(at, tmp_path):
    """They are refused or read; nothing is read out of bounds."""
    file = tmp_path / "m.npz"
    alsx.BiasALS().fit(make_ratings(6, 5, 15, random_state=0)).save(file)
    data = bytearray(file.read_bytes())
    data[-1 - at] ^= 0x41
    file.write_bytes(data)
    try:
        alsx.load(file, mmap=True)
    except ValueError as error:
        assert "is not a whole model file" in str(error)  # noqa: PT017


def test_classes_load_their_own(tmp_path):
    R = make_ratings(30, 20, 200, random_state=0)
    alsx.FactorALS(2, max_iter=2, random_state=0).fit(R).save(tmp_path / "m.npz")
    model = alsx.FactorALS.load(tmp_path / "m.npz")
    assert type(model) is alsx.FactorALS
    with pytest.raises(
        TypeError, match=r"a file of a FactorALS, not of a BayesALS: use alsx\.load or alsx\.FactorALS\.load"
    ):
        alsx.BayesALS.load(tmp_path / "m.npz")


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("item_features_indices", lambda x: x + 1000, "item_features_indices are not features that the model knows"),
        ("item_features_indptr", lambda x: x[::-1].copy(), "item_features_indptr does not ascend"),
        ("user_solved_at", lambda x: x - 5, "user_solved_at are not all at least 0"),
        ("user_of_fit", lambda x: x[1:], "user_of_fit is bool of shape"),
        ("user_basis_table", lambda x: x[1:], "user_basis_table is float32 of shape"),
        ("user_basis_implicit_effects", lambda x: x[:, 1:], "user_basis_implicit_effects is float32 of shape"),
        ("user_table", lambda x: x[:, :4], "user_table is float32 of shape"),
        ("title_texts", lambda x: x[1:], "title_texts are"),
    ],
)
def test_what_rows_were_solved_from_is_checked(name, change, says):
    arrays = arrays_of(fitted("folded").set_titles({3: "Brazil", 4: "Alien"}))
    with pytest.raises(ValueError, match=says):
        loaded({**arrays, name: change(arrays[name])})
