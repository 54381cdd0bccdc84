"""Fisher information matrices: expected, sampled and empirical."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check, linalg
from dlmath.hessian._ggn import ggn
from dlmath.hessian._operator import checked_params, checked_rows, expect_scalar, on_device, static
from dlmath.linalg import Operator
from dlmath.typing import ApplyFn, Key, LossFn, Params

KINDS = ("expected", "empirical")
LIKELIHOODS = ("categorical", "gaussian", "bernoulli")


def fisher(
    apply: ApplyFn | Any,
    loss: LossFn | Any,
    params: Params,
    x: Any,
    y: Any = None,
    *,
    kind: str = "expected",
    likelihood: str | None = None,
) -> Operator:
    """The Fisher information matrix F of a loss −log p(y | f_θ(x)), as the operator v ↦ Fv.

    With ℓ_i the loss of example i alone, g_i = ∇_θ ℓ_i(θ), and w = 1/n for a mean over examples, 1 for a sum,

    - "expected": F = w Σ_i E_{y ~ p(· | f_i)}[g_i g_iᵀ]. The losses below are canonical, which makes it the
      Gauss-Newton matrix, and that is how it is computed;
    - "empirical": w Σ_i g_i g_iᵀ at the given y: not the Fisher matrix, which it equals only in expectation and only
      where the labels follow the model (Kunstner et al. 2019).

    | likelihood    | y given f                    | losses                | targets                        |
    |---------------|------------------------------|-----------------------|--------------------------------|
    | "categorical" | softmax(f)                   | `cross_entropy`       | class indices [n]              |
    | "gaussian"    | N(f, c⁻¹I), ∇²_f ℓ_i = cI    | `half_mse`, `mse`     | like the outputs (c = 1 and 2) |
    | "bernoulli"   | y = ±1 with probability σ(yf)| `logistic`            | like the outputs               |

    Args:
        apply: (params, x) -> outputs [n, ..., o]; an example is everything but the last axis, or one entry of [n].
        loss: (outputs, targets) -> scalar, a sum or mean over examples.
        params: θ, any pytree of floating arrays.
        x: inputs, any pytree.
        y: targets. For "expected" their values do not matter, and `likelihood` may stand in for them.
        kind: "expected" or "empirical".
        likelihood: for "expected" without y, one of the table.

    Returns:
        An `Operator` on vectors like `params`, positive semi-definite.

    Raises:
        TypeError: for parameters that are not floating, or functions that cannot be called.
        ValueError: for an unknown kind or likelihood, or missing targets.

    Two equally probable classes have F = w Σ ¼ (x_i x_iᵀ) in the difference of their logits:

    >>> loss = lambda f, y: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(f), y[:, None], 1))
    >>> f = fisher(lambda w, x: x @ w, loss, jnp.zeros((1, 2)), jnp.ones((3, 1)), likelihood="categorical")
    >>> f(jnp.array([[1.0, -1.0]])).tolist()
    [[0.5, -0.5]]

    Cost of a product: as `ggn`.

    References:
        Martens (2020), New insights and perspectives on the natural gradient method, sec. 9 (1412.1193).
        Kunstner, Balles, Hennig (2019), Limitations of the empirical Fisher approximation (1905.12558).
    """
    check.one_of("kind", kind, KINDS)
    if kind == "empirical":
        if y is None:
            raise ValueError("y must be given for kind='empirical', got None; fisher_sampled draws labels")
        if likelihood is not None:
            raise ValueError(f"likelihood must be None for kind='empirical', which takes y, got {likelihood!r}")
        return _outer_products(apply, loss, params, x, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], y))
    if y is None:
        if likelihood is None:
            raise ValueError(f"y or likelihood (one of {', '.join(LIKELIHOODS)}) must be given, got neither")
        y = _stand_in(check.one_of("likelihood", likelihood, LIKELIHOODS), _outputs_like(apply, params, x))
    elif likelihood is not None:
        raise ValueError(f"likelihood must be None where y is given, got {likelihood!r}")
    return ggn(apply, loss, params, x, y)


def fisher_sampled(
    key: Key,
    apply: ApplyFn | Any,
    loss: LossFn | Any,
    params: Params,
    x: Any,
    *,
    likelihood: str,
    num_samples: int = 1,
) -> Operator:
    """The Fisher information matrix with labels drawn from the model, an unbiased estimate of `fisher`.

    F̂ = w Σ_i (1/m) Σ_s g_i(y_is) g_i(y_is)ᵀ with y_is ~ p(· | f_θ(x_i)): the labels are drawn once, here, so that
    the operator is a fixed matrix. Its rank is at most m·n.

    Args:
        key: typed key.
        apply: (params, x) -> outputs [n, ..., o].
        loss: (outputs, targets) -> scalar, minus the log likelihood up to a constant, a sum or mean over examples.
        params: θ, any pytree of floating arrays.
        x: inputs, any pytree.
        likelihood: "categorical", "gaussian" or "bernoulli", the one that `loss` belongs to (see `fisher`).
        num_samples: m ≥ 1, labels drawn for an example.

    Returns:
        An `Operator` on vectors like `params`, positive semi-definite, with E[F̂] = F.

    Raises:
        TypeError, ValueError: as `fisher`.

    >>> loss = lambda f, y: -jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(f), y[:, None], 1))
    >>> key, apply = jax.random.key(0), lambda w, x: x @ w
    >>> f = fisher_sampled(key, apply, loss, jnp.zeros((1, 2)), jnp.ones((3, 1)), likelihood="categorical")
    >>> f(jnp.array([[1.0, -1.0]])).tolist()        # p = ½: every gradient is ±(½, −½)
    [[1.5, -1.5]]

    Cost: a forward pass now; a product as `ggn`, whatever m. Memory: m·n·o.

    References:
        Martens, Grosse (2015), Optimizing neural networks with Kronecker-factored approximate curvature, sec. 5.
    """
    check.key("key", key)
    check.one_of("likelihood", likelihood, LIKELIHOODS)
    num_samples = check.positive_int("num_samples", num_samples)
    outputs = _outputs_like(apply, params, x)
    if likelihood == "categorical" and len(outputs.shape) < 2:
        raise ValueError(f"outputs of a categorical likelihood must be logits [n, classes], got shape {outputs.shape}")
    apply, loss = static("apply", apply), static("loss", loss)
    labels = _draw(key, apply, loss, checked_params(params), x, likelihood=likelihood, num_samples=num_samples)
    return _outer_products(apply, loss, params, x, labels)


def _outer_products(apply: Any, loss: Any, params: Any, x: Any, labels: Any) -> Operator:
    """The matrix w Σ_i (1/m) Σ_s g_is g_isᵀ, for labels with a leading axis of m samples."""
    outputs = _outputs_like(apply, params, x)
    allowed = {tuple(outputs.shape), tuple(outputs.shape[:-1] or outputs.shape)}
    if getattr(labels, "shape", (0,))[1:] not in allowed:
        raise ValueError(
            f"y must be an array of shape {' or '.join(map(str, sorted(allowed)))}, one target for each example of "
            f"outputs {tuple(outputs.shape)}, got {jax.tree.map(lambda leaf: leaf.shape[1:], labels)}"
        )
    apply, loss, params = static("apply", apply), static("loss", loss), checked_params(params)
    value = jax.eval_shape(lambda f, y: loss(f, y[0]), outputs, labels)
    expect_scalar("loss", value)
    return linalg.operator(_outer_product, params, apply, loss, params, on_device(x), labels)


@jax.jit
def _outer_product(
    apply: Callable[..., Any], loss: Callable[..., Any], params: Any, x: Any, labels: Any, vector: Any
) -> Any:
    outputs, push = jax.linearize(lambda p: apply(p, x), params)
    total, alone = jax.vmap(lambda y: _scores(loss, outputs, y))(labels)
    along = alone * push(vector)
    if outputs.ndim > 1:
        along = jnp.sum(along, axis=-1, keepdims=True)
    return jax.linear_transpose(push, params)(jnp.mean(total * along, axis=0))[0]


def _scores(loss: Any, outputs: Any, targets: Any) -> tuple[Any, Any]:
    """∂L/∂f_i and ∂ℓ_i/∂f_i: the loss of all examples, which is w Σ ℓ_i, and of each alone.

    Their ratio is w, so that w g_i g_iᵀ follows for a mean and for a sum without asking which it is.
    """
    return jax.grad(loss)(outputs, targets), _each(jax.grad(loss), outputs, targets)


def _each(function: Any, outputs: Any, targets: Any) -> Any:
    """A function of (outputs, targets) at every example as a batch of one; shaped like the outputs."""
    row = outputs.shape[-1:] if outputs.ndim > 1 else ()
    target_row = row if targets.shape == outputs.shape else ()
    rows = jax.vmap(function)(outputs.reshape(-1, 1, *row), targets.reshape(-1, 1, *target_row))
    return rows.reshape(outputs.shape)


@jax.jit
def _outputs(apply: Callable[..., Any], params: Any, x: Any) -> Any:
    return apply(params, x)


def _outputs_like(apply: Any, params: Any, x: Any) -> Any:
    """Shape and dtype of the outputs."""
    checked_rows(x)
    outputs = jax.eval_shape(_outputs, static("apply", apply), checked_params(params), x)
    if not getattr(outputs, "shape", ()) or not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise ValueError(f"apply must return one floating array [n, ...], got {outputs}")
    return outputs


def _stand_in(likelihood: str, outputs: Any) -> Any:
    if likelihood == "categorical":
        return jnp.zeros(outputs.shape[:-1], jnp.int32)
    return jnp.ones(outputs.shape, outputs.dtype)


@jax.jit(static_argnames=("likelihood", "num_samples"))
def _draw(key: Any, apply: Any, loss: Any, params: Any, x: Any, *, likelihood: str, num_samples: int) -> Any:
    outputs = apply(params, x)
    shape = (num_samples, *outputs.shape)
    if likelihood == "categorical":
        return jax.random.categorical(key, outputs, shape=shape[:-1])
    if likelihood == "bernoulli":
        signs = jax.random.bernoulli(key, jax.nn.sigmoid(outputs), shape)
        return jnp.where(signs, 1, -1).astype(outputs.dtype)
    curvature = _each(lambda f, y: _curvature(loss, f, y), outputs, outputs)
    return outputs + jax.random.normal(key, shape, outputs.dtype) / jnp.sqrt(curvature)


def _curvature(loss: Any, outputs: Any, targets: Any) -> Any:
    """The Hessian in the outputs times ones: its diagonal, if it is diagonal."""
    return jax.jvp(lambda f: jax.grad(loss)(f, targets), (outputs,), (jnp.ones_like(outputs),))[1]
