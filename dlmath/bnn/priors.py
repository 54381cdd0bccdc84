"""Priors on the parameters of a network: independent entries w = s·z, z of a standard symmetric law, s by path and shape.

| scale                | s of a leaf [..., in, out]    | which networks of `models` start like this, under `normal`      |
|----------------------|-------------------------------|-----------------------------------------------------------------|
| a number             | the number                    |                                                                 |
| "ntk"                | 1                             | `parameterization="ntk"`                                        |
| "fan_in"             | 1/√fan_in                     | `parameterization="standard"`, `weight_std=1`                   |
| "he"                 | √(2/fan_in)                   | `parameterization="standard"`, `weight_std=√2`                  |

fan_in is the product of all axes but the last. A leaf of fewer than two axes (a bias) has none: there "fan_in" and "he" are 1.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check
from dlmath.typing import Key, Params

__all__ = ["Factor", "Prior", "by_path", "horseshoe", "laplace", "leaf_paths", "normal", "student_t"]

RULES = ("fixed", "ntk", "fan_in", "he")
# Terms of the series of E₁ below `_SWITCH`, and of its continued fraction above: both to the rounding of float64.
_SWITCH, _SERIES, _FRACTION = 2.0, 26, 70


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Factor:
    """The law of the entries of some leaves; a pytree over its numbers, so that they may be differentiated and changed.

    Attributes:
        scale: s > 0, multiplied by what the rule says.
        degrees_of_freedom: ν > 0 of Student's t, else None.
        family: "normal", "laplace", "student_t" or "horseshoe"; static.
        rule: "fixed", "ntk", "fan_in" or "he"; static.
    """

    scale: Any
    degrees_of_freedom: Any = None
    family: str = field(default="normal", metadata={"static": True})
    rule: str = field(default="fixed", metadata={"static": True})

    def scale_of(self, shape: tuple[int, ...]) -> Any:
        """The scale s of a leaf of this shape."""
        fan_in = math.prod(shape[:-1]) if len(shape) > 1 else None
        if self.rule in ("fixed", "ntk") or fan_in is None:
            return self.scale
        return self.scale * math.sqrt((2.0 if self.rule == "he" else 1.0) / fan_in)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prior:
    """A density on parameters, independent over their entries; made by `normal`, ..., `by_path`.

    Attributes:
        factors: the laws.
        patterns: for each law which leaves it is for (see `by_path`), None for all that are left; static.
    """

    factors: tuple[Factor, ...]
    patterns: tuple[str | None, ...] = field(metadata={"static": True})

    def log_density(self, params: Params) -> Float[Array, ""]:
        """The log density log p(θ) = Σᵢ [log p(wᵢ/sᵢ) − log sᵢ], normalised; a scalar."""
        factors = self.factors_of(params)
        terms = [_log_density(f, jnp.asarray(w)) for f, w in zip(factors, jax.tree.leaves(params), strict=True)]
        return jax.tree.reduce(jnp.add, terms)

    def sample(self, key: Key, params_like: Params) -> Params:
        """A draw θ ~ p, with the structure, shapes and types of `params_like` (values are not used)."""
        check.key("key", key)
        leaves, treedef = jax.tree.flatten(params_like)
        keys = jax.random.split(key, len(leaves))
        draws = [_sample(k, f, w) for k, f, w in zip(keys, self.factors_of(params_like), leaves, strict=True)]
        return jax.tree.unflatten(treedef, draws)

    def precisions(self, params_like: Params) -> Params:
        """−∂²log p/∂w² of every entry, 1/s², as a tree of scalars, one a leaf; for normal priors only."""
        for factor in self.factors:
            if factor.family != "normal":
                raise ValueError(
                    f"prior must be normal, so that its log density is quadratic, got {factor.family}; use"
                    " priors.normal, or an inference that takes every prior (hmc, nuts, mean_field, svgd)"
                )
        leaves, treedef = jax.tree.flatten(params_like)
        scales = [f.scale_of(jnp.shape(w)) for f, w in zip(self.factors_of(params_like), leaves, strict=True)]
        precisions = [1 / jnp.square(jnp.asarray(s, w.dtype)) for s, w in zip(scales, leaves, strict=True)]
        return jax.tree.unflatten(treedef, precisions)

    def factors_of(self, params: Params) -> list[Factor]:
        """The law of each leaf, in the order of `jax.tree.leaves`.

        Raises:
            ValueError: for a leaf without a law, or a pattern without a leaf.
        """
        names = leaf_paths(params)
        chosen = [next((i for i, p in enumerate(self.patterns) if _matches(p, name)), None) for name in names]
        for name, index in zip(names, chosen, strict=True):
            if index is None:
                raise ValueError(
                    f"prior must have a law for every leaf of params, got none for {name!r}; add a pattern or a default"
                )
        for pattern in self.patterns:
            if pattern is not None and not any(_matches(pattern, name) for name in names):
                raise ValueError(
                    f"prior must have patterns that match leaves of params, {', '.join(map(repr, names))},"
                    f" got {pattern!r}{check.did_you_mean(pattern, names)}"
                )
        return [self.factors[index] for index in chosen if index is not None]


def normal(scale: Any = 1.0) -> Prior:
    """The normal prior N(0, s²) of every entry; s is its standard deviation.

    Args:
        scale: s > 0, or "ntk", "fan_in" or "he" (see the table of this module).

    Raises:
        ValueError: for an unknown rule, or a scale that is not positive and finite (an infinite one is improper).

    >>> round(float(normal(2.0).log_density(jnp.zeros(3))), 4)             # −3 log(2 √(2π))
    -4.8363
    """
    return _prior("normal", scale)


def laplace(scale: Any = 1.0) -> Prior:
    """The Laplace prior e^{−|w|/s}/(2s) of every entry, of standard deviation √2 s.

    Args and Raises as for `normal`.

    >>> round(float(laplace().log_density(jnp.ones(1))), 4)                # −1 − log 2
    -1.6931
    """
    return _prior("laplace", scale)


def student_t(scale: Any = 1.0, *, degrees_of_freedom: Any) -> Prior:
    """Student's t prior with ν degrees of freedom, w/s ~ t_ν; its standard deviation is s √(ν/(ν − 2)) for ν > 2.

    Args:
        scale: as for `normal`.
        degrees_of_freedom: ν > 0; 1 is the Cauchy law.

    Raises:
        ValueError: as for `normal`, and for ν that is not positive and finite.

    >>> round(float(student_t(degrees_of_freedom=1.0).log_density(jnp.zeros(1))), 4)      # −log π
    -1.1447
    """
    return _prior("student_t", scale, check.real("degrees_of_freedom", degrees_of_freedom, above=0.0))


def horseshoe(scale: Any = 1.0) -> Prior:
    """The horseshoe prior: w ~ N(0, λ²s²) with λ half-Cauchy for every entry of its own, λ integrated out.

    With z = w/s, p(z) = (2π³)^{−½} e^{z²/2} E₁(z²/2), E₁ the exponential integral: an integrable logarithmic pole at 0
    and tails ~ 1/z². At z = 0 the density of the smallest normal float is returned, so that the potential is finite.

    Args:
        scale: s, the global scale τ, fixed; otherwise as for `normal`.

    Raises:
        ValueError: as for `normal`.

    >>> round(float(horseshoe().log_density(jnp.array([2**0.5]))), 4)      # e E₁(1) = 0.596347 over √(2π³) = 7.874805
    -2.5806

    References: Carvalho, Polson, Scott (2010), The horseshoe estimator for sparse signals, section 1.
    """
    return _prior("horseshoe", scale)


def by_path(laws: Mapping[str, Prior], default: Prior | None = None) -> Prior:
    """The prior that gives each leaf the law of the first pattern that matches its path.

    The path of a leaf is its keys joined by "/", as "0/weight". A pattern matches a path that it equals, of which it is a
    branch ("0" matches "0/weight", not "10/weight"), or that it matches in full as a regular expression (".*/bias").

    Args:
        laws: pattern -> prior (of one law), in order of precedence.
        default: the prior of leaves that no pattern matches; None to have none.

    Raises:
        TypeError: for a value that is no prior.
        ValueError: for a malformed pattern or a law that is itself by path; and, when the prior meets parameters, for a
            leaf without a law or a pattern without a leaf.

    >>> prior = by_path({".*/bias": normal(1.0)}, default=normal("fan_in"))
    >>> tree = [{"weight": jnp.zeros((4, 2)), "bias": jnp.zeros(2)}]
    >>> jax.tree.map(float, prior.precisions(tree))
    [{'bias': 1.0, 'weight': 4.0}]
    """
    if not isinstance(laws, Mapping):
        raise TypeError(f"laws must be a mapping pattern -> prior, got {type(laws).__name__}")
    factors, patterns = [], []
    for pattern, prior in [*laws.items(), *([] if default is None else [(None, default)])]:
        argument = "default" if pattern is None else f"laws[{pattern!r}]"
        if not isinstance(prior, Prior):
            raise TypeError(f"{argument} must be a prior, such as priors.normal(1.0), got {type(prior).__name__}")
        if len(prior.factors) != 1 or prior.patterns != (None,):
            raise ValueError(f"{argument} must be one law, got a prior by path; merge the two mappings")
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"laws must have regular expressions as keys, got {pattern!r}: {error}") from error
        factors.append(prior.factors[0])
        patterns.append(pattern)
    if not factors:
        raise ValueError("laws must hold at least one prior, or default must be given, got neither")
    return Prior(tuple(factors), tuple(patterns))


def leaf_paths(params: Params) -> list[str]:
    """The paths of the leaves, keys joined by "/", in the order of `jax.tree.leaves`."""
    paths = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]


def _prior(family: str, scale: Any, degrees_of_freedom: Any = None) -> Prior:
    if isinstance(scale, str):
        rule, scale = check.one_of("scale", scale, RULES[1:]), 1.0
    else:
        rule = "fixed"
        if isinstance(scale, float) and math.isinf(scale):
            raise ValueError(
                f"scale must be finite, got {scale}: the prior would be improper, without evidence or draws;"
                " give a large scale to say that little is known"
            )
        scale = check.real("scale", scale, above=0.0)
    return Prior((Factor(scale, degrees_of_freedom, family, rule),), (None,))


def _matches(pattern: str | None, name: str) -> bool:
    if pattern is None:
        return True
    return name == pattern or name.startswith(pattern + "/") or re.fullmatch(pattern, name) is not None


def _log_density(factor: Factor, w: Any) -> Any:
    scale = jnp.asarray(factor.scale_of(w.shape), w.dtype)
    z = w / scale
    if factor.family == "normal":
        terms = -0.5 * jnp.square(z) - 0.5 * math.log(2 * math.pi)
    elif factor.family == "laplace":
        terms = -jnp.abs(z) - math.log(2.0)
    elif factor.family == "student_t":
        nu = jnp.asarray(factor.degrees_of_freedom, w.dtype)
        log_beta = jax.lax.lgamma((nu + 1) / 2) - jax.lax.lgamma(nu / 2) - 0.5 * jnp.log(nu * math.pi)
        terms = log_beta - (nu + 1) / 2 * jnp.log1p(jnp.square(z) / nu)
    else:
        half = jnp.maximum(jnp.square(z) / 2, jnp.finfo(w.dtype).tiny)
        terms = jnp.log(scaled_exponential_integral(half)) - 0.5 * math.log(2 * math.pi**3)
    return jnp.sum(terms) - w.size * jnp.log(scale)


def _sample(key: Any, factor: Factor, like: Any) -> Any:
    shape, dtype = jnp.shape(like), like.dtype
    scale = jnp.asarray(factor.scale_of(shape), dtype)
    if factor.family == "normal":
        return scale * jax.random.normal(key, shape, dtype)
    if factor.family == "laplace":
        return scale * jax.random.laplace(key, shape, dtype)
    if factor.family == "student_t":
        return scale * jax.random.t(key, jnp.asarray(factor.degrees_of_freedom, dtype), shape, dtype)
    local, entries = jax.random.split(key)
    return scale * jnp.abs(jax.random.cauchy(local, shape, dtype)) * jax.random.normal(entries, shape, dtype)


@jax.custom_jvp
def scaled_exponential_integral(x: Any) -> Any:
    """eˣE₁(x) for x > 0, to rounding: its series below 2, its continued fraction (backwards) above."""
    small, large = jnp.minimum(x, _SWITCH), jnp.maximum(x, _SWITCH)

    def term(k: Any, carry: Any) -> Any:
        power, total = carry  # power = (−x)ᵏ/k!
        power = power * (-small / k)
        return power, total + power / k

    series = jax.lax.fori_loop(1, _SERIES + 1, term, (jnp.ones_like(x), jnp.zeros_like(x)))[1]
    series = jnp.exp(small) * (-jnp.euler_gamma - jnp.log(small) - series)

    def level(i: Any, tail: Any) -> Any:
        k = jnp.asarray(_FRACTION - i, x.dtype)
        return large + 2 * k - 1 - k**2 / tail

    fraction = 1 / jax.lax.fori_loop(0, _FRACTION, level, large + 2 * _FRACTION + 1)
    return jnp.where(x < _SWITCH, series, fraction)


@scaled_exponential_integral.defjvp
def _scaled_exponential_integral_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    value = scaled_exponential_integral(x)
    return value, (value - 1 / x) * dx
