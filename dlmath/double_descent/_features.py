"""Random feature maps, nested in the number of features and drawn again whenever they are needed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dlmath import check
from dlmath.linalg._arrays import floating_dtype, product
from dlmath.models import activations
from dlmath.typing import Key

FOURIER = ("fourier", "fourier_phase")
WEIGHTS = ("gaussian", "spherical")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["key", "scale", "bias_std"],
    meta_fields=["num_inputs", "num_features", "kind", "weights"],
)
@dataclass(frozen=True)
class FeatureMap:
    """The map x ↦ (φ_1(x), …, φ_p(x)) as a pytree that holds a key and no weights; called, it returns [n, p].

    Attributes:
        key: feature j is a function of (key, j) alone.
        scale: what the entries of a weight vector are multiplied by.
        bias_std: standard deviation of the biases, or None.
        num_inputs: d.
        num_features: p.
        kind: name or function, as `feature_map` was given.
        weights: "gaussian" or "spherical".
    """

    key: Any
    scale: Any
    bias_std: Any
    num_inputs: int
    num_features: int
    kind: str | Callable[[Any], Any]
    weights: str = field(default="gaussian")

    def __call__(self, x: Any) -> Float[Array, "n p"]:
        """All features, [n, p]."""
        return self.block(x, 0, self.num_features)

    def block(self, x: Any, start: Any, size: int) -> Float[Array, "n size"]:
        """Features `start`, …, `start + size - 1`, also beyond `num_features`; `start` may be traced."""
        x = jnp.asarray(x)
        if x.ndim != 2 or x.shape[1] != self.num_inputs:
            raise ValueError(f"x must have shape [n, {self.num_inputs}], got {x.shape}")
        x = x.astype(floating_dtype(x))
        return _block(self, x.astype(floating_dtype(x)), start, size)


@partial(jax.jit, static_argnums=3)
def _block(features: FeatureMap, x: Any, start: Any, size: int) -> Any:
    if features.kind == "fourier":
        # Feature 2k is √2 cos w_k·x, feature 2k + 1 is √2 sin w_k·x; a block may start inside of a pair.
        pairs = start // 2 + jnp.arange(size // 2 + 1)
        angle = product(x, _draw(features, pairs, x.dtype)[0].T)
        both = jnp.sqrt(jnp.asarray(2, x.dtype)) * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        return jax.lax.dynamic_slice_in_dim(both.reshape(x.shape[0], -1), start % 2, size, axis=1)
    w, uniform, normal = _draw(features, start + jnp.arange(size), x.dtype)
    h = product(x, w.T)
    if features.kind == "fourier_phase":
        return jnp.sqrt(jnp.asarray(2, x.dtype)) * jnp.cos(h + 2 * jnp.pi * uniform)
    if features.bias_std is not None:
        h = h + jnp.asarray(features.bias_std, x.dtype) * normal
    return activations.get(features.kind)(h)


def _draw(features: FeatureMap, numbers: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """Weights [size, d] of the features of these numbers, and what their biases are made of, [size]."""

    def one(number: Any) -> tuple[Any, Any, Any]:
        weight_key, bias_key = jax.random.split(jax.random.fold_in(features.key, number))
        g = jax.random.normal(weight_key, (features.num_inputs,), dtype)
        if features.weights == "spherical":
            g = g * (features.num_inputs**0.5 / jnp.linalg.norm(g))
        return g, jax.random.uniform(bias_key, (), dtype), jax.random.normal(bias_key, (), dtype)

    g, uniform, normal = jax.vmap(one)(numbers)
    return jnp.asarray(features.scale, dtype) * g, uniform, normal


def feature_map(
    key: Key,
    num_inputs: int,
    num_features: int,
    *,
    kind: str | Callable[[Any], Any],
    weights: str = "gaussian",
    weight_std: ArrayLike = 1.0,
    bias_std: ArrayLike | None = None,
    bandwidth: ArrayLike | None = None,
) -> FeatureMap:
    """Random features φ_j(x) of which any number is the beginning of a larger number of them.

    With g_j standard normal or uniform on the sphere of radius √d,

        φ_j(x) = φ(σ_w g_j·x/√d + σ_b b_j),
        "fourier":          φ_2k(x) = √2 cos(w_k·x),  φ_2k+1(x) = √2 sin(w_k·x),    w_k = g_k / bandwidth,
        "fourier_phase":    φ_j(x) = √2 cos(w_j·x + u_j),  u_j uniform on [0, 2π].

    The mean of φ_j(x) φ_j(x′) over features tends to the kernel of the map: for Gaussian Fourier features to
    exp(−‖x − x′‖²/(2 bandwidth²)). The first p features of a map of more are the map of p, so that a sweep over
    capacities is one program with masks; p counts real features, a pair of cosine and sine as two.

    Args:
        key: draws the features; feature j depends on (key, j) alone.
        num_inputs: dimension d of the inputs.
        num_features: p.
        kind: "fourier", "fourier_phase", a name from `models.activations` ("relu", "erf", "sin", …), or any
            function of an array, applied to each coordinate.
        weights: "gaussian" or "spherical".
        weight_std: σ_w ≥ 0; not for Fourier features.
        bias_std: σ_b ≥ 0 of standard normal b_j; None for no bias; not for Fourier features.
        bandwidth: for Fourier features only, positive, in the units of x; None means 1.

    Returns:
        A `FeatureMap`, a pytree: (x [n, d]) -> features [n, p], in the floating type of x. `block(x, start, size)` are
        some of them. It stores no weights: they are drawn at every call, d p normal numbers.

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    >>> import dlmath as dm
    >>> large, small = (feature_map(jax.random.key(0), 3, p, kind="relu") for p in (100, 7))
    >>> x = jnp.ones((2, 3))
    >>> bool((large(x)[:, :7] == small(x)).all())
    True

    Cost: n p d multiply-adds.

    References:
        Rahimi, Recht (2007), Random features for large-scale kernel machines.
        Mei, Montanari (2019), The generalization error of random features regression (1908.05355), eq. 1 ("spherical").
        Belkin, Hsu, Ma, Mandal (2019), Reconciling modern machine-learning practice and the bias-variance trade-off.
    """
    check.key("key", key)
    num_inputs = check.positive_int("num_inputs", num_inputs)
    num_features = check.positive_int("num_features", num_features)
    check.one_of("weights", weights, WEIGHTS)
    if isinstance(kind, str):
        check.one_of("kind", kind, (*FOURIER, *activations.ACTIVATIONS))
    else:
        check.callable_("kind", kind)
    weight_std = check.real("weight_std", weight_std, at_least=0.0)
    if kind in FOURIER:
        if bias_std is not None or (not check.is_traced(weight_std) and weight_std != 1.0):
            raise ValueError(f"weight_std and bias_std must be left out for kind={kind!r}; give bandwidth")
        scale = 1.0 if bandwidth is None else 1 / check.real("bandwidth", bandwidth, above=0.0)
    else:
        if bandwidth is not None:
            raise ValueError(
                f"bandwidth must be left out unless kind is 'fourier' or 'fourier_phase', got kind={kind!r}"
            )
        if bias_std is not None:
            bias_std = check.real("bias_std", bias_std, at_least=0.0)
        scale = weight_std / num_inputs**0.5
    return FeatureMap(key, scale, bias_std, num_inputs, num_features, kind, weights)
