"""Downloads, from a server on this machine that serves small archives, drops connections and lies about checksums."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from alsx.datasets import load_movielens
from alsx.datasets.download import DownloadError, fetch, parse_checksum


def archive(n_ratings=3, padding=0):
    """A small archive in the layout of ml-latest; `padding` bytes that do not compress make it long to transfer."""
    raw = io.BytesIO()
    ratings = "".join(f"{user},1,4.0,{user}\n" for user in range(1, n_ratings + 1))
    with zipfile.ZipFile(raw, "w") as file:
        file.writestr("ml-x/ratings.csv", "userId,movieId,rating,timestamp\n" + ratings)
        file.writestr("ml-x/movies.csv", "movieId,title,genres\n1,Toy Story (1995),Animation\n")
        file.writestr("ml-x/README.txt", os.urandom(padding))
    return raw.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; `plans` says what to do instead with the next requests for a path."""

    daemon_threads = True

    def __init__(self):
        self.files, self.plans, self.log = {}, {}, []
        self.begun, self.closing = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/datasets"

    def publish(self, name, content, checksum=None):
        checksum = checksum or f"MD5 ({name}.zip) = {hashlib.md5(content).hexdigest()}\n"
        self.files[f"/datasets/{name}.zip"] = content
        self.files[f"/datasets/{name}.zip.md5"] = checksum.encode()

    def handle_error(self, request, client_address):
        """Clients that go away are part of the tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.log.append(self.path)
        plans = server.plans.get(self.path, [])
        plan = plans.pop(0) if plans else "serve"
        content = server.files.get(self.path)
        if isinstance(plan, int) or content is None:
            self.send_error(plan if isinstance(plan, int) else 404)
            return
        if plan == "hang up":
            self.connection.close()
            return
        if plan == "trickle":
            self.trickle(content)
            return
        if plan == "corrupt":
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(200)
        if plan != "drop without length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if plan in ("drop", "drop without length"):
            content = content[: len(content) // 2]
        if plan == "stall":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            server.begun.set()
            time.sleep(30)
            return
        self.wfile.write(content)

    def trickle(self, content):
        """A byte now and then, for ever: no time-out of the connection ends it."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for byte in content:
            if self.server.closing.wait(0.1):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def log_message(self, *args):
        """Not on the tests' standard error."""


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("alsx.datasets.download._PAUSE_SECONDS", (0.0, 0.0))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def get(server, tmp_path):
    """`fetch` from the server into a cache of this test."""

    def get(name="ml-100k", **kwargs):
        return fetch(name, **{"cache": tmp_path / "cache", "base_url": server.url, "progress": False, **kwargs})

    return get


def kept(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "MD5 (ml-100k.zip) = 0e33842e24a9c977be4e0107933c0723\n",
        "0e33842e24a9c977be4e0107933c0723  ml-100k.zip\n",
        "0E33842E24A9C977BE4E0107933C0723 *ml-100k.zip\r\n",
        "0e33842e24a9c977be4e0107933c0723",
    ],
)
def test_both_forms_of_checksum_files(text):
    assert parse_checksum(text) == "0e33842e24a9c977be4e0107933c0723"


@pytest.mark.parametrize("text", ["", "<html>Not found</html>", "0" * 31, "0" * 64, "0" * 32 + "\n" + "1" * 32])
def test_other_texts_are_no_checksums(text):
    with pytest.raises(ValueError, match="no MD5 sum in the checksum file, which begins"):
        parse_checksum(text)


def test_an_archive_is_downloaded_once_and_verified(server, get, tmp_path):
    content = archive()
    server.publish("ml-100k", content)
    path = get()
    assert path.read_bytes() == content
    assert kept(tmp_path) == ["ml-100k.zip", "ml-100k.zip.md5"]
    assert server.log == ["/datasets/ml-100k.zip.md5", "/datasets/ml-100k.zip"]
    assert get() == path
    assert len(server.log) == 2


def test_by_name(server, tmp_path):
    server.publish("ml-latest-small", archive())
    data = load_movielens("LATEST_small", cache=tmp_path / "cache", base_url=server.url + "/", progress=False)
    assert data.name == "ml-latest-small"
    assert data.table.num_rows == 3
    assert data.titles(1) == ["Toy Story"]


def test_environment_variables(server, tmp_path, monkeypatch):
    server.publish("ml-1m", archive())
    monkeypatch.setenv("ALSX_DATA_DIR", str(tmp_path / "from the environment"))
    monkeypatch.setenv("ALSX_MOVIELENS_URL", server.url)
    assert fetch("ml-1m", progress=False) == tmp_path / "from the environment" / "ml-1m.zip"
    assert fetch("ml-1m", progress=False, cache=tmp_path / "given").parent == tmp_path / "given"


