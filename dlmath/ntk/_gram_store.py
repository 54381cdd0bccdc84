"""A Gram matrix on disk: a Zarr array, one file a tile, and a checksum for each.

    path/zarr.json      Zarr 3: shape, tiles as chunks, no compression; in its attributes what the matrix was made from
    path/c/i/j          tile (i, j), little-endian, rows first, filled up with NaN at the edges
    path/tiles.sha256   a line "checksum  file" for each file, as `sha256sum -c` reads it

A tile is written aside, flushed and renamed, and its line added after it: a process that is killed loses the tiles in
its hands. Of a symmetric matrix the tiles below the diagonal are not there, and read as NaN by what knows Zarr alone.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dlmath import check, files, linalg

_HEADER, _MANIFEST, _RECORD = "zarr.json", "tiles.sha256", "dlmath_gram"
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)\n")


class Layout(NamedTuple):
    """Of a matrix in tiles."""

    shape: tuple[int, int]
    sides: tuple[int, int]
    symmetric: bool
    dtype: str

    def tiles(self) -> list[tuple[int, int]]:
        """Those that are stored, row by row."""
        rows, columns = (-(-length // side) for length, side in zip(self.shape, self.sides, strict=True))
        return [(i, j) for i in range(rows) for j in range(columns) if j >= i or not self.symmetric]

    def place(self, tile: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of a tile."""
        starts = [number * side for number, side in zip(tile, self.sides, strict=True)]
        stops = [min(a + side, length) for a, side, length in zip(starts, self.sides, self.shape, strict=True)]
        return slice(starts[0], stops[0]), slice(starts[1], stops[1])

    def put(self, out: Any, tile: tuple[int, int], block: Any) -> None:
        """Writes a tile, and its mirror image, to their places in a matrix."""
        rows, columns = self.place(tile)
        out[rows, columns] = block
        if self.symmetric and tile[0] != tile[1]:
            out[columns, rows] = block.T


@dataclass(frozen=True)
class StoredGram:
    """A Gram matrix on disk, as `gram` stores and `read_gram` opens it; `numpy.asarray(stored)` is the whole.

    Each tile that is read is checked against its checksum. What takes a Gram matrix takes it, and reads all of it;
    `gp_posterior` by conjugate gradients, and `operator`, hold a tile of it at a time.

    Attributes:
        path: its folder.
        layout: shape, sides of a tile, whether it is symmetric, name of the type.
        checksums: file -> SHA-256, of the tiles that are there.
    """

    path: Path
    layout: Layout
    checksums: Mapping[str, str] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(n1, n2)."""
        return self.layout.shape

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def dtype(self) -> np.dtype:
        """Type of the entries."""
        return np.dtype(self.layout.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop − 1, all columns [stop − start, n2], from the tiles they cross.

        Raises:
            ValueError: for rows that are not there.
            files.DamagedFileError: for a tile that is missing or altered.
        """
        start = check.integer("start", start, at_least=0, at_most=self.shape[0] - 1)
        stop = check.integer("stop", stop, at_least=start + 1, at_most=self.shape[0])
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        for tile in self.layout.tiles():
            rows, columns = self.layout.place(tile)
            mirrored = self.layout.symmetric and tile[0] != tile[1]
            turns = [(rows, columns, False)] + [(columns, rows, True)] * mirrored
            for across, along, turned in turns:
                first, last = max(start, across.start), min(stop, across.stop)
                if first < last:
                    block = self.tile(*tile).T if turned else self.tile(*tile)
                    out[first - start : last - start, along] = block[first - across.start : last - across.start]
        return out

    def tile(self, i: int, j: int) -> np.ndarray:
        """The tile in row i and column j of tiles, i ≤ j if the matrix is symmetric; without what fills it up."""
        name = _tile_name((i, j))
        wanted = self.checksums.get(name)
        path = self.path / name
        content = path.read_bytes() if wanted is not None and path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != wanted:
            state = "is not there" if not content else "does not match its checksum"
            raise files.DamagedFileError(
                f"tile {path} {state}; call gram with this store again: it computes what is missing or damaged"
            )
        whole = np.frombuffer(content, self.dtype.newbyteorder("<")).reshape(self.layout.sides)
        rows, columns = self.layout.place((i, j))
        return whole[: rows.stop - rows.start, : columns.stop - columns.start]

    def diagonal(self) -> np.ndarray:
        """The entries K[i, i], from the tiles they are in.

        Raises:
            ValueError: unless the matrix is a set of inputs with itself.
            files.DamagedFileError: as `tile`.
        """
        self._check_symmetric()
        return np.concatenate([np.diagonal(self.tile(i, j)) for i, j in self.layout.tiles() if i == j])

    def operator(self) -> linalg.HostOperator:
        """V ↦ KV, a tile in memory at a time, for a matrix larger than memory.

        Of a pair of tiles that mirror each other one is stored, read once and used twice. A product reads the whole store
        whatever the number of columns; `linalg.solve` makes one for all its systems in a step.

        Returns:
            A `HostOperator` of the n columns, for `linalg.solve`, `linalg.shift` and `linalg.nystrom_preconditioner`.

        Raises:
            ValueError: unless the matrix is a set of inputs with itself.
        """
        self._check_symmetric()
        return linalg.HostOperator(self._times, self.shape[0], jax.dtypes.canonicalize_dtype(self.dtype))

    def _times(self, vectors: np.ndarray) -> np.ndarray:
        out = np.zeros_like(vectors)
        for tile in self.layout.tiles():
            rows, columns = self.layout.place(tile)
            block = self.tile(*tile)
            out[rows] += block @ vectors[columns]
            if tile[0] != tile[1]:
                out[columns] += block.T @ vectors[rows]
        return out

    def _check_symmetric(self) -> None:
        if not self.layout.symmetric:
            raise ValueError(
                f"store {self.path} must hold the Gram matrix of a set of inputs with itself (x2=None), got one of two"
                f" sets, {self.shape}"
            )

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if copy is False:
            raise ValueError("copy must not be False: the matrix is on disk")
        out = np.empty(self.shape, dtype or self.dtype)
        for tile in self.layout.tiles():
            self.layout.put(out, tile, self.tile(*tile))
        return out


