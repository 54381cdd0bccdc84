"""The temperature at which a sampler really runs: kinetic and configurational."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath.mcmc.diagnostics._arrays import checked_draws, flattened
from dlmath.mcmc.diagnostics._monte_carlo_error import mean
from dlmath.typing import Estimate


class Temperature(NamedTuple):
    """A temperature and two standard errors.

    Attributes:
        value: the average over draws and chains.
        standard_error: from the spread of the draws and their effective number.
        independent_error: value · √(2/(d S)), the error for S independent Gaussian draws of d coordinates, for which
            d S · value / T has the law χ²_{dS}. Where `standard_error` is much larger the draws are correlated (or, for
            configurational temperatures, not Gaussian).
        series: the temperature of every draw, [chain, draw]; for Gaussians its law is T χ²_d / d.
    """

    value: Any
    standard_error: Any
    independent_error: Any
    series: Any


def kinetic_temperature(momenta: Any, mass: Any = 1.0) -> Temperature:
    """The kinetic temperature pᵀM⁻¹p / d, whose mean is T for momenta of the law N(0, T M).

    Args:
        momenta: p, [chain, draw, ...] or a pytree of such arrays: all their coordinates together are the d. Of velocities v
            with p = M v, give M v.
        mass: M, positive: one number, or a pytree like a single draw for a diagonal M.

    Returns:
        A `Temperature`.

    Raises:
        ValueError: for momenta of other shapes, or fewer than 8 draws a chain.

    >>> found = kinetic_temperature(2.0 * jnp.ones((1, 8, 3)))                            # 2² / 1
    >>> print(found.value)
    4.0

    Cost: O(S d).

    References:
        Leimkuhler, Matthews (2015), Molecular dynamics: with deterministic and stochastic numerical methods.
        Wenzel et al. (2020), How good is the Bayes posterior in deep neural networks really?
    """
    momenta = checked_draws("momenta", momenta, 8)
    return _temperature(flattened(jax.tree.map(lambda p, m: p**2 / m, momenta, _spread("mass", mass, momenta))))


def configurational_temperature(positions: Any, scores: Any, centre: Any = 0.0) -> Temperature:
    """The configurational temperature −(x − c)·s(x) / d, whose mean is T for draws of the law exp(log density / T).

    s = ∇ log density is the score at temperature 1. By parts, E[−(x − c)·s(x)] = d T for every c, where the
    density vanishes at infinity; a c near the mean lowers the variance.

    Args:
        positions: x, [chain, draw, ...] or a pytree of such arrays: all their coordinates together are the d.
        scores: s(x), of the same structure and shapes.
        centre: c, one number or a pytree like a single draw.

    Returns:
        A `Temperature`.

    Raises:
        ValueError: for shapes that do not fit, or fewer than 8 draws a chain.

    >>> x = jax.random.normal(jax.random.key(0), (4, 1000, 10))
    >>> print(f"{configurational_temperature(x, -x).value:.1f}")
    1.0

    Cost: O(S d).

    References:
        Leimkuhler, Matthews (2015), Molecular dynamics: with deterministic and stochastic numerical methods.
        Wenzel et al. (2020), How good is the Bayes posterior in deep neural networks really?
    """
    positions, scores = checked_draws("positions", positions, 8), checked_draws("scores", scores, 8)
    _same_structure("scores", scores, "positions", positions)
    shapes = [(s.shape, x.shape) for s, x in zip(jax.tree.leaves(scores), jax.tree.leaves(positions), strict=True)]
    for of_scores, of_positions in shapes:
        if of_scores != of_positions:
            raise ValueError(f"scores must have the shapes of positions, got {of_scores} and {of_positions}")
    terms = jax.tree.map(lambda x, s, c: -(x - c) * s, positions, scores, _spread("centre", centre, positions))
    return _temperature(flattened(terms))


def _spread(name: str, value: Any, draws: Any) -> Any:
    """One number for every leaf, or a pytree like a single draw."""
    leaves = jax.tree.leaves(value)
    if len(leaves) == 1 and jnp.ndim(leaves[0]) == 0:
        return jax.tree.map(lambda leaf: leaves[0], draws)
    _same_structure(name, value, "a draw", draws)
    return value


def _same_structure(first: str, first_value: Any, second: str, second_value: Any) -> None:
    structures = jax.tree.structure(first_value), jax.tree.structure(second_value)
    if structures[0] != structures[1]:
        raise ValueError(f"{first} must have the structure of {second}, got {structures[0]} and {structures[1]}")


def _temperature(terms: Any) -> Temperature:
    """From terms [chain, draw, d] whose means are all T."""
    series = jnp.mean(terms, axis=-1)
    found: Estimate = mean(series)
    independent = jnp.abs(found.value) * math.sqrt(2 / math.prod(terms.shape))
    return Temperature(found.value, found.standard_error, independent, series)
