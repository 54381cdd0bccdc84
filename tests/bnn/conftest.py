from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import bnn

PRIOR_STD, NOISE_STD = 0.7, 0.3


def linear(params, x):
    return x @ params["weight"]


class Conjugate(NamedTuple):
    """A linear network whose posterior is known."""

    posterior: Any
    params: Any
    x: Any
    y: Any
    x_new: Any
    y_new: Any
    exact: Any


def _conjugate(outputs=1, n=12, d=5):
    rng = np.random.default_rng(0)
    x, x_new = jnp.asarray(rng.normal(size=(n, d))), jnp.asarray(rng.normal(size=(4, d)))
    w = PRIOR_STD * rng.normal(size=(d, outputs))
    y, y_new = (v @ w + NOISE_STD * jnp.asarray(rng.normal(size=(len(v), outputs))) for v in (x, x_new))
    posterior = bnn.posterior(linear, bnn.priors.normal(PRIOR_STD), bnn.likelihoods.gaussian(NOISE_STD), (x, y))
    exact = bnn.exact.linear_gaussian(x, y, prior_std=PRIOR_STD, noise_std=NOISE_STD)
    return Conjugate(posterior, {"weight": jnp.zeros((d, outputs))}, x, y, x_new, y_new, exact)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def conjugate(float64):
    """The function (outputs=1, n=12, d=5) -> Conjugate."""
    return _conjugate