def read_gram(store: str | os.PathLike[str]) -> StoredGram:
    """The Gram matrix that `gram` stored in a folder.

    Args:
        store: the folder.

    Returns:
        A StoredGram, which reads its tiles when they are asked for.

    Raises:
        FileNotFoundError: if there is none.
        files.DamagedFileError: if what describes it is damaged, or tiles are not there yet.
    """
    found = _opened(Path(store))
    missing = [tile for tile in found.layout.tiles() if _tile_name(tile) not in found.checksums]
    if missing:
        raise files.DamagedFileError(
            f"store {found.path} lacks {len(missing)} of {len(found.layout.tiles())} tiles; call gram with it again:"
            " it computes what is missing"
        )
    return found


class Writer:
    """A store that this process alone fills; `missing` are the tiles that are not there, or damaged."""

    def __init__(self, found: StoredGram) -> None:
        self._found = found
        kept = {name: digest for name, digest in found.checksums.items() if _holds(found.path / name, digest)}
        self.missing = [tile for tile in found.layout.tiles() if _tile_name(tile) not in kept]
        files.write_text(found.path / _MANIFEST, "".join(f"{digest}  {name}\n" for name, digest in kept.items()))
        for leftover in found.path.glob("c/*/.*.part"):
            leftover.unlink()

    def put(self, tile: tuple[int, int], block: np.ndarray) -> None:
        """Stores a tile."""
        layout, name = self._found.layout, _tile_name(tile)
        whole = np.full(layout.sides, np.nan, self._found.dtype.newbyteorder("<"))
        whole[: block.shape[0], : block.shape[1]] = block
        content = whole.tobytes()
        with files.replacing(self._found.path / name) as file:
            file.write(content)
        with open(self._found.path / _MANIFEST, "a") as manifest:
            manifest.write(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
            manifest.flush()
            os.fsync(manifest.fileno())


@contextlib.contextmanager
def writing(store: str | os.PathLike[str], layout: Layout, record: Mapping[str, Any]) -> Iterator[Writer]:
    """The store of a matrix made from what `record` says, new or begun; ValueError if it was made from something else."""
    path = Path(store)
    release = files.try_lock(path.parent / f".{path.name}.lock")
    if release is None:
        raise ValueError(f"store {path} is being filled by another process; wait for it, or give another folder")
    try:
        if not (path / _HEADER).exists():
            _create(path, layout, record)
        found = _opened(path)
        _check_same(found, layout, record)
        yield Writer(found)
    finally:
        release()


def _create(path: Path, layout: Layout, record: Mapping[str, Any]) -> None:
    import zarr

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"store {path} must be a new or an empty folder, or one that gram made; give another one")
    # Beside its place, which it takes as a whole.
    aside = path.parent / f".{path.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    zarr.create_array(
        str(aside), shape=layout.shape, chunks=layout.sides, dtype=layout.dtype, fill_value=np.nan, compressors=None,
        filters=None, attributes={_RECORD: {"symmetric": layout.symmetric, **record}}, zarr_format=3,
    )  # fmt: skip
    files.write_text(aside / _MANIFEST, f"{files.sha256(aside / _HEADER)}  {_HEADER}\n")
    os.replace(aside, path)


