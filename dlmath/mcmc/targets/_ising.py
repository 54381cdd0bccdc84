"""The Ising model on a rectangle, with what is known exactly about it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ScalarLike

from dlmath import check
from dlmath.mcmc.targets._target import Target, exact

MAX_ENUMERATED = 20


def ising(shape: tuple[int, int], coupling: ScalarLike, field: ScalarLike = 0.0, *, periodic: bool = True) -> Target:
    """The Ising model: spins s = ±1 on a rectangle, with log density K Σ_⟨ij⟩ s_i s_j + B Σ_i s_i (not normalised).

    K and B are in units of the temperature. `quantities` gives the energy −K Σ s_i s_j − B Σ s_i and
    the magnetisation Σ s_i, both per spin. With periodic edges every spin has a right and a lower neighbour, so that
    a side of 2 has double bonds.

    What is exact: with at most 20 spins, all of it, by enumeration, draws included. Beyond, with periodic edges and without
    field, the normaliser and the mean energy, by Kaufman's formula; the mean magnetisation is 0 and the covariance unknown.
    As the lattice grows the mean energy tends to Onsager's −K coth 2K [1 + (2/π)(2 tanh² 2K − 1) K₁(κ)] per spin, with
    K₁ the complete elliptic integral of the first kind of modulus κ = 2 sinh 2K / cosh² 2K. Else nothing is known.

    Args:
        shape: (height, width), each at least 2.
        coupling: K, finite; positive for ferromagnets. The infinite lattice is critical at ½ log(1 + √2) = 0.44069.
        field: B, finite.
        periodic: whether edges meet.

    Returns:
        A `Target` without score; positions are int8 spins [height, width]. `gibbs` draws from it.

    Raises:
        ValueError, TypeError: for a shape that is not two integers of at least 2.

    >>> target = ising((2, 2), 0.5, periodic=False)              # a ring of four spins: Z = (2 cosh K)⁴ + (2 sinh K)⁴
    >>> print(f"{target.log_normalizer:.5f} {target.log_density(target.initial):.1f}")
    3.29764 2.0

    Cost: the enumeration takes O(2ⁿ n) once; a log density O(n).

    References:
        Onsager (1944), Crystal statistics I. A two-dimensional model with an order-disorder transition.
        Kaufman (1949), Crystal statistics II. Partition function evaluated by spinor analysis.
    """
    height, width = checked_shape(shape)
    k: Any = check.real("coupling", coupling)
    b: Any = check.real("field", field)
    num_spins = height * width

    def log_density(spins: Any) -> Any:
        spins = spins.astype(jnp.result_type(float))
        return 0.5 * k * jnp.sum(spins * neighbours(spins, periodic)) + b * jnp.sum(spins)

    def quantities(spins: Any) -> Any:
        return jnp.stack([-log_density(spins), jnp.sum(spins.astype(jnp.result_type(float)))]) / num_spins

    target = Target(
        log_density=log_density,
        score=None,
        initial=jnp.ones((height, width), jnp.int8),
        quantities=quantities,
        source="none: no closed form",
    )
    if any(check.is_traced(value) for value in (k, b)):
        return target
    if num_spins <= MAX_ENUMERATED:
        return _enumerated(target, (height, width), k, b, periodic)
    # Flipping one colour of a checkerboard turns K into −K; without a checkerboard the formula is for ferromagnets.
    solved = k > 0 or (k < 0 and height % 2 == 0 and width % 2 == 0)
    if periodic and b == 0 and solved:
        log_z, energy = _kaufman(height, width, abs(k))
        mean = jnp.asarray([energy, 0.0])
        return target._replace(log_normalizer=jnp.asarray(log_z), mean=exact(mean), source="Kaufman's formula")
    return target


def neighbours(spins: Any, periodic: bool) -> Any:
    """The sum of the four neighbours of every spin; beyond an open edge there are none."""
    if periodic:
        return sum(jnp.roll(spins, shift, axis) for axis in (-2, -1) for shift in (-1, 1))
    padded = jnp.pad(spins, 1)
    return padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]


def checked_shape(shape: Any) -> tuple[int, int]:
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise TypeError(f"shape must be a pair (height, width), got {shape!r}")
    return check.integer("shape[0]", shape[0], at_least=2), check.integer("shape[1]", shape[1], at_least=2)


def _enumerated(target: Target, shape: tuple[int, int], coupling: float, field: float, periodic: bool) -> Target:
    """The target with all its moments, from the sum over all configurations, in float64."""
    num_spins = shape[0] * shape[1]
    configurations = np.arange(2**num_spins)
    bits = lambda site: 2 * ((configurations >> site) & 1).astype(np.int8) - 1
    bonds = np.zeros(len(configurations), np.int16)
    for row, column in np.ndindex(*shape):
        for below, right in ((1, 0), (0, 1)):
            other = (row + below, column + right)
            if periodic or (other[0] < shape[0] and other[1] < shape[1]):
                site, neighbour = (r % shape[0] * shape[1] + c % shape[1] for r, c in ((row, column), other))
                bonds += bits(site) * bits(neighbour)
    magnetisation = np.zeros(len(configurations), np.int16)
    for site in range(num_spins):
        magnetisation += bits(site)
    log_terms = coupling * bonds.astype(float) + field * magnetisation
    log_z = log_terms.max() + np.log(np.sum(np.exp(log_terms - log_terms.max())))
    weights = np.exp(log_terms - log_z)
    quantities = np.stack([-log_terms, magnetisation]) / num_spins
    mean = quantities @ weights
    offsets = quantities - mean[:, None]
    conditionals = _conditionals(weights)

    def sample(key: Any, num_samples: int) -> Any:
        check.key("key", key)
        uniform = jax.random.uniform(key, (num_spins, check.positive_int("num_samples", num_samples)))
        # Spin by spin, each given those before: one cumulative sum over all configurations would drown in rounding.
        index = jnp.zeros(uniform.shape[1], jnp.int32)
        for conditional, u in zip(conditionals, uniform, strict=True):
            index = 2 * index + (u < jnp.asarray(conditional, u.dtype)[index])
        spins = 2 * ((index[:, None] >> jnp.arange(num_spins)) & 1) - 1
        return spins.reshape(-1, *shape).astype(jnp.int8)

    return target._replace(
        sample=sample,
        mean=exact(jnp.asarray(mean)),
        covariance=exact(jnp.asarray((offsets * weights) @ offsets.T)),
        log_normalizer=jnp.asarray(log_z),
        source="enumeration",
    )


def _conditionals(weights: np.ndarray) -> list[np.ndarray]:
    """For each bit of a configuration, from the highest: the probability that it is 1, given those above it."""
    found = []
    for level in range(1, len(weights).bit_length()):
        zero, one = weights.reshape(2 ** (level - 1), 2, -1).sum(axis=2).T
        found.append(one / np.maximum(zero + one, np.finfo(float).tiny))
    return found


def _kaufman(height: int, width: int, coupling: float) -> tuple[float, float]:
    """The log of Z and the mean energy per spin of a torus without field.

    Z = ½ (2 sinh 2K)^{hw/2} [Π 2cosh(hγ_{2r+1}/2) + Π 2sinh(hγ_{2r+1}/2) + Π 2cosh(hγ_{2r}/2) + Π 2sinh(hγ_{2r}/2)],
    r = 0, ..., w − 1, cosh γ_l = cosh 2K coth 2K − cos(πl/w), γ₀ = 2K + log tanh K (negative at high temperature).
    """

    def log_z(k: Any) -> Any:
        # Complex k is allowed: the imaginary part of log Z(K + ih) / h is its derivative, to rounding.
        angles = np.pi * np.arange(2 * width) / width
        gamma = np.arccosh(np.cosh(2 * k) / np.tanh(2 * k) - np.cos(angles) + 0j)
        gamma[0] = 2 * k + np.log(np.tanh(k))
        half = 0.5 * height * gamma
        # 2cosh u = e^u (1 + e^{−2u}) for Re u > 0; |sinh| alone can be negative, at γ₀.
        sign = np.where(half.real < 0, -1, 1)
        size = half * sign
        log_cosh, log_sinh = size + np.log1p(np.exp(-2 * size)), size + np.log1p(-np.exp(-2 * size))
        logs = [log_cosh[1::2].sum(), log_sinh[1::2].sum(), log_cosh[0::2].sum(), log_sinh[0::2].sum()]
        largest = max(value.real for value in logs)
        total = sum(s * np.exp(value - largest) for s, value in zip([1, 1, 1, sign[0]], logs, strict=True))
        return np.log(0.5) + 0.5 * height * width * np.log(2 * np.sinh(2 * k)) + largest + np.log(total)

    step = 1e-30
    value = log_z(complex(coupling, step))
    return float(value.real), float(-coupling * value.imag / step / (height * width))
