"""The Hessian taken apart: Gauss-Newton term and residual, and the class means behind its outliers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check, linalg
from dlmath.hessian._ggn import ggn
from dlmath.hessian._operator import checked_params, expect_operator, operator, static
from dlmath.linalg import Operator
from dlmath.linalg._arrays import product
from dlmath.typing import ApplyFn, LossFn, Params


class Decomposition(NamedTuple):
    """H = G + R as three operators."""

    hessian: Operator
    ggn: Operator
    residual: Operator


class ClassMeans(NamedTuple):
    """Means of the gradients of logits over classes, and the parts of G that they make up."""

    cross_class: Params
    """δ_{c,c'}, like the parameters with leading axes [C, C]."""
    by_class: Params
    """δ_c, the mean of δ_{c,c'} over c' ≠ c, with a leading axis [C]."""
    proportions: Float[Array, " C"]
    """π_c [C], the part of the examples that is in class c."""
    class_part: Operator
    """Σ_c π_c (C − 1) δ_c δ_cᵀ, of rank at most C."""
    cross_part: Operator
    """Σ_c π_c Σ_{c'≠c} (δ_{c,c'} − δ_c)(δ_{c,c'} − δ_c)ᵀ, of rank at most C(C − 2)."""
    same_part: Operator
    """Σ_c π_c δ_{c,c} δ_{c,c}ᵀ, of rank at most C."""
    within: Operator
    """G less the three: Σ_c π_c Σ_{c'} of the covariances of δ_{i,c'} over i in c."""


def decompose(apply: ApplyFn | Any, loss: LossFn | Any, params: Params, x: Any, y: Any) -> Decomposition:
    """The Hessian of loss(f_θ(x), y) as H = G + R, Gauss-Newton term and residual.

        G = JᵀSJ,   R = Σ_k (∂loss/∂f_k) ∇²_θ f_k,

    where k runs over examples and outputs. R vanishes where the model is linear or the loss is stationary in the
    outputs, as at interpolation. It is computed as the Hessian of ⟨∂loss/∂f, f_θ(x)⟩ with the bracket's first entry
    held fixed, not as a difference, so that a small R keeps its digits.

    Args:
        apply: (params, x) -> outputs.
        loss: (outputs, targets) -> scalar.
        params: θ, any pytree of floating arrays.
        x: inputs.
        y: targets.

    Returns:
        A `Decomposition` of operators. Cost of a product: about 1.8 gradients for H and R, 1.5 for G.

    Raises:
        ValueError, TypeError: as `operator` and `ggn` do.

    Source: Schraudolph 2002, section 3; Papyan 2019 (1901.08244), section 2.

    >>> parts = decompose(lambda w, x: w**2 * x, lambda f, y: 0.5 * (f - y) ** 2, jnp.array(1.0), 1.0, 3.0)
    >>> [part(jnp.array(1.0)).item() for part in parts]
    [0.0, 4.0, -4.0]
    """
    apply, loss, params = static("apply", apply), static("loss", loss), checked_params(params)
    gauss_newton = ggn(apply, loss, params, x, y)
    # The functions are data of the objective, so that one program serves every call.
    return Decomposition(
        operator(_loss_of, params, apply, loss, x, y),
        gauss_newton,
        linalg.operator(_residual_product, params, apply, loss, params, x, y),
    )


def class_means(apply: ApplyFn | Any, params: Params, x: Any, y: Any, num_classes: int) -> ClassMeans:
    """The class and cross-class means whose scatter makes the outliers of G under cross entropy.

    With p_i = softmax f(x_i) and δ_{i,c'} = p_i(c')^½ J_iᵀ(e_{c'} − p_i), the Gauss-Newton matrix of the mean cross
    entropy is G = (1/n) Σ_i Σ_{c'} δ_{i,c'} δ_{i,c'}ᵀ. Let δ_{c,c'} be the mean of δ_{i,c'} over the examples of
    class c, and δ_c the mean of δ_{c,c'} over c' ≠ c. Then, exactly,

        G = class_part + cross_part + same_part + within,

    where the first three are the second moments of these means.

    Args:
        apply: (params, x) -> logits [n, C].
        params: θ, any pytree of floating arrays.
        x: inputs [n, ...].
        y: classes [n], integers, or one-hot [n, C].
        num_classes: C ≥ 2. Classes without examples have means and weights 0.

    Returns:
        `ClassMeans`. Cost: C² backward passes over all examples, one after the other; memory C²·P.

    Raises:
        ValueError, TypeError: for labels that are no classes, or logits that are not [n, C].

    Source: Papyan 2020 (2008.11865) and 2019 (1901.08244), whose δ_{c,c'} and δ_c these are; here the diagonal
    c' = c is a part of its own, and classes are weighted by their share of the examples.

    >>> means = class_means(lambda w, x: x @ w, jnp.eye(2), jnp.eye(2), jnp.array([0, 1]), 2)
    >>> means.by_class.shape, means.proportions.tolist()
    ((2, 2, 2), [0.5, 0.5])
    """
    num_classes = check.integer("num_classes", num_classes, at_least=2)
    apply, params = static("apply", apply), checked_params(params)
    gauss_newton = ggn(apply, _log_partition, params, x, None)
    labels = _labels(y, num_classes)
    shape = jax.eval_shape(_outputs, apply, params, x).shape
    if shape != (labels.shape[0], num_classes):
        raise ValueError(
            f"apply must return logits of shape {(labels.shape[0], num_classes)}, one for each of y and of "
            f"num_classes, got {shape}"
        )
    cross, mean, share = _means(apply, params, x, jax.nn.one_hot(labels, num_classes))
    part = lambda matvec, *arrays: linalg.operator(matvec, params, *arrays)
    parts = part(_class_scatter, mean, share), part(_cross_scatter, cross, mean, share), part(_same, cross, share)
    return ClassMeans(cross, mean, share, *parts, knock_out(gauss_newton, *parts))


def knock_out(op: Operator, *parts: Operator) -> Operator:
    """The operator A − Σ parts: what is left of A without, say, the scatter of its class means.

    Args:
        op: A, such as the Hessian or G.
        parts: operators on the same space, such as the `class_part` and `cross_part` of `class_means`.

    Returns:
        An `Operator`. Outliers that the parts make are no longer in its spectrum. Cost of a product: the sum of theirs.

    Raises:
        TypeError: for something that is no operator. ValueError: for operators on another space.

    >>> from dlmath import linalg
    >>> left = knock_out(linalg.from_matrix(jnp.eye(2)), linalg.from_matrix(jnp.diag(jnp.array([1.0, 0.0]))))
    >>> left(jnp.ones(2)).tolist()
    [0.0, 1.0]
    """
    expect_operator("op", op)
    for index, part in enumerate(parts):
        expect_operator(f"parts[{index}]", part)
        if part.structure != op.structure:
            raise ValueError(f"parts[{index}] must act on the space of op, {op.like}, got one on {part.like}")
    return linalg.operator(_difference, op.like, op, parts, matvec_eps=op.matvec_eps)


def _loss_of(params: Any, apply: Any, loss: Any, x: Any, y: Any) -> Any:
    return loss(apply(params, x), y)


@jax.jit
def _residual_product(apply: Any, loss: Any, params: Any, x: Any, y: Any, vector: Any) -> Any:
    slope = jax.grad(lambda outputs: loss(outputs, y))(apply(params, x))
    along = lambda p: jax.tree.reduce(jnp.add, jax.tree.map(lambda s, f: jnp.sum(s * f), slope, apply(p, x)))
    return jax.jvp(jax.grad(along), (params,), (vector,))[1]


def _log_partition(outputs: Any, _: Any) -> Any:
    # The Hessian of the cross entropy in the logits does not know the labels.
    return jnp.mean(jax.nn.logsumexp(outputs, axis=-1))


@jax.jit
def _outputs(apply: Any, params: Any, x: Any) -> Any:
    return apply(params, x)


def _labels(y: Any, num_classes: int) -> Any:
    y = check.array("y", y, ndim=(1, 2))
    if y.ndim == 2:
        if y.shape[1] != num_classes:
            raise ValueError(f"y must have num_classes={num_classes} columns, got shape {tuple(y.shape)}")
        return jnp.argmax(jnp.asarray(y), axis=1)
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(f"y must be integer classes [n] or one-hot [n, {num_classes}], got dtype {y.dtype}")
    if not check.is_traced(y) and not (np.min(y) >= 0 and np.max(y) < num_classes):
        raise ValueError(
            f"y must be in 0..{num_classes - 1} for num_classes={num_classes}, got {np.unique(y)[[0, -1]]}"
        )
    return jnp.asarray(y)


@jax.jit
def _means(apply: Any, params: Any, x: Any, member: Any) -> tuple[Any, Any, Any]:
    logits, pull = jax.vjp(lambda p: apply(p, x), params)
    p = jax.nn.softmax(logits, axis=-1)
    member = member.astype(p.dtype)
    count = jnp.sum(member, axis=0)
    num_classes = member.shape[1]

    def mean(index: Any) -> Any:
        c, other = index // num_classes, index % num_classes
        weight = member[:, c] / jnp.maximum(count[c], 1) * jnp.sqrt(p[:, other])
        return pull(weight[:, None] * (jax.nn.one_hot(other, num_classes, dtype=p.dtype) - p))[0]

    flat = jax.lax.map(mean, jnp.arange(num_classes**2))
    cross = jax.tree.map(lambda leaf: leaf.reshape(num_classes, num_classes, *leaf.shape[1:]), flat)
    others = 1 - jnp.eye(num_classes, dtype=p.dtype)
    of_class = lambda leaf: jnp.einsum("cd,cd...->c...", others.astype(leaf.dtype), leaf) / (num_classes - 1)
    return cross, jax.tree.map(of_class, cross), count / member.shape[0]


def _class_scatter(mean: Any, share: Any, vector: Any) -> Any:
    return _second_moment(mean, (len(share) - 1) * share, vector)


def _cross_scatter(cross: Any, mean: Any, share: Any, vector: Any) -> Any:
    deviation = jax.tree.map(lambda d, m: d - m[:, None], cross, mean)
    weights = share[:, None] * (1 - jnp.eye(len(share), dtype=share.dtype))
    return _second_moment(deviation, weights, vector)


def _same(cross: Any, share: Any, vector: Any) -> Any:
    diagonal = jnp.arange(len(share))
    return _second_moment(jax.tree.map(lambda leaf: leaf[diagonal, diagonal], cross), share, vector)


@jax.jit
def _second_moment(vectors: Any, weights: Any, vector: Any) -> Any:
    """Σ_k w_k a_k ⟨a_k, v⟩ for vectors a with the leading axes of w."""
    rows = lambda leaf: leaf.reshape(weights.size, -1)
    products = jax.tree.map(lambda a, v: product(rows(a), v.reshape(-1)), vectors, vector)
    coefficients = weights.reshape(-1) * jax.tree.reduce(jnp.add, products)
    return jax.tree.map(lambda a, v: product(coefficients.astype(a.dtype), rows(a)).reshape(v.shape), vectors, vector)


def _difference(op: Operator, parts: tuple[Operator, ...], vector: Any) -> Any:
    result = op(vector)
    for part in parts:
        result = jax.tree.map(jnp.subtract, result, part(vector))
    return result
