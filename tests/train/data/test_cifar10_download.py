"""The word cifar10 downloads the archive once and checks it; a server here stands in for the official one."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pooch
import pytest

from clf_train import Dataset
from clf_train.data import cifar10
from clf_train.data.sources import read_source
from clf_train.errors import DataError

Files = dict[str, bytes]
Pack = Callable[..., Path]
Check = Callable[[Dataset, str], None]


@dataclass
class Server:
    """An HTTP server on this machine: what it gives, and what it was asked for."""

    content: bytes
    status: int = 200
    asked: list[str] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def server(
    tmp_path: Path, pack_cifar10: Pack, cifar10_binary: Files, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """A server of the binary archive, which stands in for the official one; the cache is in `tmp_path`."""
    state = Server(pack_cifar10(tmp_path / "packed.tar.gz", cifar10_binary).read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.port = http.server_address[1]
        monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{state.port}/cifar-10-binary.tar.gz")
        monkeypatch.setattr(cifar10, "CHECKSUM", f"md5:{hashlib.md5(state.content).hexdigest()}")
        monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(proxy, raising=False)
        monkeypatch.chdir(tmp_path)  # where no file is named cifar10
        yield state
        http.shutdown()
        thread.join()


def cached(tmp_path: Path) -> list[str]:
    return [str(path.relative_to(tmp_path / "cache")) for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_word_cifar10_downloads_checks_and_reads_the_archive(
    tmp_path: Path, check_cifar10: Check, server: Server
) -> None:
    read = read_source("cifar10")
    check_cifar10(read, "binary")
    assert read.source == "cifar10"
    assert server.asked == ["/cifar-10-binary.tar.gz"]
    assert cached(tmp_path) == ["clf-edge/cifar-10-binary.tar.gz"]


def test_a_second_read_takes_the_cached_file(tmp_path: Path, server: Server) -> None:
    first = read_source("cifar10")
    server.status = 500
    assert read_source("cifar10").fingerprint == first.fingerprint
    assert len(server.asked) == 1


def test_a_cached_file_that_was_damaged_is_downloaded_anew(
    tmp_path: Path, check_cifar10: Check, server: Server
) -> None:
    read_source("cifar10")
    (tmp_path / "cache/clf-edge/cifar-10-binary.tar.gz").write_bytes(b"damaged")
    check_cifar10(read_source("cifar10"), "binary")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "content", [b"", b"<html>moved</html>", None], ids=["nothing", "a page", "the archive cut short"]
)
def test_a_wrong_checksum_is_refused_and_nothing_stays_in_the_cache(
    tmp_path: Path, server: Server, content: bytes | None
) -> None:
    server.content = server.content[:-1] if content is None else content
    with pytest.raises(DataError, match=r"cifar10: cannot be downloaded from http://127\.0\.0\.1") as caught:
        read_source("cifar10")
    assert "\n" not in str(caught.value)
    assert "checksum differs); fetch that file" in str(caught.value)
    assert cached(tmp_path) == []


def test_a_refused_download_leaves_the_next_one_free_to_work(check_cifar10: Check, server: Server) -> None:
    good, server.content = server.content, b"wrong"
    with pytest.raises(DataError, match="cannot be downloaded"):
        read_source("cifar10")
    server.content = good
    check_cifar10(read_source("cifar10"), "binary")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_answer_of_the_server_that_is_an_error_is_told(tmp_path: Path, server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(
        DataError, match=rf"cifar10: cannot be downloaded from .*: the server answered {status} .*; fetch"
    ):
        read_source("cifar10")
    assert cached(tmp_path) == []


def test_a_server_that_is_not_there_is_told(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_address[1]
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{port}/x")
    with pytest.raises(DataError, match=f"cifar10: cannot be downloaded from http://127.0.0.1:{port}/x: ") as said:
        read_source("cifar10")
    reason = str(said.value).partition("/x: ")[2]
    assert reason == "127.0.0.1 cannot be reached; fetch that file in another way and pass it as --data"
    assert cached(tmp_path) == []


def test_the_download_is_held_against_the_published_checksum_of_the_official_file() -> None:
    assert cifar10.URL == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert cifar10.CHECKSUM == "md5:c32a1d4ab5d03f1284b67883e8d87530"
