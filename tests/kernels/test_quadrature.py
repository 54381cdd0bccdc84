"""Kernels of activations without a closed form, by Gaussian quadrature."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import dlmath as dm
from dlmath.kernels import Activation, Dense, infinite_width

X = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.5, 0.5, 2.0]])


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "sin"])
def test_quadrature_agrees_with_the_closed_form_of_activations_that_have_one(name):
    with jax.enable_x64(True):
        function = dm.models.activations.get(name)
        closed, numerical = (
            infinite_width(
                [Dense(1, math.sqrt(2), math.sqrt(0.1)), Activation(f), Dense(1, math.sqrt(2), math.sqrt(0.1))]
            )
            for f in (name, lambda x: function(x))
        )
        for get in ("nngp", "ntk"):
            np.testing.assert_allclose(numerical(X, get=get), closed(X, get=get), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "elu"])
def test_kernels_by_quadrature_equal_gaussian_integrals_on_a_fine_grid(name):
    """One layer, E φ(u)φ(v) and E φ'(u)φ'(v) by the midpoint rule on 4000² points of [-9, 9]²."""
    z = -9 + 18 * (np.arange(4000) + 0.5) / 4000
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    phi = {
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "softplus": lambda x: np.logaddexp(0, x),
        "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    }[name]
    slope = {
        "tanh": lambda x: 1 / np.cosh(x) ** 2,
        "sigmoid": lambda x: 1 / (2 + 2 * np.cosh(x)),
        "softplus": lambda x: 1 / (1 + np.exp(-x)),
        "elu": lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
    }[name]
    k11, k12, k22 = (2 * X[i] @ X[j] / 3 for i, j in ((0, 0), (0, 2), (2, 2)))
    u = math.sqrt(k11) * z
    rows = lambda f: sum(
        (weight[i : i + 400] * f(u[i : i + 400]))
        @ f(k12 / k11 * u[i : i + 400, None] + math.sqrt(k22 - k12**2 / k11) * z)
        @ weight
        for i in range(0, 4000, 400)
    )
    with jax.enable_x64(True):
        kernel = infinite_width([Dense(1, math.sqrt(2)), Activation(name), Dense(1)])
        nngp, ntk = (kernel(X[:1], X[2:], get=get)[0, 0] for get in ("nngp", "ntk"))
    np.testing.assert_allclose(nngp, rows(phi), rtol=1e-6)
    np.testing.assert_allclose(ntk, rows(phi) + k12 * rows(slope), rtol=1e-5)


def clipped_covariance(q1, q2, k):
    """E clip(u) clip(v) for the clip to [−1, 1]: E[clip(v) | u] in closed form, then an adaptive rule over u."""
    normal = scipy.stats.norm
    width = math.sqrt(q2 - k**2 / q1)

    def inner(u):
        low, high = (-1 - k / q1 * u) / width, (1 - k / q1 * u) / width
        inside = k / q1 * u * (normal.cdf(high) - normal.cdf(low)) - width * (normal.pdf(high) - normal.pdf(low))
        return normal.sf(high) - normal.cdf(low) + inside

    density = lambda u: np.clip(u, -1, 1) * inner(u) * normal.pdf(u, scale=math.sqrt(q1))
    ends = 9 * math.sqrt(q1)
    return scipy.integrate.quad(density, -ends, ends, points=[-1, 1, -q1 / k, q1 / k], epsabs=1e-13, limit=400)[0]


def test_quadrature_split_at_corners_converges_geometrically():
    """Hard tanh, whose corners at ±1 no rule sees that is not split there; an error quartered at least by 10 nodes."""
    cases = [(1.0, 1.0, 0.5), (3.0, 0.5, -0.9), (2.0, 2.0, 0.99)]
    inputs = [np.array([[math.sqrt(q1), 0], [c * math.sqrt(q2), math.sqrt(q2 * (1 - c**2))]]) for q1, q2, c in cases]
    expected = [clipped_covariance(q1, q2, c * math.sqrt(q1 * q2)) for q1, q2, c in cases]
    errors = []
    with jax.enable_x64(True):
        for num_nodes in (10, 20, 40):
            phi = Activation(lambda x: jnp.clip(x, -1, 1), num_nodes=num_nodes, corners=(-1.0, 1.0))
            kernel = infinite_width([Dense(1, math.sqrt(2)), phi, Dense(1)])
            found = [kernel(x, get="nngp")[0, 1] for x in inputs]
            errors.append(np.abs(np.subtract(found, expected)).max())
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[1] / 16
    assert errors[2] < 1e-7


@pytest.mark.parametrize("name", ["tanh", "elu"])
def test_the_stated_quadrature_error_is_the_distance_to_many_more_nodes(name):
    """Few nodes at a variance where they do not suffice."""
    activation = Activation(name, num_nodes=4)
    with jax.enable_x64(True):
        stated = dm.kernels.quadrature_error(activation, 20.0)
        x = np.array([[math.sqrt(20), 0.0]]) * np.array([[1.0], [0.5], [0.25], [-1.0], [-0.5], [-0.25]])
        coarse, fine = (
            np.asarray(
                infinite_width([Dense(1, math.sqrt(2)), activation._replace(num_nodes=n), Dense(1)])(x, x, get="nngp")
            )
            for n in (4, 80)
        )
    error = np.abs(coarse - fine).max() / fine.max()
    assert error / 3 < stated.covariance < 3 * error
    assert stated.covariance > 1e-9


def test_closed_forms_have_no_quadrature_error():
    assert dm.kernels.quadrature_error(Activation("gelu"), 3.0) == (0.0, 0.0)