def test_offline_and_cached(server, get):
    server.publish("ml-100k", archive())
    path = get()
    assert get(base_url="http://127.0.0.1:9/datasets") == path


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr("alsx.datasets.download._PAUSE_SECONDS", (0.0, 0.0))
    with socket_without_server() as port, pytest.raises(DownloadError) as caught:
        fetch("ml-100k", cache=tmp_path / "cache", base_url=f"http://127.0.0.1:{port}", progress=False)
    assert f"http://127.0.0.1:{port}/ml-100k.zip" in str(caught.value)
    assert "takes the path of an archive or folder that you have" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, OSError)
    assert kept(tmp_path) == []


def socket_without_server():
    """A port that is ours, so that nothing else can answer on it, and on which nobody listens."""
    import contextlib
    import socket

    @contextlib.contextmanager
    def hold():
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            yield held.getsockname()[1]

    return hold()


@pytest.mark.parametrize("plan", ["drop", "drop without length", "corrupt", "hang up", 500, 503])
def test_one_failure_is_tried_again(server, get, tmp_path, plan):
    content = archive(padding=300_000)
    server.publish("ml-100k", content)
    server.plans["/datasets/ml-100k.zip"] = [plan]
    assert get().read_bytes() == content
    assert server.log.count("/datasets/ml-100k.zip") == 2
    assert kept(tmp_path) == ["ml-100k.zip", "ml-100k.zip.md5"]


@pytest.mark.parametrize("plan", ["hang up", 500])
def test_a_failure_of_the_checksum_file_is_tried_again(server, get, plan):
    server.publish("ml-100k", archive())
    server.plans["/datasets/ml-100k.zip.md5"] = [plan]
    get()


@pytest.mark.parametrize("plan", ["drop", "drop without length", "corrupt", "hang up", 500])
@pytest.mark.parametrize("progress", [False, True])
def test_lasting_failures_leave_nothing(server, get, tmp_path, plan, progress):
    content = archive(padding=300_000)
    server.publish("ml-100k", content)
    server.plans["/datasets/ml-100k.zip"] = [plan] * 3
    with pytest.raises(DownloadError, match=r"/datasets/ml-100k\.zip"):
        get(progress=progress)
    assert server.log.count("/datasets/ml-100k.zip") == 3
    assert kept(tmp_path) == []
    assert get().read_bytes() == content


def test_a_mismatch_says_both_sums(server, get, tmp_path):
    content = archive()
    lie = "0123456789abcdef0123456789abcdef"
    server.publish("ml-100k", content, f"{lie}  ml-100k.zip\n")
    with pytest.raises(DownloadError, match="damaged or incomplete") as caught:
        get()
    assert lie in str(caught.value)
    assert hashlib.md5(content).hexdigest() in str(caught.value)
    assert "nothing was kept" in str(caught.value)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("missing", ["ml-100k.zip", "ml-100k.zip.md5"])
def test_404_is_not_asked_again(server, get, tmp_path, missing):
    server.publish("ml-100k", archive())
    del server.files[f"/datasets/{missing}"]
    with pytest.raises(DownloadError, match=rf"the server answered 404 for {server.url}/{missing}\)"):
        get()
    assert server.log.count(f"/datasets/{missing}") == 1
    assert kept(tmp_path) == []


def test_a_checksum_file_that_is_none(server, get, tmp_path):
    server.publish("ml-100k", archive(), "<html>Please log in</html>")
    with pytest.raises(DownloadError, match="no MD5 sum in the checksum file, which begins '<html>"):
        get()
    assert kept(tmp_path) == []


@pytest.mark.parametrize("damage", ["truncate", "flip", "no checksum", "bad checksum", "no archive"])
def test_a_damaged_cache_is_not_trusted(server, get, damage):
    content = archive()
    server.publish("ml-100k", content)
    path = get()
    sidecar = path.with_name("ml-100k.zip.md5")
    if damage == "truncate":
        path.write_bytes(content[:-1])
    elif damage == "flip":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "no checksum":
        sidecar.unlink()
    elif damage == "bad checksum":
        sidecar.write_bytes(b"\xff\xfe")
    else:
        path.unlink()
    assert get().read_bytes() == content
    assert len(server.log) == 4


def test_a_damaged_cache_without_network_is_refused(server, get):
    server.publish("ml-100k", archive())
    get().write_bytes(b"damaged")
    server.plans["/datasets/ml-100k.zip.md5"] = [500] * 3
    with pytest.raises(DownloadError, match="500"):
        get()


def test_an_archive_that_changes_between_checksum_and_download(server, get):
    """ml-latest is replaced from time to time: the second attempt asks for the checksum again."""
    old, new = archive(3), archive(4)
    server.publish("ml-latest", new)
    server.files["/datasets/ml-latest.zip.md5"] = hashlib.md5(old).hexdigest().encode()
    serve = Handler.do_GET

    def replace_then_serve(self):
        serve(self)
        if self.path.endswith(".zip"):
            server.publish("ml-latest", new)

    Handler.do_GET = replace_then_serve
    try:
        assert get("ml-latest").read_bytes() == new
    finally:
        Handler.do_GET = serve


