"""Checkpoints of a run: everything its next step needs, bit for bit, in one checksummed file."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check, files


class Resumed(NamedTuple):
    """A run read from disk, at the step where it was written."""

    step: int
    running: Any


def checked_interval(checkpoint: Any, checkpoint_every: Any) -> int | None:
    """How often to write; TypeError or ValueError unless a path, and a number with it, or nothing at all is given."""
    if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(f"checkpoint must be a path, got {checkpoint!r} of type {type(checkpoint).__name__}")
    if checkpoint_every is None:
        return None
    every = check.positive_int("checkpoint_every", checkpoint_every)
    if checkpoint is None:
        raise ValueError(f"checkpoint_every={every} needs a file to write: give checkpoint=path")
    return every


def save(path: str | os.PathLike[str], step: int, running: Any, identity: Mapping[str, Any]) -> None:
    """Writes the run, replacing the file at `path` atomically.

    Args:
        path: the file.
        step: updates made so far.
        running: pytree of arrays.
        identity: JSON record of what the run computes; `load` refuses another.
    """
    arrays = {f"leaf{i:05d}": _storable(leaf) for i, leaf in enumerate(jax.tree.leaves(running))}
    files.write_arrays(path, arrays, {"step": step, "identity": dict(identity)})


def load(path: str | os.PathLike[str], like: Any, identity: Mapping[str, Any]) -> Resumed | None:
    """Reads the run stored at `path`, or returns None if there is no such file.

    Args:
        path: the file.
        like: pytree with the structure, shapes and dtypes of the run.
        identity: what the run to be resumed computes.

    Raises:
        ValueError: if the checkpoint belongs to another run; the message names what differs.
        DamagedFileError: if the file is truncated or altered.
    """
    if not Path(path).exists():
        return None
    arrays, meta = files.read_arrays(path)
    stored = meta["identity"]
    different = sorted(name for name in {*stored, *identity} if stored.get(name) != identity.get(name))
    if different:
        listed = ", ".join(f"{name} ({stored.get(name)} there, {identity.get(name)} here)" for name in different)
        raise ValueError(
            f"checkpoint {os.fspath(path)} belongs to another run: different {listed}; delete it or choose another path"
        )
    leaves, treedef = jax.tree.flatten(like)
    if len(leaves) != len(arrays):
        raise ValueError(
            f"checkpoint {os.fspath(path)} belongs to another run: it holds {len(arrays)} arrays, this run has "
            f"{len(leaves)}; delete it or choose another path"
        )
    restored = [_restored(path, arrays[f"leaf{i:05d}"], leaf) for i, leaf in enumerate(leaves)]
    return Resumed(meta["step"], jax.tree.unflatten(treedef, restored))


def digest(tree: Any) -> str:
    """A short checksum of the shapes, dtypes and bytes of all arrays in `tree`."""
    checksum = hashlib.sha256(str(jax.tree.structure(tree)).encode() if _is_plain(tree) else b"")
    for leaf in jax.tree.leaves(tree):
        value = _storable(leaf)
        checksum.update(f"{value.dtype}{value.shape}".encode())
        checksum.update(np.ascontiguousarray(value).tobytes())
    return checksum.hexdigest()[:16]


def _is_plain(tree: Any) -> bool:
    # Structures that hold functions print addresses, which change from process to process.
    return "0x" not in str(jax.tree.structure(tree))


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _storable(leaf: Any) -> np.ndarray:
    value = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    # NumPy's files do not know bfloat16 and its relatives: their bits are stored as integers.
    return value.view(f"u{value.dtype.itemsize}") if value.dtype.kind == "V" else value


def _restored(path: Any, value: np.ndarray, like: Any) -> Any:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(value), impl=jax.random.key_impl(like))
    if np.dtype(like.dtype).kind == "V":
        value = value.view(like.dtype)
    if value.shape != like.shape or value.dtype != like.dtype:
        raise ValueError(
            f"checkpoint {os.fspath(path)} belongs to another run: it holds an array of shape {value.shape} and dtype "
            f"{value.dtype} where this run has {like.shape} and {like.dtype}; delete it or choose another path"
        )
    return jnp.asarray(value)
