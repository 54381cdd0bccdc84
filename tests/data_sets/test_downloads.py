"""A download is whole and right, or it is an error that says what to do; a server on 127.0.0.1 plays the source."""

import gzip
import hashlib
import http.server
import io
import lzma
import re
import socket
import tarfile
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import dlmath as dm
from dlmath.data import _fetch, _images
from dlmath.files import DamagedFileError

CONTENT = bytes(range(256)) * 64
NAME = "set/file"


class _Source(http.server.BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}
    requests: ClassVar[list[str]] = []

    def do_GET(self):
        self.requests.append(self.path)
        path = self.path.removeprefix("/truncated")
        if path not in self.files:
            self.send_error(404)
            return
        content = self.files[path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if path != self.path else content)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def source():
    """(address of a server, its handler class with `files` to serve and `requests` seen)."""
    handler = type("Source", (_Source,), {"files": {}, "requests": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, no DLMATH_DATA, no proxy, and the digest of CONTENT."""
    folder = tmp_path / "cache"
    monkeypatch.delenv("DLMATH_DATA", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr(_fetch, "cache_folder", lambda: folder)
    monkeypatch.setattr(_fetch, "digests", lambda: {NAME: hashlib.sha256(CONTENT).hexdigest()})
    return folder


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_a_good_download_is_unpacked_checked_and_kept(source, cache, suffix, pack):
    address, server = source
    server.files["/file" + suffix] = pack(CONTENT)
    urls = [f"{address}/file{suffix}"]
    assert _fetch.read(NAME, urls) == CONTENT
    assert _files(cache) == [NAME]
    assert _fetch.read(NAME, urls) == CONTENT
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing", "HTTP Error 404"),
        ("/truncated/file", "truncated, got 8192 of 16384 bytes"),
        ("/wrong", "wrong checksum: expected SHA-256"),
        ("/half.gz", "ended before"),
    ],
)
def test_a_bad_download_names_the_file_the_address_and_the_remedy(source, cache, path, reason):
    address, server = source
    server.files |= {"/file": CONTENT, "/wrong": CONTENT[:-1] + b"x", "/half.gz": gzip.compress(CONTENT)[:100]}
    with pytest.raises(dm.data.DownloadError) as error:
        _fetch.read(NAME, [address + path])
    message = str(error.value)
    assert re.search(f"{address + path}: .*{reason}", message)
    assert f"the data file {NAME}" in message
    assert f"set DLMATH_DATA to a folder that holds {NAME}" in message
    assert str(cache / NAME) in message
    assert not cache.exists() or _files(cache) == []


def test_a_refused_connection_is_an_error_with_the_same_advice(cache):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        with pytest.raises(dm.data.DownloadError, match=r"refused(.|\n)*set DLMATH_DATA"):
            _fetch.read(NAME, [address])


def test_the_second_address_serves_when_the_first_does_not(source, cache):
    address, server = source
    server.files["/file"] = CONTENT
    assert _fetch.read(NAME, [f"{address}/gone", f"{address}/file"]) == CONTENT
    assert server.requests == ["/gone", "/file"]


def test_an_archive_is_downloaded_once_for_all_its_files(source, cache, monkeypatch):
    other = CONTENT[::-1]
    digests = {"set/a.bin": hashlib.sha256(CONTENT).hexdigest(), "set/b.bin": hashlib.sha256(other).hexdigest()}
    monkeypatch.setattr(_fetch, "digests", lambda: digests)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in (("top/a.bin", CONTENT), ("top/b.bin", other), ("../../escape.txt", b"no")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    address, server = source
    server.files["/all.tar.gz"] = buffer.getvalue()
    assert _fetch.read("set/b.bin", [f"{address}/all.tar.gz#top/b.bin"]) == other
    assert _fetch.read("set/a.bin", [f"{address}/all.tar.gz#top/a.bin"]) == CONTENT
    assert len(server.requests) == 1
    assert _files(cache.parent) == ["cache/set/a.bin", "cache/set/b.bin"]


def test_the_named_folder_comes_before_the_cache(cache, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "file.xz").write_bytes(lzma.compress(CONTENT))
    (cache / "set").mkdir(parents=True)
    (cache / NAME).write_bytes(b"damaged")
    monkeypatch.setenv("DLMATH_DATA", str(folder))
    assert _fetch.read(NAME, []) == CONTENT


@pytest.mark.parametrize(
    ("suffix", "stored", "reason"),
    [
        ("", CONTENT[:-1], "wrong checksum"),
        (".gz", gzip.compress(CONTENT)[:50], "truncated or damaged"),
        (".xz", lzma.compress(CONTENT)[:50], "truncated or damaged"),
    ],
    ids=["plain", "gz", "xz"],  # not the bytes, in which gzip writes the time of day
)
def test_a_damaged_file_on_this_machine_is_named_not_replaced(source, cache, suffix, stored, reason):
    address, server = source
    server.files["/file"] = CONTENT
    (cache / "set").mkdir(parents=True)
    path = cache / f"{NAME}{suffix}"
    path.write_bytes(stored)
    with pytest.raises(DamagedFileError, match=rf"{re.escape(str(path))}.*{reason}"):
        _fetch.read(NAME, [f"{address}/file"])
    assert server.requests == []
    assert path.read_bytes() == stored


def test_a_missing_cifar10_batch_is_named_beside_those_that_are_there(cache, monkeypatch):
    monkeypatch.setattr(_images, "_CIFAR10_URLS", ())
    records = np.zeros((2, 3073), np.uint8).tobytes()
    names = [f"cifar10/data_batch_{batch}.bin" for batch in (1, 2, 5)]
    monkeypatch.setattr(_fetch, "digests", lambda: dict.fromkeys(names, hashlib.sha256(records).hexdigest()))
    for name in names:
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(records)
    assert dm.data.cifar10(batches=(1, 2), test_batch=5).x.shape == (4, 32, 32, 3)
    with pytest.raises(dm.data.DownloadError, match=r"test_batch\.bin(.|\n)*batches=\(1, 2\), test_batch=5"):
        dm.data.cifar10(batches=(1, 2))
    with pytest.raises(dm.data.DownloadError, match=r"data_batch_3\.bin(.|\n)*batches 1, 2, 5 are on this machine"):
        dm.data.cifar10(batches=(1, 3), test_batch=5)


def test_no_real_source_is_a_pickle():
    from dlmath.data import _text, _uci

    urls = (*_images._MNIST_URLS, *_images._FASHION_MNIST_URLS, *_images._CIFAR10_URLS, _text._URL, _uci._URL)
    assert all(re.match(r"https://", url) and not re.search(r"\.(pkl|pickle|npy)|python", url) for url in urls)
