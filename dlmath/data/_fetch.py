"""Files of public data sets: found, unpacked, checked against SHA-256, downloaded when absent.

`sha256.txt` lists the digests of the unpacked content in the format of the `sha256sum` program. Nothing here
executes what it reads: the formats are gzip, xz and tar, and archives are never extracted to paths of
their own choosing.
"""

import contextlib
import functools
import gzip
import hashlib
import http.client
import lzma
import os
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from dlmath.files import DamagedFileError, replacing

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, http.client.HTTPException)


class DownloadError(OSError):
    """A data file that is neither on this machine nor could be downloaded whole."""


def read(name: str, urls: Sequence[str]) -> bytes:
    """The unpacked content of a data file, such as `"mnist/train-labels-idx1-ubyte"`.

    Looks in `$DLMATH_DATA`, then in the cache folder, for the file itself or with `.gz` or `.xz`
    appended; otherwise downloads it from the first of `urls` that delivers the right content (a fragment,
    `.tar.gz#member`, names a member of an archive) and keeps it in the cache.

    Raises:
        DamagedFileError: if a file on this machine does not have the SHA-256 listed for it.
        DownloadError: if there is no such file and no address delivers it.
    """
    path = find(name)
    if path is None:
        return _download(name, urls)
    try:
        content = _unpack(path.read_bytes(), path.name)
    except _BROKEN as error:
        raise DamagedFileError(
            f"{path} is truncated or damaged ({error}); delete it or put a whole copy there"
        ) from error
    problem = _mismatch(content, name)
    if problem:
        raise DamagedFileError(f"{path} {problem}; delete it or put a good copy there")
    return content


def find(name: str) -> Path | None:
    """Where `$DLMATH_DATA` or the cache folder holds a data file, packed or not."""
    for folder in (data_folder(), cache_folder()):
        for suffix in ("", ".xz", ".gz"):
            if folder is not None and (path := folder / f"{name}{suffix}").is_file():
                return path
    return None


def data_folder() -> Path | None:
    """The folder named by the environment variable DLMATH_DATA, if it is set."""
    value = os.environ.get("DLMATH_DATA")
    if not value:
        return None
    if not Path(value).is_dir():
        raise ValueError(
            f"the environment variable DLMATH_DATA must name a folder, got {value!r}; create it or unset it"
        )
    return Path(value)


def cache_folder() -> Path:
    """The folder where downloads are kept: `dlmath/data` in the user's cache."""
    import platformdirs

    return platformdirs.user_cache_path("dlmath", appauthor=False) / "data"


@functools.cache
def digests() -> dict[str, str]:
    """File name -> SHA-256 of its unpacked content."""
    lines = Path(__file__).with_name("sha256.txt").read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def _download(name: str, urls: Sequence[str]) -> bytes:
    failures = []
    for url in urls:
        address, _, member = url.partition("#")
        try:
            with _retrieved(address) as file:
                if member:
                    return _from_archive(file, name, member)
                content = _unpack(file.read(), address)
        except _BROKEN as error:
            failures.append(f"  {address}: {_reason(error)}")
            continue
        problem = _mismatch(content, name)
        if not problem:
            _keep(name, content)
            return content
        failures.append(f"  {address}: the file {problem}")
    folder = data_folder()
    raise DownloadError(
        f"cannot get the data file {name}: it is not in "
        + ("DLMATH_DATA (not set)" if folder is None else f"DLMATH_DATA ({folder})")
        + f" nor in the cache ({cache_folder()}), and downloading failed:\n"
        + "\n".join(failures or ["  (no public address)"])
        + f"\nOffline, set DLMATH_DATA to a folder that holds {name} (or {name}.gz, {name}.xz),"
        + f" or copy it to {cache_folder() / name}"
    )


@contextlib.contextmanager
def _retrieved(address: str):
    """Downloads with a progress bar into an anonymous file, which is yielded from its start."""
    from tqdm import tqdm

    with contextlib.ExitStack() as stack:
        response = stack.enter_context(urllib.request.urlopen(address, timeout=_TIMEOUT))
        file = stack.enter_context(tempfile.TemporaryFile())
        expected = response.headers.get("Content-Length")
        total = int(expected) if expected and expected.isdigit() else None
        # disable=None: a bar on a terminal, silence in a log.
        bar = tqdm(total=total, unit="B", unit_scale=True, desc=address.rpartition("/")[2], disable=None)
        received = 0
        with bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
        if total is not None and received != total:
            raise OSError(f"truncated, got {received} of {total} bytes")
        file.seek(0)
        yield file


def _from_archive(file: IO[bytes], name: str, member: str) -> bytes:
    """Keeps every member that has a digest, so that an archive is downloaded once for all its files."""
    folder = name.rpartition("/")[0]
    wanted, found = None, []
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for entry in archive:
            stored = f"{folder}/{entry.name.rpartition('/')[2]}"
            if not entry.isfile() or stored not in digests():
                continue
            content = archive.extractfile(entry).read()  # type: ignore[union-attr]  # a regular file
            if problem := _mismatch(content, stored):
                raise OSError(f"its member {entry.name} {problem}")
            found.append((stored, content))
            if entry.name == member:
                wanted = content
    if wanted is None:
        raise OSError(f"the archive has no member {member}")
    for stored, content in found:
        _keep(stored, content)
    return wanted


def _keep(name: str, content: bytes) -> None:
    with replacing(cache_folder() / name) as file:
        file.write(content)


def _unpack(content: bytes, filename: str) -> bytes:
    if filename.endswith(".gz"):
        return gzip.decompress(content)
    return lzma.decompress(content) if filename.endswith(".xz") else content


def _mismatch(content: bytes, name: str) -> str:
    digest = hashlib.sha256(content).hexdigest()
    if digest == digests()[name]:
        return ""
    return f"has the wrong checksum: expected SHA-256 {digests()[name]}, got {digest} over {len(content)} bytes"


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_TIMEOUT:g} s"
    return str(error) or type(error).__name__
