"""The commands that reproduce public tables, on small stand-ins of the sets."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="an installed package has no benchmarks")


@pytest.fixture
def public_tables(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import public_tables

    return public_tables


def pairs(rng):
    """Pairs of 30 users and 20 films, and their ratings."""
    u, i = np.nonzero(rng.random((30, 20)) < 0.6)
    return u + 1, i + 1, rng.integers(1, 6, len(u))


def test_a_table_of_movielens(public_tables, tmp_path, capsys):
    u, i, r = pairs(np.random.default_rng(0))
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as file:
        for name, lines in (
            (
                "ratings.dat",
                [f"{a}::{b}::{c}::{978300760 + n}" for n, (a, b, c) in enumerate(zip(u, i, r, strict=True))],
            ),
            ("movies.dat", [f"{b}::Film {b} (19{60 + b})::{'Drama|War' if b % 3 else 'Comedy'}" for b in range(1, 21)]),
            ("users.dat", [f"{a}::{'MF'[a % 2]}::{18 + a % 2 * 7}::{a % 4}::48067" for a in range(1, 31)]),
        ):
            file.writestr(f"ml-1m/{name}", "\n".join(lines) + "\n")
    told = {"source": tmp_path / "ml-1m.zip", "seeds": 2, "k": 2, "features": True, "bayes": True, "n_jobs": 1}
    public_tables.main("ml-1m", **told, out=tmp_path / "out.csv")
    printed = capsys.readouterr().out
    assert "GLocal-K 0.8227" in printed
    assert "NOT the set that others report on: ml-1m has 1,000,209 ratings" in printed
    rows = (tmp_path / "out.csv").read_text().splitlines()
    models = ["BiasALS()", "FactorALS(2)", "FactorALS(2) with features", "BayesALS(2)"]
    assert [row.split('"')[2].split(",")[1] for row in rows[1:]] == models
    assert all(row.startswith('"ml-1m, 90/10 at random, 2 seeds",') for row in rows[1:])
    public_tables.main("ml-1m", source=tmp_path / "ml-1m.zip", k=2, by_time=True)
    printed = capsys.readouterr().out
    assert "ml-1m, last tenth by time" in printed
    assert "GLocal-K" not in printed


@pytest.mark.parametrize("together", [True, False])
def test_the_table_of_netflix(public_tables, tmp_path, capsys, together):
    u, i, r = pairs(np.random.default_rng(1))
    films = {
        film: [
            f"{a},{c},2005-09-{1 + n % 28:02}" for n, (a, c) in enumerate(zip(u[i == film], r[i == film], strict=True))
        ]
        for film in range(1, 21)
    }
    texts = {film: "\n".join([f"{film}:", *lines]) + "\n" for film, lines in films.items()}
    if together:
        for number, part in enumerate((range(1, 11), range(11, 21)), 1):
            (tmp_path / f"combined_data_{number}.txt").write_text("".join(texts[film] for film in part))
    else:
        (tmp_path / "training_set").mkdir()
        for film, text in texts.items():
            (tmp_path / "training_set" / f"mv_{film:07}.txt").write_text(text)
    probe = [(film, lines[0].partition(",")[0]) for film, lines in films.items()]
    (tmp_path / "probe.txt").write_text("".join(f"{film}:\n{user}\n" for film, user in probe))
    table, held_out = public_tables.netflix(tmp_path)
    assert len(table) == len(u)
    assert sorted(
        zip(table["item"].to_pylist(), table["user"].to_pylist(), table["rating"].to_pylist(), strict=True)
    ) == sorted(zip(i.tolist(), u.tolist(), r.tolist(), strict=True))
    found = table.filter(held_out)
    assert list(zip(found["item"].to_pylist(), map(str, found["user"].to_pylist()), strict=True)) == probe
    assert found["timestamp"][0].as_py() == 1125532800
    public_tables.main("netflix", source=tmp_path, k=2, n_jobs=1)
    assert "\nFactorALS(2)\t1." in capsys.readouterr().out
    (tmp_path / "probe.txt").write_text("1:\n999\n")
    with pytest.raises(SystemExit, match="1 pairs of probe.txt have no rating"):
        public_tables.netflix(tmp_path)


def test_what_cannot_be_measured(public_tables, tmp_path):
    for options, message in (
        ({"name": "ml-5m"}, "ml-5m is no set with a table here"),
        ({"name": "netflix"}, "may not be passed on"),
        ({"name": "netflix", "source": tmp_path}, "holds no probe.txt"),
        ({"name": "netflix", "source": tmp_path, "features": True}, "leave --features out"),
    ):
        with pytest.raises(SystemExit, match=message):
            public_tables.main(**options)
