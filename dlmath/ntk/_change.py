"""How far two kernels are from each other."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check


class KernelChange(NamedTuple):
    """How far a kernel has moved from Θ₀ to Θ₁; scalars, or arrays over records.

    Attributes:
        relative: ‖Θ₁ − Θ₀‖_F/‖Θ₀‖_F ≥ 0, its size and its direction.
        distance: 1 − ⟨Θ₁, Θ₀⟩/(‖Θ₁‖_F ‖Θ₀‖_F), its direction alone: 0 for Θ₁ ∝ Θ₀, and at most 1 for Gram matrices.
    """

    relative: Float[Array, "*records"]
    distance: Float[Array, "*records"]


def kernel_change(kernel0: Any, kernel1: Any) -> KernelChange:
    """How far Θ₁ is from Θ₀: ‖Θ₁ − Θ₀‖/‖Θ₀‖ and 1 − cos(Θ₀, Θ₁), in the Frobenius inner product.

    For the change between two sets of parameters, give `empirical(apply, params, x)` of each; along a training run there
    is the probe `kernel_drift`. `similarity` is the cosine of kernels whose features are centred.

    Args:
        kernel0: Θ₀, of any shape: a Gram matrix [n, n], one between two sets [n1, n2], a full kernel [n1, n2, o, o].
        kernel1: Θ₁, of the same shape.

    Returns:
        A KernelChange; the distance is computed as ½ ‖Θ₀/‖Θ₀‖ − Θ₁/‖Θ₁‖ ‖², which keeps the digits of small ones.

    Raises:
        ValueError: other shapes, or (outside jit and vmap) a kernel that is zero.

    Cost: a few passes over the kernels.

    References:
        relative: Lee et al. (2019) (1902.06720); Geiger et al. (2020) (1906.08034).
        distance: Fort et al. (2020), Deep learning versus kernel learning (2010.15110), the kernel distance.

    >>> change = kernel_change(jnp.diag(jnp.array([1.0, 0.0])), jnp.diag(jnp.array([3.0, 0.0])))
    >>> change.relative.item(), change.distance.item()
    (2.0, 0.0)
    """
    before, after = check.array("kernel0", kernel0), check.array("kernel1", kernel1)
    if before.shape != after.shape:
        raise ValueError(
            f"kernel0 and kernel1 must have the same shape, got {tuple(before.shape)} and {tuple(after.shape)}"
        )
    dtype = jnp.result_type(before, after)
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    before, after = jnp.asarray(before, dtype), jnp.asarray(after, dtype)
    for name, kernel in (("kernel0", before), ("kernel1", after)):
        if not check.is_traced(kernel) and not bool((kernel != 0).any()):
            raise ValueError(f"{name} must have an entry that is not zero, got zeros of shape {tuple(kernel.shape)}")
    return change(before, after)


def change(before: Any, after: Any) -> KernelChange:
    """`kernel_change` of floating arrays of one shape."""
    size0, size1 = _norm(before), _norm(after)
    gap = before / size0 - after / size1
    return KernelChange(_norm(after - before) / size0, jnp.square(gap).sum() / 2)


def _norm(kernel: Any) -> Any:
    return jnp.sqrt(jnp.square(kernel).sum())
