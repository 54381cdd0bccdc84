"""How large the tiles of a Gram matrix may be, by the memory that the compiled program of one takes."""

import math
from typing import Any, NamedTuple

import jax

from dlmath import check

_COPIES = 2
"""Of a tile on the host: as the device returned it, and as it is put or written."""


class Budget(NamedTuple):
    """What `gram` may take.

    Attributes:
        memory: bytes.
        whole: whether the matrix is kept in memory.
        here: whether tiles are computed by this process, on all of its devices at a time.
    """

    memory: Any
    whole: bool
    here: bool


def block_size(kernel: Any, x1: Any, x2: Any, largest: int, budget: Budget) -> int:
    """The largest of a falling sequence of sides, from `largest`, whose tiles are predicted to fit.

    A tile's bytes grow at most with the square of its side, so the next side is at most √(room/bytes) of the last; each
    costs a compilation, two or three altogether.
    """
    memory = check.real("memory", budget.memory, above=0)
    lengths = _length(x1), _length(x1 if x2 is None else x2)
    inputs = sum(leaf.nbytes for leaf in jax.tree.leaves((x1, x2)))
    side = largest
    while True:
        tile, itemsize = _tile_bytes(kernel, x1, x2, side)
        fixed = inputs + (math.prod(lengths) * itemsize if budget.whole else 0)
        room = (memory - fixed) / (len(jax.local_devices()) if budget.here else 1)
        if tile <= room:
            return side
        if side == 1 or room <= 0:
            matrix = f" and the matrix {_words(fixed - inputs)}" if budget.whole else ""
            store = "; give a store, which keeps the matrix on disk" if budget.whole else ""
            raise ValueError(
                f"memory must hold the inputs, {_words(inputs)},{matrix} and a tile of {side} rows, {_words(tile)} by its"
                f" compiled program, on each device, got {_words(memory)}{store}"
            )
        side = max(1, min(side - 1, int(side * math.sqrt(room / tile))))


def _tile_bytes(kernel: Any, x1: Any, x2: Any, side: int) -> tuple[int, int]:
    # Of a tile off the diagonal, unless there is none.
    rows = _structs(x1, side)
    columns = _structs(x1 if x2 is None else x2, side)
    single = x2 is None and side >= _length(x1)
    try:
        lowered = jax.jit(lambda *arguments: kernel(*arguments)).lower(*([rows] if single else [rows, columns]))
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise ValueError(
            "memory needs a kernel that JAX can trace, for its bytes are those of a compiled program; give block_size instead"
        ) from error
    found: Any = lowered.compile().memory_analysis()
    (out,) = jax.tree.leaves(lowered.out_info)
    output = math.prod(out.shape) * out.dtype.itemsize
    program = found.temp_size_in_bytes + found.argument_size_in_bytes + found.output_size_in_bytes
    return program + _COPIES * output, out.dtype.itemsize


def _structs(x: Any, side: int) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((min(side, len(leaf)), *leaf.shape[1:]), leaf.dtype), x)


def _length(x: Any) -> int:
    return jax.tree.leaves(x)[0].shape[0]


def _words(number: float) -> str:
    return f"{number / 1e6:,.3g} MB"
