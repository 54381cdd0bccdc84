"""Gibbs sampling of the Ising model, half of the lattice at a time."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ScalarLike

from dlmath import check
from dlmath.mcmc.targets._ising import checked_shape, neighbours


def gibbs(
    key: Any,
    spins: Any,
    coupling: ScalarLike,
    field: ScalarLike = 0.0,
    *,
    num_samples: int,
    thinning: int = 1,
    periodic: bool = True,
) -> Any:
    """A chain of checkerboard Gibbs sampling for the Ising model: sweeps that leave its law exactly invariant.

    Spins of one colour have neighbours of the other only, so that given those they are independent:
    P(s_i = 1) = 1/(1 + e^{−2(K Σ_j s_j + B)}), j the neighbours of i. A sweep draws one colour, then the other.

    Args:
        key: typed key.
        spins: ±1, [height, width], where the chain starts; `vmap` over keys and spins for more chains.
        coupling: K as in `ising`.
        field: B as in `ising`.
        num_samples: n, the number of draws kept.
        thinning: sweeps a draw.
        periodic: whether edges meet; then both sides must be even, or there is no checkerboard.

    Returns:
        int8 spins [n, height, width]; the start is not among them.

    Raises:
        ValueError: for spins that are not ±1, or odd sides with periodic edges.

    >>> draws = gibbs(jax.random.key(0), jnp.ones((4, 4), jnp.int8), 10.0, num_samples=3)         # frozen
    >>> print(draws.shape, draws.min())
    (3, 4, 4) 1

    Cost: n · thinning sweeps, each O(height · width).

    References:
        Geman, Geman (1984), Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images.
    """
    check.key("key", key)
    spins = check.array("spins", spins, ndim=2)
    height, width = checked_shape(tuple(spins.shape))
    coupling, field = check.real("coupling", coupling), check.real("field", field)
    num_samples = check.positive_int("num_samples", num_samples)
    thinning = check.positive_int("thinning", thinning)
    if periodic and (height % 2 or width % 2):
        raise ValueError(
            f"spins must have even sides where edges meet, got shape ({height}, {width}): odd rings have no"
            " checkerboard; take even sides or periodic=False"
        )
    if not check.is_traced(spins) and not bool(jnp.all(jnp.abs(spins) == 1)):
        raise ValueError("spins must be -1 or 1, got other values; 2 * bits - 1 turns bits into spins")
    return _chain(key, jnp.asarray(spins, jnp.int8), coupling, field, num_samples, thinning, periodic)


@partial(jax.jit, static_argnames=("num_samples", "thinning", "periodic"))
def _chain(key: Any, spins: Any, coupling: Any, field: Any, num_samples: int, thinning: int, periodic: bool) -> Any:
    rows, columns = jnp.indices(spins.shape)
    colour = (rows + columns) % 2
    dtype = jnp.result_type(float)

    def sweep(step: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        key, spins = carry
        for which, colour_key in enumerate(jax.random.split(jax.random.fold_in(key, step))):
            logit = 2 * (coupling * neighbours(spins.astype(dtype), periodic) + field)
            drawn = jax.random.bernoulli(colour_key, jax.nn.sigmoid(logit), spins.shape)
            spins = jnp.where(colour == which, 2 * drawn.astype(jnp.int8) - 1, spins)
        return key, spins

    def draw(spins: Any, index: Any) -> tuple[Any, Any]:
        _, spins = jax.lax.fori_loop(index * thinning, (index + 1) * thinning, sweep, (key, spins))
        return spins, spins

    return jax.lax.scan(draw, spins, jnp.arange(num_samples))[1]
