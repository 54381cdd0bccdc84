"""From the lazy to the rich regime: a network centred at its start and scaled, and the loss that goes with it."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from dlmath import check
from dlmath.linalg._arguments import checked_params, static
from dlmath.typing import ApplyFn, LossFn, Params


def lazy(apply: ApplyFn | Any, params0: Params, alpha: Any) -> Any:
    """The function α (f(θ, x) − f(θ₀, x)), centred at its start and scaled, with the signature of `apply`.

    Trained from θ₀ on `lazy_loss`, ℓ/α², it follows its linearisation as α grows: outputs of order 1 ask for a step
    of order 1/α in the parameters, over which the kernel changes by 1/α (`kernel_change`), and its limit α → ∞ at
    equal times is gradient descent on `linearize(apply, params0)` without f(θ₀, ·). Small α is the rich regime.

    Args:
        apply: (params, x) -> outputs.
        params0: θ₀, any pytree of floating arrays.
        alpha: α > 0; may be traced, for a `vmap` over the family.

    Returns:
        (params, x) -> outputs, a `jax.tree_util.Partial` over θ₀ and α: with other values it compiles nothing anew where
        it is an argument of `jit`.

    Raises:
        TypeError: for parameters that are not floating, or an `apply` that cannot be called.
        ValueError: for an α that is not positive.

    >>> f = lazy(lambda w, x: w**2 * x, jnp.array(1.0), 10.0)
    >>> f(jnp.array(1.0), 3.0).item(), f(jnp.array(2.0), 3.0).item()
    (0.0, 90.0)

    Cost: 2 forward passes. Its kernel is α² times that of `apply`.

    References: Chizat, Oyallon, Bach (2019), On lazy training in differentiable programming (1812.07956), section 1;
        centred as in Geiger et al. (2020), Disentangling feature and lazy training in deep neural networks (1906.08034).
    """
    return Partial(_centred, static("apply", apply), checked_params(params0), check.real("alpha", alpha, above=0.0))


def lazy_loss(loss: LossFn | Any, alpha: Any) -> Any:
    """The loss ℓ(f, y)/α² of the family `lazy`: gradient descent on it changes outputs at a rate that is free of α.

    Args:
        loss: ℓ, (outputs, targets) -> scalar.
        alpha: α > 0; may be traced.

    Returns:
        (outputs, targets) -> scalar, a `jax.tree_util.Partial` over α.

    Raises:
        TypeError: for a `loss` that cannot be called.
        ValueError: for an α that is not positive.

    >>> lazy_loss(lambda f, y: jnp.mean((f - y) ** 2), 2.0)(jnp.array([3.0]), jnp.array([1.0])).item()
    1.0

    References: Chizat, Oyallon, Bach (2019) (1812.07956), section 1.
    """
    return Partial(_divided, static("loss", loss), check.real("alpha", alpha, above=0.0))


def _centred(apply: Any, params0: Any, alpha: Any, params: Any, x: Any) -> Any:
    return jax.tree.map(lambda f, f0: alpha * (f - f0), apply(params, x), apply(params0, x))


def _divided(loss: Any, alpha: Any, outputs: Any, targets: Any) -> Any:
    return loss(outputs, targets) / jnp.square(alpha)
