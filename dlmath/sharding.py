"""Seeds and data over all devices, of this machine or of several: on one device every function here is the identity.

Computation follows data: what `vmap` or `jit` compute from a sharded array runs on all devices that hold a part.

A CPU is one device. Where it is divided for a test (`XLA_FLAGS=--xla_force_host_platform_device_count=4`), set
`NPROC=16` as well: the parts share one pool of threads, and on two cores programs were seen to wait for ever.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from dlmath import check


def mesh() -> Any:
    """The mesh of all devices of all processes, with an axis for each prime factor of their number.

    `PartitionSpec(mesh().axis_names)` splits a dimension into as many parts as there are devices; a part of the
    names splits it into fewer, and copies each. Arrays placed by this module share this mesh, so that they may
    meet in one program whatever their lengths.

    >>> import jax
    >>> mesh().size == jax.device_count()
    True
    """
    import jax

    factors = _prime_factors(jax.device_count())
    names = tuple(f"devices_{i}" for i in range(len(factors)))
    # Auto: JAX places what is derived from these arrays, and user code need not know of it.
    kinds = (jax.sharding.AxisType.Auto,) * len(factors)
    return jax.make_mesh(tuple(factors), names, axis_types=kinds)


def shard(tree: Any) -> Any:
    """The arrays of a pytree, each with its leading axis of length n split over gcd(n, number of devices) devices.

    With 8 devices, 80 seeds are split in 8 parts of 10, 20 seeds in 4 parts of 5 that two devices each compute,
    and 7 seeds are copied to all: seeds in multiples of the number of devices use all of them. Scalars are copied.
    Typed keys are arrays too; leaves that are no arrays of numbers are left alone.

    Under several processes each must call this with the same values.

    Args:
        tree: a pytree of arrays, keys [n] or data [n, ...].

    Returns:
        The same values; the same objects if there is one device.

    >>> import jax, jax.numpy as jnp
    >>> len(shard(jnp.zeros(3 * jax.device_count())).sharding.device_set) == jax.device_count()
    True

    Cost: one copy to the devices. Results may differ in the last bits from those of another number of devices.
    """
    return _placed(tree, split=True)


def replicate(tree: Any) -> Any:
    """The arrays of a pytree, each with a copy on every device: what all parts of sharded data need.

    Args:
        tree: a pytree of arrays. Under several processes each must call this with the same values.

    Returns:
        The same values; the same objects if there is one device.

    >>> import jax.numpy as jnp
    >>> replicate(jnp.zeros(3)).is_fully_replicated
    True
    """
    return _placed(tree, split=False)


def gather(tree: Any) -> Any:
    """The pytree with every JAX array as a NumPy array, whole on every process.

    Where `numpy.asarray` would do for one process, this also does for several, each of which must call it.

    Args:
        tree: a pytree; what is no JAX array is left alone.

    Raises:
        TypeError: for typed keys, which NumPy has no dtype for.

    >>> import jax.numpy as jnp
    >>> gather({"loss": jnp.arange(3), "name": "train"})
    {'loss': array([0, 1, 2]...), 'name': 'train'}
    """
    import jax

    return jax.tree.map(_gathered, tree)


def initialize(
    coordinator: str | None = None, *, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins this process to the others of one program on several hosts: every device of all belongs to `mesh()`.

    Each process runs the same program on the same values. To be called before JAX opens a device.

    Args:
        coordinator: address "host:port" of process 0, a free port there; None where the surroundings say it
            (SLURM, Open MPI, Cloud TPU), and then the others too.
        num_processes: how many processes there are, at least 1.
        process_id: which one this is, 0..num_processes − 1.

    Raises:
        ValueError, TypeError: for a malformed address, or only a part of the three.
        RuntimeError: if JAX has already opened a device, or the others do not come.
    """
    import jax

    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ValueError(f"coordinator, num_processes and process_id must be given together, got no {missing[0]}")
    if not missing:
        if not isinstance(coordinator, str) or not coordinator.rpartition(":")[2].isdigit() or coordinator[0] == ":":
            raise ValueError(f"coordinator must be an address such as 'host:8476', got {coordinator!r}")
        num_processes = check.positive_int("num_processes", num_processes)
        process_id = check.integer("process_id", process_id, at_least=0, at_most=num_processes - 1)
    jax.distributed.initialize(coordinator, num_processes, process_id)


