"""Array files that are either whole or absent: checksummed, written aside, flushed and renamed.

A file is an uncompressed `.npz` followed by a trailer of 40 bytes (8 of magic, 32 of SHA-256 over
everything before it). NumPy and `unzip` read it as an ordinary `.npz`. Reading never unpickles.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import secrets
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_MAGIC = b"dlmath\x00\x01"
_TRAILER = len(_MAGIC) + hashlib.sha256().digest_size
_META = "__meta__"


class DamagedFileError(ValueError):
    """A file whose content does not match its checksum, or that ends too early."""


class ArrayFile(NamedTuple):
    """Arrays by name, and the JSON-serialisable `meta` stored beside them."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


def write_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    meta: Mapping[str, Any] | None = None,
    *,
    sync_folder: bool = True,
) -> None:
    """Writes named arrays and JSON metadata to `path`, atomically and durably (fsync, then rename).

    Args:
        path: the file to create or replace; its folder is created.
        arrays: name -> array of numbers, booleans or fixed-width text; objects are refused.
        meta: JSON-serialisable record.
        sync_folder: also flush the folder, so that the name survives a power failure too. Without it such a file
            is whole or absent as ever; for many small ones it halves the cost.

    Raises:
        TypeError: for an array that would need pickling.
    """
    contents = {}
    for name, value in arrays.items():
        value = np.asarray(value)
        if value.dtype.hasobject or value.dtype.kind == "V":
            raise TypeError(f"array {name!r} must hold numbers, booleans or text, got dtype {value.dtype}")
        if name == _META:
            raise ValueError(f"array name {_META!r} is reserved; rename it")
        contents[name] = value
    contents[_META] = np.frombuffer(json.dumps(dict(meta or {})).encode(), np.uint8)
    payload = _archive(contents)
    with replacing(path, sync_folder=sync_folder) as file:
        file.write(payload)
        file.write(_MAGIC + hashlib.sha256(payload).digest())


def read_arrays(path: str | os.PathLike[str]) -> ArrayFile:
    """Reads what `write_arrays` wrote, after checking every byte against the checksum.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if the file is truncated or altered.
    """
    content = Path(path).read_bytes()
    payload, trailer = content[:-_TRAILER], content[-_TRAILER:]
    if len(content) <= _TRAILER or trailer[: len(_MAGIC)] != _MAGIC:
        raise DamagedFileError(f"{path} is truncated or was not written by dlmath; delete it and compute it again")
    if hashlib.sha256(payload).digest() != trailer[len(_MAGIC) :]:
        raise DamagedFileError(f"{path} does not match its checksum; delete it and compute it again")
    with np.load(io.BytesIO(payload), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files if name != _META}
        meta = json.loads(stored[_META].tobytes())
    return ArrayFile(arrays, meta)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text to `path`, atomically and durably."""
    with replacing(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, sync_folder: bool = True) -> Iterator[Any]:
    """Yields a binary file that takes the place of `path` when the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:100]}.{secrets.token_hex(8)}.part"
    try:
        # "x" refuses an existing file and, unlike tempfile, gives the permissions of an ordinary file.
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if sync_folder:
        _sync_folder(path.parent)


def try_lock(path: str | os.PathLike[str]) -> Callable[[], None] | None:
    """Takes the lock file `path` without waiting: the function that gives it back, or None if another holds it.

    The lock is the kernel's (`flock`), so a process that dies leaves none, and it works between processes and,
    on a shared disk that supports it, between machines. The file itself is removed on release.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # The former holder may have removed the file between our open and our lock: then another may lock a new one.
        try:
            same = os.path.samestat(os.stat(path), os.fstat(descriptor))
        except FileNotFoundError:
            same = False
        if same:
            break
        os.close(descriptor)

    def release() -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)

    return release


def clock(folder: str | os.PathLike[str]) -> int:
    """Now, in nanoseconds, by the clock that stamps the files of a folder (a shared disk has its own)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock") as file:
        return os.stat(file.name).st_mtime_ns


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _archive(contents: Mapping[str, np.ndarray]) -> bytes:
    """What np.savez writes, but for any name (np.savez takes none called "file") and without the time of day."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, value in contents.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, value, allow_pickle=False)
    return buffer.getvalue()


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
