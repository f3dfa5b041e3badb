"""Atomic writing: a file is there whole or as it was, whatever happens in between."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from alsx import _files
from alsx._files import atomic_write

posix = pytest.mark.skipif(os.name != "posix", reason="links, modes and signals are POSIX's")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_is_there_when_it_is_whole(tmp_path, before):
    file = tmp_path / "a.bin"
    if before is not None:
        file.write_bytes(before)
    with atomic_write(file) as out:
        out.write(b"new")
        out.flush()
        assert (file.read_bytes() if file.exists() else None) == before
        out.seek(0)
        assert out.read() == b"new"
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_text(tmp_path):
    with atomic_write(str(tmp_path / "a.txt"), encoding="utf-8") as out:
        out.write("Amélie\n")
    assert (tmp_path / "a.txt").read_text("utf-8") == "Amélie\n"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")

    def fail():
        with atomic_write(file) as out:
            out.write(b"half of it")
            raise error

    with pytest.raises(error):
        fail()
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@posix
def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/model").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real/model")
    (tmp_path / "second").symlink_to("link")
    (tmp_path / "dangling").symlink_to("real/later")
    for name, target in (("link", "model"), ("second", "model"), ("dangling", "later")):
        with atomic_write(tmp_path / name) as out:
            out.write(name.encode())
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "real" / target).read_bytes() == name.encode()
    assert names(tmp_path / "real") == ["later", "model"]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"), atomic_write(tmp_path / "loop"):
        pass
    assert (tmp_path / "loop").is_symlink()


@posix
def test_modes(tmp_path):
    old = tmp_path / "old"
    old.touch()
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        for name in ("old", "new"):
            with atomic_write(tmp_path / name) as out:
                out.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    old.chmod(0o600)
    with atomic_write(old):
        pass
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_what_is_write_protected_stays(tmp_path):
    file = tmp_path / "mine"
    file.write_bytes(b"old")
    file.chmod(0o444)
    with pytest.raises(PermissionError, match=r"write-protected.*mine"), atomic_write(file):
        pass
    assert file.read_bytes() == b"old"
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match="folder may not be written"), atomic_write(tmp_path / "new"):
            pass
    finally:
        tmp_path.chmod(0o755)


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*no to write model to; make it first"):
        atomic_write(tmp_path / "no" / "model").__enter__()
    with pytest.raises(IsADirectoryError if os.name == "posix" else OSError), atomic_write(tmp_path):
        pass


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with atomic_write("~/a") as out:
        out.write(b"x")
    assert names(tmp_path) == ["a"]


@posix
def test_what_is_not_a_regular_file_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with atomic_write(pipe) as out:
        out.write(b"x")
    reader.join(10)
    assert read == [b"x"]
    assert names(tmp_path) == ["pipe"]
    with atomic_write(os.devnull, encoding="utf-8") as text:
        text.write("x")
    assert not Path(os.devnull).is_file()


@posix
@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_long_names(tmp_path, name):
    with atomic_write(tmp_path / name) as out:
        out.write(b"x")
    assert names(tmp_path) == [name]


def in_a_process(code, *arguments, **kwargs):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs
    )


WRITE_AND_WAIT = """
import sys, time
from alsx._files import atomic_write
with atomic_write(sys.argv[1]) as out:
    out.write(b"half")
    print("begun", flush=True)
    time.sleep(60)
"""


@posix
def test_parts_of_killed_processes_are_removed_and_those_of_living_ones_are_not(tmp_path):
    file = tmp_path / "a[1].bin"
    file.write_bytes(b"old")
    (tmp_path / f"{file.name}.part").write_text("somebody's own")
    with in_a_process(WRITE_AND_WAIT, file) as killed, in_a_process(WRITE_AND_WAIT, file) as living:
        assert killed.stdout.readline() == living.stdout.readline() == "begun\n"
        assert len(names(tmp_path)) == 4
        killed.send_signal(signal.SIGKILL)
        killed.wait(30)
        assert file.read_bytes() == b"old"
        with atomic_write(file) as out:
            out.write(b"new")
        assert len(names(tmp_path)) == 3
        living.send_signal(signal.SIGINT)
        living.wait(30)
    assert names(tmp_path) == [file.name, f"{file.name}.part"]
    assert file.read_bytes() == b"new"


def test_without_locks_the_age_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "fcntl", None)
    young, old = (tmp_path / f"a.{digit * 16}.part" for digit in "01")
    young.touch()
    old.touch()
    os.utime(old, (0, 0))
    with atomic_write(tmp_path / "a"):
        pass
    assert names(tmp_path) == ["a", young.name]


FULL = """
import resource, signal, sys
from alsx._files import atomic_write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
with atomic_write(sys.argv[1]) as out:
    out.write(bytes(50_000))
"""


@posix
def test_a_full_disk_is_told_with_the_file(tmp_path):
    """By the limit of the size of files, which fails like a full disk."""
    file = tmp_path / "model.npz"
    file.write_bytes(b"old")
    with in_a_process(FULL, file) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(rf"\[Errno {errno.EFBIG}\] .*: '{re.escape(str(file))}'", err.splitlines()[-1])
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["model.npz"]


def test_the_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done = []

    def noting(name):
        call = getattr(os, name)

        def noted(*arguments):
            done.append(name)
            return call(*arguments)

        return noted

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noting(name))
    with atomic_write(tmp_path / "a"):
        pass
    assert done == (["fsync", "replace", "fsync"] if os.name == "posix" else ["fsync", "replace"])
