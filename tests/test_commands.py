"""The commands, as a user runs them: another folder, another process; results, progress, failures, files."""

import ast
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import alsx
import alsx.__main__
from alsx import _cli
from alsx.datasets import load_demo
from alsx.examples import coldstart, movielens
from alsx.model_selection import train_test_split

ROOT = Path(__file__).parents[1]


def run(*arguments, folder, code=0, environment=None):
    out = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "agg", **(environment or {})},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert out.returncode == code, out.stdout + out.stderr
    return out


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command in this process, in a folder of its own: starting Python costs seconds a time."""
    monkeypatch.chdir(tmp_path)

    def call(*words, code=0):
        module, *arguments = map(str, words)
        start = STARTS[module]
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        left = 0
        try:
            start()
        except SystemExit as leave:
            left = leave.code
        out = capsys.readouterr()
        assert left == code, out.out + out.err
        return out

    return call


STARTS = {
    "alsx": alsx.__main__.main,
    "movielens": lambda: _cli.run(movielens.movielens, "python -m alsx.examples.movielens"),
    "coldstart": lambda: _cli.run(coldstart.coldstart, "python -m alsx.examples.coldstart"),
}


@pytest.fixture
def fails(command, tmp_path):
    """Run a command that must fail in one line that says these words, before it prints or writes anything."""

    def call(*words, says):
        before = sorted(tmp_path.rglob("*"))
        out = command(*words, code=2)
        printed = [line for line in out.err.splitlines() if not line.endswith("...") and "read and sorted" not in line]
        assert len(printed) == 1, out.err
        assert printed[0].startswith("error: ")
        assert len(printed[0].removeprefix("error: ")) <= 300
        assert not printed[0].endswith(".")
        for word in says:
            assert word in printed[0]
        assert out.out == ""
        assert sorted(tmp_path.rglob("*")) == before

    return call


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    out = run("-m", "alsx.examples.movielens", "--k=8", "--iterations=6", "--user=5", "--out=made/here", folder=folder)
    return folder, out


def test_the_main_job_tells_and_writes(example):
    folder, out = example
    for word in ("SIMULATED", "BiasALS", "FactorALS, k = 8", "train RMSE", "test RMSE", "loss", "seconds", "121,264"):
        assert word in out.stdout
    assert "User 5: favourites" in out.stdout
    assert "Toy Story 2 (1999)" in out.stdout
    assert "iteration/s" not in out.stdout
    assert "iteration/s" in out.stderr
    assert sorted(path.name for path in (folder / "made/here").iterdir()) == [
        "factors.png", "history.png", "map.png", "model.npz"
    ]  # fmt: skip
    for name in ("factors.png", "history.png", "map.png"):
        assert (folder / "made/here" / name).read_bytes().startswith(b"\x89PNG")
    # As readable as any file that is written here.
    (folder / "plain").write_text("")
    assert {path.stat().st_mode for path in (folder / "made/here").iterdir()} == {(folder / "plain").stat().st_mode}


def test_the_example_of_cold_starts(command, tmp_path):
    out = command("coldstart", "--k=6", f"--out={tmp_path}").out
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert float(rows["FactorALS with features"][-1]) < float(rows["BiasALS"][-1])
    steps = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit() and len(line.split()) == 3]
    assert [int(step[0]) for step in steps] == [0, 1, 2, 3, 5, 10, 20]
    assert float(steps[-1][1]) < float(steps[-1][2])
    assert float(steps[-1][1]) < float(steps[0][1])
    assert (tmp_path / "coldstart.png").read_bytes().startswith(b"\x89PNG")
    assert "share is 2" in command("coldstart", "--share=2", code=2).err


def test_the_models_are_as_good_as_the_table_says(example):
    folder, out = example
    lines = {
        line.split("  ")[0]: line.split() for line in out.stdout.splitlines() if line.startswith(("Bias", "Factor"))
    }
    bias, factor = float(lines["BiasALS"][2]), float(lines["FactorALS, k = 8"][5])
    assert factor < 0.95 * bias
    model = alsx.load(folder / "made/here/model.npz")
    assert model.k == 8
    assert round(model.history_["test_rmse"][-1], 4) == factor


def test_recommended_films_are_not_rated_and_the_saved_model_agrees(example, command):
    folder, out = example
    file = folder / "made/here/model.npz"
    model = alsx.load(file)
    ids, scores = model.recommend(5, 4, min_ratings=20)
    rows = [
        line.split() for line in command("alsx", "recommend", file, 5, "--n=4", "--min-ratings=20").out.splitlines()
    ]
    assert [int(row[1]) for row in rows[2:]] == ids.tolist()
    # What items are judged by is no rating: predictions are shown, within the scale.
    shown = model.predict([5] * 4, ids)
    assert (shown < scores).all()
    assert [row[2] for row in rows[2:]] == [f"{x:.2f}" for x in shown]
    printed = json.loads(command("alsx", "recommend", file, 5, "--n=4", "--min-ratings=20", "--json").out)
    assert [row["item"] for row in printed] == ids.tolist()
    assert [row["predicted"] for row in printed] == shown.tolist()
    assert [row["ratings"] for row in printed] == model.item_counts_[np.searchsorted(model.item_ids_, ids)].tolist()
    rated = model._seen.indices[slice(*model._seen.indptr[4:6])]
    assert model.user_ids_[4] == 5
    assert not set(ids.tolist()) & set(model.item_ids_[rated].tolist())
    # The main job lists films with what this model predicts for them.
    titles = load_demo().titles(model.item_ids_, alternates=False)
    of_all = dict(zip(titles, model.predict(5, model.item_ids_), strict=True))
    table = out.stdout.partition("User 5: ")[2].splitlines()
    listed = [line.partition("|")[2].split(maxsplit=1) for line in table[4:14]]
    assert len(listed) == 10
    for stars, text in listed:
        beginning = re.split(r" \(|…", text)[0]
        known = [f"{value:.2f}" for title, value in of_all.items() if title.startswith(beginning)]
        assert stars in known, text
    # How good lists are, beside what everybody can do.
    lists = [
        line.split() for line in out.stdout.splitlines() if line.startswith(("the most popular", "FactorALS, as it"))
    ]
    (popular, popular_recall), (ours, recall) = ([float(x) for x in line[-2:]] for line in lists)
    assert ours > popular > 0
    assert recall > popular_recall > 0
    similar = command("alsx", "similar", file, 1, "--n=3").out
    assert [int(line.split()[1]) for line in similar.splitlines()[2:]] == model.similar_items(1, 3)[0].tolist()
    assert "2,000" in command("alsx", "info", file).out


def test_a_list_shorter_than_asked_for_has_no_padding(example, command):
    out = command("alsx", "recommend", example[0] / "made/here/model.npz", 5, "--n=2000", "--json").out
    model = alsx.load(example[0] / "made/here/model.npz")
    printed = json.loads(out)
    assert len(printed) == len(model.item_ids_) - model.user_counts_[4]
    assert min(row["item"] for row in printed) > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data=nothing-of-the-kind"], ["nothing-of-the-kind", "ml-32m"]),
        (["--data=missing/file.zip"], ["missing/file.zip"]),
        (["--user=999999"], ["999999", "unknown"]),
        (["--user=somebody"], ["somebody", "unknown"]),
        (["--k=0"], ["--k is 0"]),
        (["--test-size=2"], ["--test-size is 2"]),
        (["--iterations=few"], ["iterations", "few"]),
        (["--k=1e3"], ["--k is 1000.0"]),
        (["--k"], ["--k is True"]),
        (["--seed=-1"], ["--seed is -1"]),
        (["--n-jobs=0"], ["--n-jobs is 0"]),
        (["--user=99999999999999999999999"], ["99999999999999999999999"]),
        (["--user=None"], ["user None"]),
        (["--out"], ["--out needs a value"]),
        (["--data"], ["--data needs a value"]),
    ],
)
def test_the_main_job_refuses_in_one_line(fails, arguments, says):
    fails("movielens", *arguments, says=says)


def test_a_folder_that_cannot_be_is_refused_before_the_work(fails, tmp_path):
    (tmp_path / "file.txt").write_text("mine")
    fails("movielens", "--out=file.txt", says=["file.txt is a file", "--out is file.txt"])
    fails("movielens", "--out=file.txt/below", says=["file.txt is a file", "--out is file.txt"])
    assert (tmp_path / "file.txt").read_text() == "mine"


@pytest.mark.parametrize("arguments", [["--itertions=3"], ["demo", "20"], ["--out=x", "surplus", "words"]])
def test_leftover_arguments_are_refused_before_the_work(command, tmp_path, arguments):
    out = command("movielens", *arguments, code=2)
    assert "Could not consume arg" in out.err
    assert "Usage: python -m alsx.examples.movielens" in out.err
    assert out.out == ""
    assert not list(tmp_path.iterdir())


def test_similar_items_of_every_model_with_factors(tmp_path):
    films = load_demo().ratings
    model = alsx.BayesALS(k=4, n_samples=3, burn_in=2, random_state=0).fit(films)
    model.save(tmp_path / "bayes.npz")
    out = run("-m", "alsx", "similar", "bayes.npz", "1", "--n=3", "--json", folder=tmp_path)
    assert [row["item"] for row in json.loads(out.stdout)] == model.similar_items(1, 3)[0].tolist()


def test_fire_is_left_as_it_was(command, monkeypatch):
    import fire

    before = fire.decorators.FIRE_METADATA, fire.core.Display
    command("alsx", "info", "--help")
    command("alsx", "fit", code=2)
    assert (fire.decorators.FIRE_METADATA, fire.core.Display) == before


def test_letters_that_the_terminal_lacks(tmp_path):
    """Such a title must not end a job after its work."""
    start = "from alsx import _cli\ndef show():\n    _cli.table(['film'], [['Amélie …']])\n_cli.run(show, 'show')"
    out = run("-c", start, folder=tmp_path, environment={"PYTHONIOENCODING": "ascii"})
    assert out.stdout.splitlines()[2] == "Am?lie ?"


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX has them")
def test_an_interrupted_job_leaves_whole_files_only(tmp_path):
    # A shell's background job ignores interrupts, and its children inherit that.
    start = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += "runpy.run_module('alsx.examples.movielens', run_name='__main__', alter_sys=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", start, "--k=3", "--out=o"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("placing"):
            child.send_signal(signal.SIGINT)
            break
    _, printed = child.communicate(timeout=60)
    assert child.returncode == 130
    assert printed.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in printed
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["history.png"]


def interruptible():
    """A shell's background job ignores interrupts, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("alsx", "alsx._interrupt"),
        ("alsx", "numpy"),
        ("alsx", "sklearn.base"),
        ("alsx", "alsx._cli"),
        ("alsx.examples", "scipy.sparse"),
        ("alsx.examples.movielens", "sklearn.base"),
    ],
)
def test_an_interrupt_in_the_first_second(tmp_path, module, imported):
    """Wherever the imports are: what has been imported is told on standard error, line by line."""
    child = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", module], cwd=tmp_path, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, encoding="utf-8", preexec_fn=interruptible,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if line.rpartition("|")[2].strip() == imported:
            child.send_signal(signal.SIGINT)
            break
    _, rest = child.communicate(timeout=60)
    printed = [line for line in rest.splitlines() if not line.startswith("import time:")]
    # The list of commands is printed before an interrupt after the last import arrives.
    assert (child.returncode, printed) in [(130, ["interrupted"]), *([(0, [])] if imported == "alsx._cli" else [])]


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX has them")
def test_an_interrupt_of_a_fit(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "alsx", "fit", "demo", "--k=200", "--model=m.npz"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        preexec_fn=interruptible,
    )  # fmt: skip
    assert child.stderr is not None
    printed = ""
    while "FactorALS:" not in printed and (letter := child.stderr.read(1)):
        printed += letter
    for _ in range(3):  # people press it again
        child.send_signal(signal.SIGINT)
        time.sleep(0.02)
    out, rest = child.communicate(timeout=60)
    assert child.returncode == 130
    assert rest.splitlines()[-1] == "interrupted"
    assert "Traceback" not in rest
    assert out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_behind_standard_output(tmp_path):
    with open("/dev/full", "w") as full:
        out = subprocess.run(
            [sys.executable, "-m", "alsx", "info", "--help"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert out.returncode == 2
    assert out.stderr.splitlines() == ["error: [Errno 28] No space left on device"]


@pytest.mark.skipif(os.name != "posix", reason="descriptors are closed as POSIX has them")
def test_closed_standard_output(tmp_path):
    for descriptor in (1, 2):
        command = f'"{sys.executable}" -m alsx info --help {descriptor}>&-'
        out = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert out.returncode == 0
        assert out.stderr == ""


def test_messages_name_flags():
    def command(ratings: str, *, iterations: int = 3, min_ratings: int = 0) -> None: ...

    def shown(message):
        return _cli.name_flag(message, command, {"max_iter": "iterations"})

    assert shown("max_iter is 0; it must be at least 1") == "--iterations is 0; it must be at least 1"
    assert shown("min_ratings is -1; it") == "--min-ratings is -1; it"
    assert shown("ratings is 5; it") == "RATINGS is 5; it"
    for message in ("k is 0; it", "the file is empty", "row 3 is bad", "min_ratings"):
        assert shown(message) == message


def test_arguments_in_the_wrong_order(example, tmp_path, fails):
    model = example[0] / "made/here/model.npz"
    (tmp_path / "ratings.csv").write_text("user,item,rating\n1,2,3\n")
    fails("alsx", "evaluate", "ratings.csv", model, says=["RATINGS is", "which is a model", "write MODEL first"])
    fails("alsx", "evaluate", "ratings.csv", "ratings.csv", says=["MODEL is ratings.csv", "a file of a model"])
    fails("alsx", "recommend", "ratings.csv", 1, says=["MODEL is ratings.csv"])
    fails("alsx", "evaluate", model, model, says=["RATINGS is", "which is a model"])
    fails("alsx", "fit", model, says=["is not a MovieLens archive"])


def test_faults_of_an_archive_are_one_line(tmp_path, fails):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-x/movies.csv", "movieId,title,genres\n1,A (1990),Drama\n")
        archive.writestr("ml-x/ratings.csv", "userId,movieId,rating,timestamp\n" + "1,1,3,4\n" * 1000)
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    raw[raw.index(b"ratings.csv") + 20] ^= 255
    (tmp_path / "a.zip").write_bytes(raw)
    fails("alsx", "fit", "a.zip", says=["a.zip: ml-x/ratings.csv is damaged"])
    fails("movielens", "a.zip", says=["a.zip: ml-x/ratings.csv is damaged"])


def test_a_defect_shows_its_traceback(monkeypatch):
    def broken() -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(sys, "argv", ["broken"])
    with pytest.raises(KeyError, match="a defect"):
        _cli.run(broken, "broken")


def test_held_out_films_among_the_recommended_are_listed(capsys):
    films = load_demo()
    train, test = train_test_split(films.ratings, 0.5, random_state=0)
    user = train.user_ids[np.argmax(np.diff(films.ratings.by_user.indptr))]
    model = alsx.FactorALS(3, max_iter=2, random_state=0).fit(train)
    movielens.recommend(films, model, model, train, test, user, 20)
    printed = capsys.readouterr().out.partition("held out for the test: ")[2].strip().removesuffix(".").split(", ")
    begin, end = test.by_user.indptr[(row := test.user_codes(user)) : row + 2]
    held = dict(zip(test.item_ids[test.by_user.indices[begin:end]], test.by_user.values[begin:end], strict=True))
    ids = [item for item in model.recommend(user, 10, min_ratings=20)[0] if item in held]
    assert ids
    assert printed == [f"{films.titles([item], alternates=False)[0]} {held[item]:g}" for item in ids]


def test_columns_of_wide_letters_line_up(capsys):
    _cli.table(["film", "stars"], [["千と千尋の神隠し", "5"], ["Amélie", "4"], ["Ame\u0301lie", "4.5"]], "lr")
    lines = capsys.readouterr().out.splitlines()
    assert [_cli.width(line) for line in lines] == [23] * 5
    assert _cli.shortened("千と千尋の神隠し", 6) == "千と…"
    assert _cli.shortened("Amélie", 6) == "Amélie"


def test_examples_are_listed(tmp_path):
    out = run("-m", "alsx.examples", folder=tmp_path).stdout
    for file in Path(alsx.__file__).with_name("examples").glob("[!_]*.py"):
        assert f"python -m alsx.examples.{file.stem}" in out


@pytest.mark.parametrize("module", ["alsx", "movielens"])
def test_help(command, module):
    out = command(module, "--help")
    assert "SYNOPSIS" in out.out
    assert out.err == ""


@pytest.mark.parametrize("word", list(alsx.__main__.COMMANDS))
def test_help_of_each_command(command, word):
    out = command("alsx", word, "--help").out
    assert ("RATINGS" if word == "prepare" else "MODEL") in out
    assert "FIRE" not in out
    assert f"alsx {word}" in out
    # Every flag has a description below its type and default.
    for flag in re.findall(r"^ +(?:-\w, )?--\w+=.*\n((?: {8}.*\n)*)", out, re.MULTILINE):
        assert not flag.splitlines()[-1].strip().startswith(("Default: ", "Type: "))
    assert word in command("alsx").out


def test_words_that_are_no_command(command):
    for arguments in (["nonsense"], ["fit"], ["fit", "demo", "surplus"], ["similar", "a.npz"], ["info", "--modle=x"]):
        out = command("alsx", *arguments, code=2)
        assert out.err.startswith("ERROR: ")
        assert out.out == ""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_of_ratings(tmp_path, command, fails, kind):
    import pyarrow as pa
    from pyarrow import csv, parquet

    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.choice(40 * 30, 500, replace=False), 30)
    table = pa.table(
        {"who": [f"u{x}" for x in users], "movieId": items, "rating": np.round(rng.uniform(1, 10, 500), 1)}
    )

    def write(table, name):
        file = tmp_path / f"{name}.{kind}"
        csv.write_csv(table, file) if kind == "csv" else parquet.write_table(table, file)
        return file

    file = write(table, "ratings")
    fails("alsx", "fit", file, says=["user", "who", "movieId"])
    fails("alsx", "fit", file, "--user-column=whom", says=["whom"])
    out = command("alsx", "fit", file, "--k=3", "--user-column=who", "--model=m.npz")
    assert "FactorALS" in out.out
    model = alsx.load(tmp_path / "m.npz")
    assert model.user_ids_.tolist() == sorted({f"u{x}" for x in users})
    ids, _ = model.recommend("u7", 2)
    out = command("alsx", "recommend", "m.npz", "u7", "--n=2")
    assert [int(line.split()[1]) for line in out.out.splitlines()[2:]] == ids.tolist()

    # A third of the users and none of the items become unknown.
    known = np.array([x % 3 > 0 for x in users])
    names = [f"u{x}" if k else f"x{x}" for x, k in zip(users, known, strict=True)]
    table = pa.table({"who": names, "movieId": items, "rating": table["rating"]})
    printed = json.loads(command("alsx", "evaluate", "m.npz", write(table, "test"), "--user-column=who", "--json").out)[
        0
    ]
    predicted, truth = model.predict(names, items), table["rating"].to_numpy()
    assert printed["ratings"] == 500
    assert printed["cold pairs"] == (~known).sum()
    assert printed["RMSE"] == pytest.approx(alsx.metrics.rmse(truth, predicted), rel=1e-6)
    assert printed["MAE"] == pytest.approx(alsx.metrics.mae(truth, predicted), rel=1e-6)
    assert printed["RMSE, others"] == pytest.approx(alsx.metrics.rmse(truth[known], predicted[known]), rel=1e-6)


FILES = {
    "named": "who,film,mark\nann,i1,5\nbob,i1,4\nann,i2,3\n",
    "twice": "user,item,rating\nann,i1,5\nbob,i1,4\nann,i1,3\n",
    "bare": "ann;i1;5\nbob;i1;4\nann;i2;-1\n",
    "tabs": "user\titem\trating\nann\ti 1\t5\nbob\ti 1\t4\n",
    "digits": "user,item,rating\n1,7,5\n2,7,4\n",
    "latin": "user,item,rating\nJosé,i1,5\n",
    "not a number": "user,item,rating\nann,i1,5\nbob,i1,n.d.\n",
}


@pytest.mark.parametrize(
    ("file", "flags", "options"),
    [
        (
            "named",
            ["--user-column=who", "--item-column=film", "--rating-column=mark"],
            {"user": "who", "item": "film", "rating": "mark"},
        ),
        ("twice", ["--duplicates=mean"], {"duplicates": "mean"}),
        ("bare", ["--header=False", "--missing=-1"], {"header": False, "missing": -1}),
        ("bare", ["--names=user,item,rating", "--separator=;"], {"names": ["user", "item", "rating"]}),
        ("tabs", [r"--separator=\t"], {"separator": "\t"}),
        ("digits", ["--id-types=strings,integers"], {"id_types": ("strings", "integers")}),
        ("digits", ["--id-types=strings", "--quoting=False"], {"id_types": "strings", "quoting": False}),
        ("latin", ["--encoding=latin-1"], {"encoding": "latin-1"}),
        ("not a number", ["--missing=n.d.,99"], {"missing": ["n.d.", 99]}),
    ],
)
def test_options_of_ratings_are_flags(tmp_path, command, file, flags, options):
    path = tmp_path / "ratings.csv"
    path.write_text(FILES[file], encoding="latin-1")
    command("alsx", "fit", path, "--k=0", "--model=m.npz", *flags)
    model, R = alsx.load(tmp_path / "m.npz"), alsx.Ratings(path, **options)
    assert model.user_ids_.tolist() == R.user_ids.tolist()
    assert model.item_ids_.tolist() == R.item_ids.tolist()
    assert model.user_counts_.sum() == R.n_ratings
    assert model.mean_ == pytest.approx(alsx.BiasALS().fit(R).mean_)
    out = json.loads(command("alsx", "evaluate", "m.npz", path, "--json", *flags).out)
    assert out[0]["ratings"] == R.n_ratings


@pytest.mark.parametrize("file", ["latin", "not a number"])
def test_remedies_work_where_they_are_given(tmp_path, command, file):
    path = tmp_path / "ratings.csv"
    path.write_text(FILES[file], encoding="latin-1")
    message = command("alsx", "fit", path, code=2).err
    command("alsx", "fit", path, "--k=0", re.findall(r"--[a-z-]+=[^ ,]+", message)[0])


def test_flags_for_files_are_refused_elsewhere(fails):
    fails("alsx", "fit", "demo", "--separator=;", says=["--separator is ;", "demo is taken for a MovieLens set"])
    fails("alsx", "fit", "none.csv", "--header=maybe", says=["--header is 'maybe'"])


def test_ids_of_digits_are_read_as_the_model_has_them(tmp_path, command):
    """A test file may have no letters where the training file had some."""
    alsx.BiasALS().fit([("17", "x"), ("18", "7"), ("b", "7")], [1.0, 2.0, 3.0]).save(tmp_path / "m.npz")
    (tmp_path / "test.csv").write_text("user,item,rating\n17,7,2\n18,7,2\n")
    assert json.loads(command("alsx", "evaluate", "m.npz", "test.csv", "--json").out)[0]["cold pairs"] == 0


@pytest.mark.parametrize("number", ["007", "1e3", "None", "1,2", "True"])
def test_ids_are_taken_as_typed(tmp_path, command, number):
    """Fire alone would make 7, 1000.0, None, a tuple and True of them."""
    alsx.BiasALS().fit([(number, "a"), ("other", "b"), ("other", "a")], [1.0, 2.0, 3.0]).save(tmp_path / "m.npz")
    assert json.loads(command("alsx", "recommend", "m.npz", number, "--n=5", "--json").out)[0]["item"] == "b"


def test_failures_of_the_command_line(tmp_path, example, command, fails):
    model = example[0] / "made/here/model.npz"
    (tmp_path / "broken.npz").write_bytes(model.read_bytes()[:5000])
    (tmp_path / "bad.csv").write_text("user,item,rating\n1,2,nan\n")
    (tmp_path / "words.csv").write_text("user,item,rating\nann,2,3\nbob,3,4\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "false.parquet").write_text("no parquet")
    fails("alsx", "fit", "none.csv", says=["none.csv"])
    fails("alsx", "fit", "empty.csv", says=["mpty"])
    fails("alsx", "fit", "false.parquet", says=["arquet"])
    fails("alsx", "fit", "bad.csv", says=["line 2"])
    fails("alsx", "fit", "bad.csv", "--model=no/where.npz", says=["--model is no/where.npz", "there is no folder no"])
    fails("alsx", "fit", "bad.csv", "--model=.", says=["--model is .", "not a folder"])
    fails("alsx", "fit", "words.csv", "--k=-1", says=["--k is -1"])
    fails("alsx", "fit", "words.csv", "--reg=high", says=["--reg is 'high'"])
    fails("alsx", "fit", "demo", "--user-column=x", says=["--user-column is x"])
    fails("alsx", "evaluate", model, "words.csv", says=["ids are integers"])
    fails("alsx", "evaluate", model, "words.csv", "--json=yes", says=["--json"])
    fails("alsx", "recommend", "none.npz", 1, says=["none.npz"])
    fails("alsx", "recommend", "broken.npz", 1, says=["broken.npz"])
    fails("alsx", "recommend", model, 77777, says=["77777", "unknown"])
    fails("alsx", "recommend", model, 5, "--n=0", says=["--n is 0"])
    fails("alsx", "similar", model, "x", says=["item x", "unknown"])
    command("alsx", "fit", "demo", "--k=0", "--model=bias.npz")
    fails("alsx", "similar", "bias.npz", 1, says=["BiasALS", "no factors"])


def test_the_command_line_as_a_process(tmp_path):
    """Warnings are a line without code, failures have their exit code, and results alone are on standard output."""
    (tmp_path / "far.csv").write_text("user,item,rating\n990001,990002,4\n")
    assert run("-m", "alsx", "fit", "demo", "--k=0", "--model=m.npz", folder=tmp_path).stdout.count("BiasALS") == 1
    out = run("-m", "alsx", "evaluate", "m.npz", "far.csv", folder=tmp_path)
    assert out.stderr.splitlines()[-1].startswith("warning: 1 of 1 predictions know only part of their pair")
    assert len(out.stdout.splitlines()) == 3
    out = run("-m", "alsx", "recommend", "none.npz", "1", folder=tmp_path, code=2)
    assert out.stderr.startswith("error: there is no model file none.npz")


def test_info_says_what_the_machine_can_do(command):
    out = command("alsx", "info").out
    for word in (alsx.__version__, "threads", alsx._core.simd_level(), "GFLOP/s"):
        assert word in out


def test_test_ratings_that_the_model_has_seen_are_told(tmp_path, command):
    """A file's model knows what it was fitted to."""
    (tmp_path / "train.csv").write_text("user,item,rating\n1,1,4\n1,2,3\n2,1,5\n2,3,1\n3,2,2\n")
    (tmp_path / "test.csv").write_text("user,item,rating\n1,1,4\n1,3,3\n2,3,5\n9,1,1\n3,9,1\n")
    (tmp_path / "new.csv").write_text("user,item,rating\n1,3,3\n9,9,5\n")
    command("alsx", "fit", tmp_path / "train.csv", "--k=0", f"--model={tmp_path / 'm.npz'}")
    told = command("alsx", "evaluate", tmp_path / "m.npz", tmp_path / "test.csv").err
    assert "warning: 2 of 5 test ratings are of pairs that the model was fitted to" in told
    assert "fitted to" not in command("alsx", "evaluate", tmp_path / "m.npz", tmp_path / "new.csv").err


def test_a_busy_machine_is_told():
    from alsx.examples._busy import busy_sentence, seconds_waited

    assert busy_sentence(1.0, 3.5, 2.0).startswith("The machine was busy: threads waited 2.5 s for a processor")
    assert busy_sentence(1.0, 1.01, 2.0) == ""
    assert busy_sentence(None, None, 2.0) == ""
    before = seconds_waited()
    if sys.platform == "linux" and before is not None:
        assert 0 <= before <= seconds_waited()


@pytest.mark.parametrize("script", ["biases", "factors", "picture"])
def test_example_scripts(tmp_path, script):
    file = ROOT / "examples" / f"{script}.py"
    if not file.exists():
        pytest.skip("the tests were copied without the examples")
    out = run(file, folder=tmp_path).stdout
    assert out
    if script == "picture":
        assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore:.*non-interactive:UserWarning")
@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("plot_*.py")), ids=lambda file: file.stem)
def test_scripts_of_the_gallery(file, capsys, monkeypatch):
    """Each draws into axes of pyplot, which is what a gallery collects, with a title on all of them."""
    # Its principal plane instead of seconds of t-SNE, which has tests of its own.
    monkeypatch.setattr("alsx.plot._embedding.tsne_positions", lambda unit, plane, *options: plane)
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    source = file.read_text(encoding="utf-8")
    headline, rule = (ast.get_docstring(ast.parse(source)) or "").splitlines()[:2]
    assert rule == "=" * len(headline)
    assert "\n# %%\n" in source
    before = pyplot.get_fignums()
    try:
        runpy.run_path(str(file))
        made = [pyplot.figure(number) for number in pyplot.get_fignums() if number not in before]
        assert made
        for figure in made:
            for ax in figure.axes:
                assert ax.get_title(loc="left")
    finally:
        for number in set(pyplot.get_fignums()) - set(before):
            pyplot.close(number)
