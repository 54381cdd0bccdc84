"""The generalised Gauss-Newton matrix JᵀSJ."""

from collections.abc import Callable
from typing import Any

import jax

from dlmath import linalg
from dlmath.hessian._operator import checked_params, checked_rows, expect_scalar, on_device, static
from dlmath.linalg import Operator
from dlmath.typing import ApplyFn, LossFn, Params


def ggn(apply: ApplyFn | Any, loss: LossFn | Any, params: Params, x: Any, y: Any) -> Operator:
    """The generalised Gauss-Newton matrix G = JᵀSJ of L(θ) = loss(f_θ(x), y), as the operator v ↦ Gv.

    J = ∂f/∂θ [n·o, P] is the Jacobian of all outputs and S = ∇²_f loss [n·o, n·o] the Hessian of the loss in them,
    with whatever factor and reduction the loss has. H = G + Σ ∂loss/∂f · ∇²f, and both are equal for a linear model.
    For the losses of `train.losses`, with f one row of outputs, p = softmax(f) and mean over n rows:

    | loss                        | S for one row               |
    |-----------------------------|-----------------------------|
    | `mse`                       | (2/n) I                     |
    | `half_mse`                  | (1/n) I                     |
    | `half_mse`, reduction="sum" | I                           |
    | `cross_entropy`             | (1/n) (diag p − ppᵀ)        |
    | `logistic`                  | (1/n) diag σ(f)(1 − σ(f))   |
    | `huber`                     | (1/n) diag 1[abs(f − y) ≤ δ]|
    | `hinge`                     | 0                           |

    Args:
        apply: (params, x) -> outputs [n, ..., o].
        loss: (outputs, targets) -> scalar, twice differentiable in the outputs; G is positive semi-definite where it
            is convex in them.
        params: θ, any pytree of floating arrays.
        x: inputs, any pytree.
        y: targets, any pytree.

    Returns:
        An `Operator` on vectors like `params`. Its rank is at most n·o, and n·(o − 1) for cross entropy. Its non-zero
        eigenvalues are those of S^½JJᵀS^½: under mse, 2/n times those of the neural tangent kernel JJᵀ.

    Raises:
        TypeError: for parameters that are not floating, or functions that cannot be called.
        ValueError: for a loss that is not scalar, or data without rows.

    >>> import jax.numpy as jnp
    >>> g = ggn(lambda w, x: x @ w, lambda f, y: 0.5 * jnp.sum((f - y) ** 2), jnp.ones(2), 2 * jnp.eye(2), jnp.ones(2))
    >>> g(jnp.ones(2)).tolist()
    [4.0, 4.0]

    Cost of a product: one forward, one tangent and one backward pass, about 1.5 gradients. Memory of a gradient.

    References:
        Schraudolph (2002), Fast curvature matrix-vector products for second-order gradient descent, sec. 3.
        Martens (2020), New insights and perspectives on the natural gradient method, sec. 8 (1412.1193).
    """
    apply, loss, params = static("apply", apply), static("loss", loss), checked_params(params)
    checked_rows((x, y))
    x, y = on_device((x, y))
    expect_scalar("loss", jax.eval_shape(_loss_value, apply, loss, params, x, y))
    return linalg.operator(_ggn_product, params, apply, loss, params, x, y)


@jax.jit
def _loss_value(apply: Callable[..., Any], loss: Callable[..., Any], params: Any, x: Any, y: Any) -> Any:
    return loss(apply(params, x), y)


@jax.jit
def _ggn_product(apply: Callable[..., Any], loss: Callable[..., Any], params: Any, x: Any, y: Any, vector: Any) -> Any:
    # One linearisation for J and Jᵀ, so that the network runs forwards once.
    outputs, push = jax.linearize(lambda p: apply(p, x), params)
    curved = jax.jvp(jax.grad(lambda f: loss(f, y)), (outputs,), (push(vector),))[1]
    return jax.linear_transpose(push, params)(curved)[0]
