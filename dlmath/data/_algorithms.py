"""Tasks whose labels an algorithm computes: sparse parity and modular addition."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.data._dataset import Dataset
from dlmath.data._sample import Sample, check_draw
from dlmath.typing import Key


def sparse_parity(
    key: Key, num_samples: int, num_features: int, degree: int, *, support: Sequence[int] | None = None
) -> Sample:
    """Uniform points of {-1, +1}^d labelled by the parity of k coordinates: y = Π_{j in S} x_j.

    Every function of fewer than k of the coordinates in S is uncorrelated with y.

    Args:
        key: typed key.
        num_samples: n.
        num_features: d.
        degree: k, from 1 to d.
        support: S, k different coordinates; None means the first k.

    Returns:
        Sample with x of shape [n, d] and real y, both with entries ±1.

    >>> sample = sparse_parity(jax.random.key(0), 8, 10, 3)
    >>> bool(jnp.all(sample.y == sample.x[:, 0] * sample.x[:, 1] * sample.x[:, 2]))
    True

    References: Barak et al., "Hidden progress in deep learning: SGD learns parities near the computational
    limit", 2022.
    """
    key, num_samples = check_draw(key, num_samples)
    num_features = check.positive_int("num_features", num_features)
    degree = check.integer("degree", degree, at_least=1, at_most=num_features)
    support = tuple(range(degree)) if support is None else tuple(support)
    for index in support:
        check.integer("support", index, at_least=0, at_most=num_features - 1)
    if len(set(support)) != degree or len(support) != degree:
        raise ValueError(f"support must be {degree} different coordinates, got {support}")
    x = jax.random.rademacher(key, (num_samples, num_features), jnp.result_type(float))
    return Sample(x, jnp.prod(x[:, jnp.array(support)], axis=1))


def modular_addition(key: Key, modulus: int, *, train_fraction: float | int = 0.5, one_hot: bool = True) -> Dataset:
    """All p² sums a + b mod p, in random order, the first part of which trains.

    Args:
        key: typed key, for the order.
        modulus: p, at least 2.
        train_fraction: part of the p² pairs that trains, above 0 and at most 1 (then the test part is empty).
        one_hot: inputs as two indicator vectors side by side, [n, 2p] reals; else as pairs, [n, 2] int32.

    Returns:
        Dataset of JAX arrays with int32 labels (a + b) mod p; round(train_fraction · p²) training points.

    >>> dataset = modular_addition(jax.random.key(0), 97, train_fraction=0.3)
    >>> dataset.x.shape, dataset.x_test.shape
    ((2823, 194), (6586, 194))

    References: Power et al., "Grokking: generalization beyond overfitting on small algorithmic datasets", 2022.
    """
    key = check.key("key", key)
    modulus = check.integer("modulus", modulus, at_least=2)
    train_fraction = check.real("train_fraction", train_fraction, above=0.0, at_most=1.0)
    num_train = round(train_fraction * modulus**2)
    if num_train == 0:
        raise ValueError(f"train_fraction must leave a training point, got {train_fraction:g} of {modulus**2} pairs")
    order = jax.random.permutation(key, jnp.arange(modulus**2, dtype=jnp.int32))
    pairs = jnp.stack([order // modulus, order % modulus], axis=1)
    y = jnp.sum(pairs, axis=1, dtype=jnp.int32) % modulus
    x = jax.nn.one_hot(pairs, modulus).reshape(modulus**2, 2 * modulus) if one_hot else pairs
    return Dataset(x[:num_train], y[:num_train], x[num_train:], y[num_train:])
