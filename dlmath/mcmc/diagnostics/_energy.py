"""Diagnostics of Hamiltonian samplers: energies and divergences."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.mcmc.diagnostics._arrays import checked_draws, pooled


def missing_information(energy: Any) -> Any:
    """Betancourt's E-BFMI of every chain: Σ_n (E_n − E_{n−1})² / Σ_n (E_n − Ē)².

    How much of the spread of the energy one renewal of the momenta explores. Independent energies have 2, as
    E (E_n − E_{n−1})² = 2 Var E; below 0.3 the tails are hardly reached, and a reparameterisation is due.

    Args:
        energy: the Hamiltonian of every draw, [chain, draw] (field "energy" of numpyro's HMC and NUTS).

    Returns:
        [chain]; NaN for constant energies.

    Raises:
        ValueError: for energies of another shape, or fewer than 2 draws.

    >>> print(missing_information(jnp.array([[0.0, 1.0, 0.0, 1.0]])))                     # 3 / (4 · ¼)
    [3.]

    Cost: O(S).

    References:
        Betancourt (2016), Diagnosing suboptimal cotangent disintegrations in Hamiltonian Monte Carlo.
    """
    energy = checked_draws("energy", check.array("energy", energy, ndim=2, finite=False), 2)
    steps = jnp.sum(jnp.diff(energy, axis=1) ** 2, axis=1)
    return steps / jnp.sum((energy - jnp.mean(energy, axis=1, keepdims=True)) ** 2, axis=1)


class Divergences(NamedTuple):
    """How often and where a Hamiltonian sampler diverged.

    Attributes:
        number: of divergent draws.
        fraction: of all draws.
        by_chain: the number in every chain, [chain].
        shift: for every quantity, the mean of the divergent draws less that of the others, in standard deviations of
            all draws: large where trouble is concentrated. NaN without divergences; None without draws.
    """

    number: Any
    fraction: Any
    by_chain: Any
    shift: Any = None


def divergences(diverging: Any, draws: Any = None) -> Divergences:
    """The number of divergent draws, in all and by chain, and where they lie.

    Args:
        diverging: booleans [chain, draw] (field "diverging" of numpyro's HMC and NUTS).
        draws: [chain, draw, ...] or a pytree of such arrays.

    Returns:
        `Divergences`.

    Raises:
        ValueError: for shapes that do not fit.

    >>> found = divergences(jnp.array([[False, True], [False, False]]), jnp.array([[0.0, 3.0], [0.0, 0.0]]))
    >>> print(found.number, found.fraction, found.by_chain, found.shift.round(2))     # 3 / sd of (0, 3, 0, 0)
    1 0.25 [1 0] 2.31

    Cost: O(S) a quantity.
    """
    diverging = jnp.asarray(check.array("diverging", diverging, ndim=2)).astype(bool)
    by_chain = jnp.sum(diverging, axis=1)
    number = jnp.sum(by_chain)
    if draws is None:
        return Divergences(number, number / diverging.size, by_chain)
    draws = checked_draws("draws", draws, 1)
    if jax.tree.leaves(draws)[0].shape[:2] != diverging.shape:
        raise ValueError(
            f"draws must have the chains and draws of diverging, {diverging.shape}, got"
            f" {jax.tree.leaves(draws)[0].shape[:2]}"
        )

    def shift(leaf: Any) -> Any:
        weights = diverging.reshape(*diverging.shape, *[1] * (leaf.ndim - 2))
        inside = jnp.sum(jnp.where(weights, leaf, 0), axis=(0, 1)) / number
        outside = jnp.sum(jnp.where(weights, 0, leaf), axis=(0, 1)) / (diverging.size - number)
        return (inside - outside) / jnp.std(pooled(leaf), axis=0)

    return Divergences(number, number / diverging.size, by_chain, jax.tree.map(shift, draws))
