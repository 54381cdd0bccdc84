"""Feature maps: nested, of the stated distribution, with the stated kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import kernels
from dlmath.double_descent import feature_map

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4))
KEY = jax.random.key(0)
KINDS = ["relu", "erf", "sin", "fourier", "fourier_phase", jnp.tanh]


@pytest.mark.parametrize(("kind", "weights"), [*((kind, "gaussian") for kind in KINDS), ("relu", "spherical")])
def test_fewer_features_are_the_first_of_more(kind, weights):
    large = feature_map(KEY, 4, 11, kind=kind, weights=weights)
    z = large(X)
    small = feature_map(KEY, 4, 5, kind=kind, weights=weights)
    np.testing.assert_allclose(small(X), z[:, :5], rtol=1e-12)
    for start in (0, 3, 6):
        np.testing.assert_allclose(large.block(X, start, 5), z[:, start : start + 5], rtol=1e-12)


def test_other_keys_draw_other_features():
    assert not np.allclose(feature_map(jax.random.key(1), 4, 3, kind="sin")(X), feature_map(KEY, 4, 3, kind="sin")(X))


@pytest.mark.parametrize("kind", ["fourier", "fourier_phase"])
def test_mean_product_of_fourier_features_is_the_gaussian_kernel(kind):
    num = 40_000
    z = feature_map(KEY, 4, num, kind=kind, bandwidth=2.0)(X)
    expected = kernels.gaussian(bandwidth=2.0)(X)
    np.testing.assert_allclose(z @ z.T / num, expected, atol=5 / num**0.5)


def test_mean_product_of_relu_features_is_the_arc_cosine_kernel():
    """E relu(u) relu(v) = |x||x'|/(2π) (sin θ + (π − θ) cos θ), with w ~ N(0, I/d)."""
    num = 100_000
    z = np.asarray(feature_map(KEY, 4, num, kind="relu")(X))
    norm = np.linalg.norm(X, axis=1)
    cosine = np.clip(X @ X.T / np.outer(norm, norm), -1, 1)
    angle = np.arccos(cosine)
    expected = np.outer(norm, norm) / 4 / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * cosine)
    deviation = np.sqrt(((z**2) @ (z**2).T / num - expected**2) / num)
    assert (abs(z @ z.T / num - expected) < 5 * deviation).all()


def test_spherical_weights_have_the_norm_of_weight_std():
    """The features of an identity activation on the unit vectors are the weights."""
    w = feature_map(KEY, 4, 20, kind="identity", weights="spherical", weight_std=3.0)(np.eye(4))
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 3.0, rtol=1e-12)


def test_biases_have_their_standard_deviation():
    b = np.asarray(feature_map(KEY, 4, 20_000, kind="identity", bias_std=0.5)(np.zeros((1, 4))))
    np.testing.assert_allclose(b.std(), 0.5, rtol=5 / np.sqrt(2 * 20_000))
    np.testing.assert_allclose(b.mean(), 0, atol=5 * 0.5 / np.sqrt(20_000))


def test_one_program_serves_all_keys():
    traces = []

    @jax.jit
    def evaluated(features, x):
        traces.append(1)
        return features(x)

    for seed in range(3):
        evaluated(feature_map(jax.random.key(seed), 4, 7, kind="relu"), X)
    assert len(traces) == 1


def test_features_have_the_floating_type_of_the_inputs():
    assert feature_map(KEY, 4, 3, kind="relu")(X.astype(np.float32)).dtype == jnp.float32
