"""Gram matrices tile by tile, in memory or on disk, here or on many machines."""

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dlmath import check
from dlmath.ntk import _gram_memory, _gram_store, _inputs
from dlmath.ntk._gram_store import Layout, read_gram
from dlmath.typing import KernelFn

_PROBED = 4
"""Inputs between which a kernel is evaluated to be recognised."""


def gram(
    kernel: KernelFn | Any,
    x1: Any,
    x2: Any = None,
    *,
    block_size: int = 1000,
    memory: float | None = None,
    store: str | os.PathLike[str] | None = None,
    engine: Any = None,
) -> Any:
    """The Gram matrix K[i, j] = k(x1[i], x2[j]), tile by tile, in memory or in a Zarr store.

    With `x2=None` the tiles on and above the diagonal are computed, those on it as `kernel(rows)` of one argument. A
    store keeps every tile that is done, with a checksum: the same call after a kill computes what is missing or
    damaged. It is refused if it was made from other inputs, another precision, other tiles or another kernel (known by
    the arrays bound to it by `functools.partial` and by its values between a few of the inputs).

    Args:
        kernel: (x1[n1, ...], x2[n2, ...] or None) -> [n1, n2], such as `model.kernel`, a function of `dlmath.kernels`,
            or functools.partial(ntk.empirical, apply, params, outputs="trace"). It is called with NumPy arrays
            in the precision of JAX's mode.
        x1: inputs, a pytree of arrays with n1 rows.
        x2: inputs like `x1`, n2 rows; None means x1 against itself.
        block_size: rows and columns of a tile, at most; tiles are of equal size, the last of a row is filled up by
            copies of its last input, so that one program serves all of them (and one those on the diagonal).
        memory: bytes that this call may take, or each worker of `engine`; tiles are made smaller than `block_size` until
            the inputs, without a store the matrix, and a tile on each device here are predicted to fit. A tile is
            predicted from the program that is compiled for it, so `kernel` must be one that JAX can trace. What Python and
            JAX take themselves, some hundred megabytes, comes on top. None for tiles of `block_size`.
        store: a folder; None for a matrix in memory.
        engine: how tiles are computed, (tiles, compute) -> iterator of (tile, block), such as `repro.dask_engine()`;
            None for this process, a tile on each of its devices at a time.

    Returns:
        K [n1, n2] as a NumPy array, or the `StoredGram` in which it can be read. Tiles are the same bits on any engine
        whose workers have the same processor, versions and number of threads.

    Raises:
        ValueError: for inputs without rows or that do not go together, a kernel that returns no finite matrix of floats
            of their numbers of rows, a kernel that JAX cannot trace or a `memory` too small for one row, or a store that was made from something else or is being filled by another process.
        Whatever the kernel or the engine raise; tiles that came before are in the store.

    >>> linear = lambda x1, x2=None: x1 @ (x1 if x2 is None else x2).T
    >>> print(gram(linear, np.array([[1.0], [2.0], [3.0]]), block_size=2)[2])
    [3. 6. 9.]

    Cost: n1 n2 evaluations of the kernel, half of it with `x2=None`. Memory: the inputs, a tile and what the kernel takes
    for it, on each device, and without a store the matrix. Disk: that of the tiles.
    """
    budget = None if memory is None else _gram_memory.Budget(memory, store is None, engine is None)
    tiles, layout, record = _described(kernel, x1, x2, block_size, budget)
    if engine is not None:
        check.callable_("engine", engine)
    if store is None:
        out = np.empty(layout.shape, layout.dtype)
        for tile, block in _computed(layout.tiles(), tiles, engine):
            layout.put(out, tile, block)
        return out
    with _gram_store.writing(store, layout, record()) as writer:
        for tile, block in _computed(writer.missing, tiles, engine):
            writer.put(tile, block)
    return read_gram(store)


@dataclass(frozen=True)
class _Tiles:
    """The function tile -> block of the matrix; it can be pickled where the kernel can."""

    kernel: Callable[..., Any]
    x1: Any
    x2: Any
    layout: Layout
    x64: bool
    precision: Any

    def __call__(self, tile: tuple[int, int]) -> np.ndarray:
        rows, columns = self.layout.place(tile)
        first = self._rows(self.x1, tile[0], 0)
        second = self._rows(self.x1 if self.x2 is None else self.x2, tile[1], 1)
        block = self._evaluated(first, None if self.layout.symmetric and tile[0] == tile[1] else second)
        block = block[: rows.stop - rows.start, : columns.stop - columns.start]
        if not np.isfinite(block).all():
            raise ValueError(
                f"kernel must return finite entries, got NaN or infinity in rows {rows.start} to {rows.stop - 1} and"
                f" columns {columns.start} to {columns.stop - 1}"
            )
        return block

    def between(self, first: Any, second: Any) -> np.ndarray:
        """The kernel of two sets of inputs, as an array."""
        return self._evaluated(first, second)

    def _evaluated(self, first: Any, second: Any) -> np.ndarray:
        # Workers and threads have options of their own.
        with jax.enable_x64(self.x64), jax.default_matmul_precision(self.precision):
            block = np.asarray(self.kernel(first) if second is None else self.kernel(first, second))
        wanted = (_length(first), _length(first if second is None else second))
        if block.shape != wanted or block.dtype.kind != "f":
            raise ValueError(
                f"kernel must return a matrix of floats of shape {wanted} for that many inputs, got"
                f' {block.dtype}{list(block.shape)}; an empirical kernel needs outputs="trace"'
            )
        return block

    def _rows(self, x: Any, number: int, axis: int) -> Any:
        side = self.layout.sides[axis]

        def take(leaf: np.ndarray) -> np.ndarray:
            part = leaf[number * side : (number + 1) * side]
            return part if len(part) == side else np.concatenate([part, np.repeat(part[-1:], side - len(part), 0)])

        return jax.tree.map(take, x)