@pytest.mark.parametrize("file", ["ml-100k.zip", "ml-100k.zip.md5"])
@pytest.mark.parametrize("progress", [False, True])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(server, get, tmp_path, monkeypatch, file, progress):
    monkeypatch.setattr("alsx.datasets.download._TIMEOUT_SECONDS", 1.0)
    server.publish("ml-100k", archive())
    server.plans[f"/datasets/{file}"] = ["trickle"] * 3
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"less than 16,384 bytes came in \d+ seconds"):
        get(progress=progress)
    assert time.monotonic() - start < 30
    assert server.log.count(f"/datasets/{file}") == 3
    assert kept(tmp_path) == []


def test_a_transfer_has_a_time_limit(server, get, tmp_path, monkeypatch):
    monkeypatch.setattr("alsx.datasets.download._MAX_SECONDS", 3.0)
    server.publish("ml-100k", archive())
    server.plans["/datasets/ml-100k.zip"] = ["trickle"]
    with pytest.raises(DownloadError, match="it took more than .* hours"):
        get()
    assert server.log.count("/datasets/ml-100k.zip") == 1
    assert kept(tmp_path) == []


def test_a_checksum_file_is_short(server, get, tmp_path):
    server.publish("ml-100k", archive(), "0" * 100_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(DownloadError, match=r"more than 65,536 bytes"):
            get()
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert kept(tmp_path) == []


def test_an_archive_is_not_larger_than_the_limit(server, get, tmp_path, monkeypatch):
    monkeypatch.setattr("alsx.datasets.download._MAX_BYTES", 100_000)
    server.publish("ml-100k", archive(padding=300_000))
    with pytest.raises(DownloadError, match=r"more than 100,000 bytes"):
        get()
    assert kept(tmp_path) == []


def test_messages_are_short(server, get):
    with pytest.raises(DownloadError) as caught:
        get("ml-latest-small")
    assert len(str(caught.value)) <= 300
    with socket_without_server() as port, pytest.raises(DownloadError, match="Connection refused|10061") as caught:
        get("ml-latest-small", base_url=f"http://127.0.0.1:{port}")
    assert len(str(caught.value)) <= 300


def test_the_progress_bar_is_on_standard_error(server, get, capsys):
    server.publish("ml-100k", archive(padding=600_000))
    get(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "ml-100k.zip: 100%" in err
    get(progress=True)
    assert capsys.readouterr() == ("", "")


def test_no_progress_bar_unless_asked_for(server, get, capsys):
    server.publish("ml-100k", archive())
    get()
    assert capsys.readouterr() == ("", "")


def test_many_at_once(server, get, tmp_path):
    content = archive(padding=500_000)
    server.publish("ml-100k", content)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: get(), range(8)))
    assert {path.read_bytes() for path in paths} == {content}
    assert kept(tmp_path) == ["ml-100k.zip", "ml-100k.zip.md5"]


FETCH = (
    "import sys; from alsx.datasets.download import fetch; "
    "fetch('ml-100k', cache=sys.argv[1], base_url=sys.argv[2], progress=False)"
)


def start(tmp_path, server):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FETCH, str(tmp_path / "cache"), server.url]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


@pytest.mark.parametrize("how", ["kill", "interrupt"])
@pytest.mark.skipif(os.name == "nt", reason="the signals are POSIX's")
def test_a_process_that_ends_in_the_middle_leaves_nothing_to_trust(server, get, tmp_path, how):
    content = archive(padding=600_000)
    server.publish("ml-100k", content)
    server.plans["/datasets/ml-100k.zip"] = ["stall"]
    with start(tmp_path, server) as process:
        assert server.begun.wait(30)
        process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGINT)
        process.communicate(timeout=30)
    left = kept(tmp_path)
    assert "ml-100k.zip" not in left
    assert "ml-100k.zip.md5" not in left
    if how == "interrupt":
        assert left == []
    assert get().read_bytes() == content  # and the part file of the killed process is cleared away
    assert kept(tmp_path) == ["ml-100k.zip", "ml-100k.zip.md5"]


def test_two_processes_at_once(server, tmp_path):
    content = archive(padding=600_000)
    server.publish("ml-100k", content)
    processes = [start(tmp_path, server) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
    assert (tmp_path / "cache" / "ml-100k.zip").read_bytes() == content
    assert kept(tmp_path) == ["ml-100k.zip", "ml-100k.zip.md5"]


def test_a_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match=r"the cache folder .* cannot be written .*ALSX_DATA_DIR"):
        fetch("ml-100k", cache=tmp_path / "file", base_url=server.url, progress=False)


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_the_archive_is_as_readable_as_other_files(server, get, tmp_path):
    server.publish("ml-100k", archive())
    (tmp_path / "other").touch()
    assert get().stat().st_mode == (tmp_path / "other").stat().st_mode
