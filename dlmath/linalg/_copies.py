"""The probability that a Krylov space of a random vector has missed an eigenvector."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# From here on growth is as good as infinite; it is not followed further, lest it overflow.
_ENOUGH = 1e12


class Certificate(NamedTuple):
    """What d Lanczos steps on a random unit vector w say of eigenvectors z orthogonal to all that is known.

    With the monic characteristic polynomial φ of the d-th tridiagonal matrix and its couplings β, φ(A)w = (∏β) q is as
    long as ∏β, and its component along an eigenvector z of value λ is φ(λ)⟨z, w⟩. So |⟨z, w⟩| ≤ 1/p(λ) for the Lanczos
    polynomial p = φ/∏β, which grows exponentially with d outside of the rest of the spectrum; and a random unit vector
    has a component so small with a probability of at most √(2n/π)/p(λ).

    Attributes:
        points: s·λ for the values λ in question, [1, k], or [2, k] for both ends of the spectrum.
        signs: s, 1 at the upper end, -1 at the lower.
        growth: p(λ), zero where λ turned out to be inside of the spectrum, and before the first step.
        previous: the same, one step before.
        unbroken: whether the recurrence goes on; a restart of the basis ends it, and leaves what was known.
    """

    points: Float[Array, "e k"]
    signs: Float[Array, "e 1"]
    growth: Float[Array, "e k"]
    previous: Float[Array, "e k"]
    unbroken: Bool[Array, ""]


def certificate(values: Float[Array, " k"], which: str) -> Certificate:
    """The start, for eigenvalues as extreme as these; infinite ones are unknown and get no certificate."""
    signs = {"largest": [1.0], "smallest": [-1.0], "magnitude": [1.0, -1.0]}[which]
    signs = jnp.asarray(signs, values.dtype)[:, None]
    points = jnp.abs(values) * jnp.ones_like(signs) if which == "magnitude" else signs * values
    known = jnp.isfinite(points)
    growth = known.astype(values.dtype)
    return Certificate(jnp.where(known, points, 0.0), signs, growth, jnp.zeros_like(growth), jnp.any(known))


def extended(found: Certificate, diagonal: Any, coupling: Any, following: Any) -> Certificate:
    """After one more step: p ← ((λ − α) p − β₋ p₋)/β."""
    raw = (found.points - found.signs * diagonal) * found.growth - coupling * found.previous
    new = jnp.where(following > 0, jnp.minimum(raw / jnp.where(following > 0, following, 1.0), _ENOUGH), _ENOUGH)
    inside = ~(raw > 0)
    follow = found.unbroken & (found.growth < _ENOUGH)
    growth = jnp.where(follow, jnp.where(inside, 0.0, new), found.growth)
    previous = jnp.where(follow, jnp.where(inside, 0.0, found.growth), found.previous)
    return found._replace(growth=growth, previous=previous)


def missed(found: Certificate, n: int) -> Float[Array, " k"]:
    """For each value, at most the probability that an eigenvector with a value as extreme was missed; 1 if unknown."""
    known = found.growth > 0
    bound = jnp.sqrt(2 * n / jnp.pi) / jnp.where(known, found.growth, 1.0)
    return jnp.max(jnp.where(known, jnp.minimum(bound, 1.0), 1.0), axis=0)