def is_sharded(tree: Any) -> bool:
    """Whether an array of the pytree lives on more than one device.

    >>> import jax.numpy as jnp
    >>> is_sharded({"one": jnp.zeros(3).addressable_data(0)})
    False
    """
    import jax

    return any(
        isinstance(leaf, jax.Array) and not check.is_traced(leaf) and len(leaf.sharding.device_set) > 1
        for leaf in jax.tree.leaves(tree)
    )


def num_cores() -> int:
    """Cores that this process may use.

    >>> num_cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def workers(number: int, *, threaded: bool | None = None) -> Iterator[Callable[..., list[Any]]]:
    """Yields a `map` that calls a function in several threads, one for each core, under JAX's present settings.

    XLA runs a loop of small products on one core, so that equal programs on data of their own take all of them. Call a
    compiled function once before: threads that meet a new program all compile it. Results do not depend on the cores.

    Args:
        number: calls to be made at the same time, at most.
        threaded: False for one call after the other in this thread; None for threads on CPUs only.

    Yields:
        (function, *lists) -> list of its values, which are waited for.

    >>> with workers(4) as each:
    ...     each(lambda a, b: a + b, [1, 2, 3], [10, 20, 30])
    [11, 22, 33]
    """
    import jax

    number = min(check.positive_int("number", number), num_cores())
    threaded = jax.default_backend() == "cpu" if threaded is None else threaded
    if not threaded or number == 1:
        yield lambda function, *lists: list(map(function, *lists))
        return
    settings = {name: getattr(jax.config, f"jax_{name}") for name in _SETTINGS}

    def with_settings(function: Callable[..., Any], *arguments: Any) -> Any:
        # JAX keeps its settings by thread: without this, a worker would compute in another precision.
        with contextlib.ExitStack() as stack:
            for name, value in settings.items():
                stack.enter_context(getattr(jax, name)(value))
            return jax.block_until_ready(function(*arguments))

    with ThreadPoolExecutor(number) as pool:
        yield lambda function, *lists: list(pool.map(partial(with_settings, function), *lists))


_SETTINGS = (
    "debug_infs",
    "debug_key_reuse",
    "debug_nans",
    "default_device",
    "default_matmul_precision",
    "default_prng_impl",
    "enable_x64",
    "log_compiles",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "threefry_partitionable",
)


def _placed(tree: Any, *, split: bool) -> Any:
    import jax
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    if jax.device_count() == 1:
        return tree
    everywhere = mesh()

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic) or getattr(leaf.dtype, "kind", "") in (
            "O",
            "U",
            "S",
            "M",
        ):
            return leaf
        names = _names(everywhere, np.shape(leaf)[0]) if split and np.ndim(leaf) else ()
        sharding = NamedSharding(everywhere, PartitionSpec(names) if names else PartitionSpec())
        if check.is_traced(leaf):
            # Inside jit a device_put says where its result comes from, not where it stays.
            return jax.lax.with_sharding_constraint(leaf, sharding)
        if jax.process_count() == 1 or not getattr(leaf, "is_fully_addressable", True):
            return jax.device_put(leaf, sharding)
        return _from_every_process(leaf, sharding)

    return jax.tree.map(place, tree)


def _from_every_process(leaf: Any, sharding: Any) -> Any:
    """The array whose parts each process takes from its own copy of the whole."""
    import jax
    import numpy as np

    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _from_every_process(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    whole = np.asarray(jax.numpy.asarray(leaf))
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])


def _names(everywhere: Any, length: int) -> tuple[str, ...]:
    """Axes of the mesh whose sizes multiply to gcd(length, number of devices)."""
    parts, names = math.gcd(length, everywhere.size), []
    for name, size in everywhere.shape.items():
        if parts % size == 0:
            names.append(name)
            parts //= size
    return tuple(names)


def _gathered(leaf: Any) -> Any:
    import jax
    import numpy as np

    if not isinstance(leaf, jax.Array):
        return leaf
    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise TypeError("gather takes arrays of numbers, got typed keys; give jax.random.key_data(keys)")
    if not leaf.is_fully_addressable and not leaf.is_fully_replicated:
        from jax.experimental import multihost_utils

        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def _prime_factors(number: int) -> list[int]:
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors or [1]
