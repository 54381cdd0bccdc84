"""The tangent kernel followed along a training run."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check
from dlmath.linalg._arguments import checked_params, static
from dlmath.ntk import _inputs
from dlmath.ntk._alignment import alignment
from dlmath.ntk._change import change
from dlmath.ntk._empirical import kernel
from dlmath.typing import ApplyFn, Params, Probe


class KernelDrift(NamedTuple):
    """Where the tangent kernel Θ_t of a run is; scalars, or arrays over records.

    Attributes:
        relative: ‖Θ_t − Θ₀‖_F/‖Θ₀‖_F.
        distance: 1 − cos(Θ_t, Θ₀), see `KernelChange`.
        alignment: centred alignment of Θ_t with the targets, see `alignment`; None without them.
    """

    relative: Float[Array, "*records"]
    distance: Float[Array, "*records"]
    alignment: Any


def kernel_drift(
    apply: ApplyFn | Any,
    x: Any,
    y: Any = None,
    *,
    outputs: str = "trace",
    method: str = "auto",
    batch_size: int | None = None,
) -> Probe:
    """How far the tangent kernel of a run has moved from that of its first record, and towards the targets, as a probe.

    Args:
        apply: (params, x) -> outputs; for a run of the family `lazy` its α cancels.
        x: inputs [n, ...] of the kernel: some hundreds, of the training set or not.
        y: targets [n] or [n, o] (one-hot for classes) whose alignment with the trace Σ_k Θ_kk is wanted; None for none.
        outputs: "trace" for Σ_k Θ_kk [n, n], or "full" for the change of all of Θ, o² as much memory.
        method: as in `empirical`.
        batch_size: as in `empirical`.

    Returns:
        A Probe whose value is a `KernelDrift`. It remembers Θ₀; made again, or with other data of the same shapes, it
        compiles nothing. Works inside compiled loops and under vmap. Cost of a record: a kernel, see `empirical`.

    Raises:
        TypeError, ValueError: for arguments out of range; as `empirical` when the run starts.

    References: Fort et al. (2020), Deep learning versus kernel learning (2010.15110); for the alignment Baratin et al.
        (2021), Implicit regularization via neural feature alignment (2008.00938).

    f = w² x has Θ = 4 w² x x':

    >>> probe = kernel_drift(lambda w, x: w**2 * x, jnp.array([1.0, 2.0]))
    >>> found = probe.update(probe.init(jnp.array(1.0)), jnp.array(2.0), None, 0)[1]
    >>> found.relative.item(), found.distance.item()
    (3.0, 0.0)
    """
    check.one_of("outputs", outputs, ("trace", "full"))
    options = _inputs.options(outputs, method, batch_size)
    x = _inputs.rows("x", x)
    if y is not None:
        y = jnp.asarray(check.array("y", y, ndim=(1, 2)))
        check.same_length("x", jax.tree.leaves(x)[0], "y", y)
    kernel_of = _Kernel(static("apply", apply), x, outputs, options["method"], options["batch_size"])
    return Probe(kernel_of, _Update(kernel_of, y))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Kernel:
    """θ ↦ Θ."""

    apply: Any
    x: Any
    outputs: str = field(metadata={"static": True})
    method: str = field(metadata={"static": True})
    batch_size: int | None = field(metadata={"static": True})

    def __call__(self, params: Params) -> Any:
        params = checked_params(params)
        _inputs.check_outputs("apply", self.apply, params, self.x)
        return kernel(
            self.apply, params, self.x, None, outputs=self.outputs, method=self.method, batch_size=self.batch_size
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Update:
    kernel_of: _Kernel
    y: Any

    def __call__(self, state: Any, params: Params, opt_state: Any, step: Any) -> tuple[Any, KernelDrift]:
        now = self.kernel_of(params)
        moved = change(state, now)
        trace = now if now.ndim == 2 else jnp.trace(now, axis1=2, axis2=3)
        towards = None if self.y is None else alignment(trace, self.y)
        return state, KernelDrift(moved.relative, moved.distance, towards)
