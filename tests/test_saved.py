"""Files that earlier versions wrote are read for ever; `saved/make.py` wrote them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import alsx
from alsx._models import persistence

FOLDER = Path(__file__).parent / "saved"
FILES = sorted(file for file in FOLDER.glob("format_*.npz") if ".expected" not in file.name)

spec = importlib.util.spec_from_file_location("saved_models", FOLDER / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)


def test_there_are_files_of_the_format_that_is_written():
    kinds = {"bias", "factor", "bayes", "rank", "folded"}
    assert {f"format_{persistence.FORMAT}_{kind}.npz" for kind in kinds} <= {file.name for file in FILES}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_says_what_its_model_said(file, mmap, tmp_path):
    model = alsx.load(file, mmap=mmap)
    with np.load(file.with_suffix(".expected.npz")) as expected:
        # Other instruction sets and libraries round otherwise.
        found = make.answers(model)
        for name in set(expected) - {"ids"}:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(found["ids"], expected["ids"])
    # It goes on from here, and is saved in the format of today.
    users, items = model.user_ids_[:2].tolist(), model.item_ids_[:2].tolist()
    model.partial_fit([(users[0], items[0]), (users[1], items[1])], [1.5, 2.5])
    model.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(alsx.load(tmp_path / "m.npz").predict(users, items), model.predict(users, items))
    if "bayes" not in file.name:
        prediction, parts = model.explain(users[0], items[1], n=None)
        assert sum(part.contribution for part in parts) == pytest.approx(prediction, abs=1e-4)


def test_titles_come_along():
    file = next(file for file in FILES if "factor" in file.name)
    assert alsx.load(file).to_arrow()["title"].to_pylist()[3] == "Brazil"