def _opened(path: Path) -> StoredGram:
    header, manifest = path / _HEADER, path / _MANIFEST
    if not header.is_file() or not manifest.is_file():
        raise FileNotFoundError(f"store {path} holds no Gram matrix; make it by gram(kernel, x, store={str(path)!r})")
    # A line that a kill has cut short, or that was altered beyond recognition, is no line: its tile is computed again.
    lines = [match for match in map(_LINE.fullmatch, manifest.read_text(errors="replace").splitlines(True)) if match]
    checksums = {match[2]: match[1] for match in lines}
    if checksums.get(_HEADER) != files.sha256(header):
        raise files.DamagedFileError(f"{header} does not match its checksum; delete the store and compute it again")
    found = json.loads(header.read_text())
    if _RECORD not in found["attributes"]:
        raise ValueError(f"store {path} must be one that gram made, got a Zarr array of something else")
    sides = found["chunk_grid"]["configuration"]["chunk_shape"]
    symmetric = found["attributes"][_RECORD]["symmetric"]
    return StoredGram(path, Layout(tuple(found["shape"]), tuple(sides), symmetric, found["data_type"]), checksums)


def _check_same(found: StoredGram, layout: Layout, record: Mapping[str, Any]) -> None:
    stored = json.loads((found.path / _HEADER).read_text())["attributes"][_RECORD]
    difference = None
    for name in ("x1", "x2"):
        if stored[name] != record[name] and difference is None:
            difference = f"{name}: it has {_input_words(stored[name])}, got {_input_words(record[name])}"
    if difference is None and found.layout.dtype != layout.dtype:
        difference = f"dtype: it has {found.layout.dtype}, got a kernel of {layout.dtype}"
    if difference is None and found.layout.sides != layout.sides:
        difference = f"block_size: it has tiles {found.layout.sides}, got {layout.sides}"
    if difference is None and stored["kernel_arrays"] != record["kernel_arrays"]:
        difference = "kernel: other parameters are bound to it"
    if difference is None:
        before, now = np.asarray(stored["kernel_values"]), np.asarray(record["kernel_values"])
        # What another number of threads or another version of a compiler may change, where a kernel loses half its digits.
        gap = np.abs(before - now).max() / np.abs(before).max()
        if not gap <= float(np.sqrt(np.finfo(found.dtype).eps)):
            difference = f"kernel: entries between some of the inputs differ by {gap:.1e} of the largest"
    if difference is not None:
        raise ValueError(
            f"store {found.path} was made from another {difference}; give another folder, or delete this one"
        )


def _input_words(record: Any) -> str:
    if record is None:
        return "None"
    return ", ".join(f"{one['dtype']}{one['shape']} of SHA-256 {one['sha256'][:8]}…" for one in record)


def _tile_name(tile: tuple[int, int]) -> str:
    return f"c/{tile[0]}/{tile[1]}"


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and files.sha256(path) == digest