def _described(
    kernel: Any, x1: Any, x2: Any, block_size: Any, budget: _gram_memory.Budget | None
) -> tuple[_Tiles, Layout, Callable[[], dict[str, Any]]]:
    check.callable_("kernel", kernel)
    x1, x2 = _on_host("x1", x1), None if x2 is None else _on_host("x2", x2)
    if x2 is not None:
        _inputs.check_same_features(x1, x2)
    block_size = check.positive_int("block_size", block_size)
    shape = (_length(x1), _length(x1 if x2 is None else x2))
    if budget is not None:
        block_size = _gram_memory.block_size(kernel, x1, x2, min(block_size, max(shape)), budget)
    sides = (_side(shape[0], block_size), _side(shape[1], block_size))
    stated: Any = jax.config
    options = (stated.jax_enable_x64, stated.jax_default_matmul_precision)
    tiles = _Tiles(kernel, x1, x2, Layout(shape, sides, x2 is None, ""), *options)
    values = tiles.between(_probed(x1), _probed(x1 if x2 is None else x2))
    layout = tiles.layout._replace(dtype=values.dtype.name)

    def record() -> dict[str, Any]:
        return {
            "x1": _digests(x1),
            "x2": None if x2 is None else _digests(x2),
            "kernel_arrays": _digests(_bound(kernel)),
            "kernel_values": values.tolist(),
        }

    return _Tiles(kernel, x1, x2, layout, *options), layout, record


def _on_host(argument: str, x: Any) -> Any:
    # In the precision of JAX's mode.
    cast = lambda leaf: np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype))
    return jax.tree.map(cast, _inputs.leading(argument, x))


def _computed(units: list[Any], tiles: _Tiles, engine: Any) -> Iterator[tuple[Any, np.ndarray]]:
    if not units:
        return
    with contextlib.ExitStack() as stack:
        if isinstance(engine, contextlib.AbstractContextManager):
            stack.enter_context(engine)
        getattr(engine, "platform", lambda: None)()  # raises if workers differ from each other or from here
        compute: Any = engine or _on_devices
        yield from compute(units, tiles)


def _on_devices(units: Iterable[Any], compute: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
    """The engine of this process: each device computes whole tiles, so that they are those of one device."""
    devices = jax.local_devices()
    if len(devices) == 1:
        yield from ((unit, compute(unit)) for unit in units)
        return

    def on(device: Any, unit: Any) -> Any:
        with jax.default_device(device):
            return compute(unit)

    remaining = iter(units)
    busy: dict[Future[Any], Any] = {}
    with ThreadPoolExecutor(len(devices)) as pool:

        def occupy(device: Any) -> None:
            unit = next(remaining, None)
            if unit is not None:
                busy[pool.submit(on, device, unit)] = (unit, device)

        for device in devices:
            occupy(device)
        while busy:
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                unit, device = busy.pop(future)
                occupy(device)
                yield unit, future.result()


def _bound(kernel: Any) -> Any:
    # What `functools.partial` (and `jax.tree_util.Partial`) bind, functions left out.
    if not isinstance(kernel, functools.partial):
        return []
    leaves = jax.tree.leaves((kernel.args, dict(sorted(kernel.keywords.items()))))
    return [*_bound(kernel.func), *(leaf for leaf in leaves if not callable(leaf) and not isinstance(leaf, str))]


def _digests(tree: Any) -> list[dict[str, Any]]:
    def one(leaf: Any) -> dict[str, Any]:
        leaf = np.ascontiguousarray(leaf)
        digest = hashlib.sha256(leaf.reshape(-1).view(np.uint8)).hexdigest()
        return {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "sha256": digest}

    return [one(leaf) for leaf in jax.tree.leaves(tree)]


def _probed(x: Any) -> Any:
    chosen = np.linspace(0, _length(x) - 1, min(_PROBED, _length(x))).astype(int)
    return jax.tree.map(lambda leaf: leaf[chosen], x)


def _side(length: int, block_size: int) -> int:
    # Of equal tiles, as few as are small enough.
    return -(-length // -(-length // block_size))


def _length(x: Any) -> int:
    return jax.tree.leaves(x)[0].shape[0]
