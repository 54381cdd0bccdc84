import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import dlmath as dm

RNG = np.random.default_rng(0)
DATA = {d: (RNG.normal(size=(7, d)), RNG.normal(size=(5, d))) for d in (3, 40)}


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def plane(theta):
    return np.array([[1.0, 0.0]]), np.array([[math.cos(theta), math.sin(theta)]])


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("theta", [0.0, 0.4, math.pi / 2, 2.5, math.pi])
def test_the_kernel_is_its_gaussian_integral(order, theta):
    # 2 E[step(w·x) step(w·x') (w·x)ⁿ (w·x')ⁿ] in polar coordinates of the plane of x and x'; the radial integral
    # of r^(2n+1) exp(-r²/2) is 2ⁿ n!, and both factors are positive on (θ - π/2, π/2).
    angular, _ = quad(lambda phi: (math.cos(phi) * math.cos(phi - theta)) ** order, theta - math.pi / 2, math.pi / 2)
    expected = 2**order * math.factorial(order) * angular / math.pi
    np.testing.assert_allclose(dm.kernels.arc_cosine(order=order)(*plane(theta)), [[expected]], atol=1e-12)


def test_orthogonal_inputs_give_one_half_and_one_over_pi():
    x1, x2 = np.array([[2.0, 0.0]]), np.array([[0.0, 3.0]])
    np.testing.assert_allclose(dm.kernels.arc_cosine(order=0)(x1, x2), [[1 / 2]], rtol=1e-15)
    np.testing.assert_allclose(dm.kernels.arc_cosine(order=1)(x1, x2), [[6 / math.pi]], rtol=1e-15)


@pytest.mark.parametrize("d", DATA)
@pytest.mark.parametrize(("order", "moment"), [(0, 1), (1, 1), (2, 3)])
def test_the_diagonal_is_a_gaussian_moment_times_a_power_of_the_norm(order, moment, d):
    x, _ = DATA[d]
    expected = moment * np.square(x).sum(1) ** order
    np.testing.assert_allclose(np.diag(dm.kernels.arc_cosine(order=order)(x)), expected, rtol=1e-14)


@pytest.mark.parametrize("d", DATA)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_wide_networks_of_random_units_have_this_kernel(order, d):
    x1, x2 = DATA[d]
    w = np.random.default_rng(1).normal(size=(d, 40_000))
    h1, h2 = x1 @ w, x2 @ w
    samples = 2 * (h1 > 0)[:, None] * (h2 > 0)[None] * (h1[:, None] * h2[None]) ** order
    error = samples.std(-1) / math.sqrt(w.shape[1])
    z = (samples.mean(-1) - dm.kernels.arc_cosine(order=order)(x1, x2)) / error
    assert np.abs(z).max() < 4.5  # of 35 entries


def test_order_zero_is_the_derivative_of_order_one_in_the_cosine():
    def kappa(order, t):
        x1, x2 = jnp.array([[1.0, 0.0]]), jnp.stack([t, jnp.sqrt(1 - t**2)])[None]
        return dm.kernels.arc_cosine(order=order)(x1, x2)[0, 0]

    for t in (-0.9, 0.1, 0.7):
        np.testing.assert_allclose(jax.grad(kappa, argnums=1)(1, t), kappa(0, t), rtol=1e-12)


@pytest.mark.parametrize("theta", [1e-9, 1e-4, math.pi - 1e-4])
def test_small_and_straight_angles_keep_their_digits(theta):
    k = dm.kernels.arc_cosine(order=0)(*plane(theta))[0, 0]
    np.testing.assert_allclose(k, 1 - theta / math.pi, rtol=0, atol=3e-16)


@pytest.mark.parametrize("d", DATA)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_both_ways_of_computing_angles_agree(order, d):
    x1, x2 = DATA[3]
    kernel = dm.kernels.arc_cosine(order=order)
    padded = [np.pad(x, [(0, 0), (0, d)]) for x in (x1, x2)]
    np.testing.assert_allclose(kernel(*padded), kernel(x1, x2), rtol=1e-12)
    np.testing.assert_allclose(kernel(padded[0]), kernel(x1), rtol=1e-12)


def test_a_zero_vector_counts_as_orthogonal():
    x = np.array([[0.0, 0.0], [1.0, 2.0]])
    np.testing.assert_allclose(dm.kernels.arc_cosine(order=0)(x), [[0.5, 0.5], [0.5, 1.0]], rtol=1e-15)
    np.testing.assert_allclose(dm.kernels.arc_cosine(order=1)(x), [[0, 0], [0, 5]], rtol=1e-15)


def test_float32_stays_float32():
    x = DATA[40][0].astype(np.float32)
    k = dm.kernels.arc_cosine(order=1)(x)
    assert k.dtype == jnp.float32
    np.testing.assert_allclose(k, dm.kernels.arc_cosine(order=1)(DATA[40][0]), rtol=1e-5, atol=1e-5)
