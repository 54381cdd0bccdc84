import jax
import numpy as np
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree

# LLVM takes most of the time on such small programs; unoptimised they give the same numbers, to rounding.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _agree(draws, theory, *, standard_error):
    mean, error = (np.array([f(point) for point in draws]) for f in (np.mean, scipy.stats.sem))
    theory = np.asarray(theory)
    assert (error <= standard_error * theory).all(), f"too few draws: standard errors {error / theory}"
    z = (mean - theory) / error
    chi2 = (z**2).sum()
    told = f"χ² = {chi2:.1f} over {z.size} points, z = {z.round(2)}, standard errors {(error / theory).round(4)}"
    print(told)  # shown by pytest -rP
    assert (abs(z) < 3).all(), told
    assert scipy.stats.chi2.sf(chi2, z.size) > 1e-3, told


@pytest.fixture
def agree():
    """Asserts that means of draws, [points, draws], are within 3 standard errors of a theory, each below a share of it."""
    return _agree


def _differentiates(function, *arguments, rtol=1e-6):
    flat, unravel = ravel_pytree(tuple(np.asarray(a, float) for a in arguments))
    both = jax.jit(jax.value_and_grad(lambda u: function(*unravel(u))), compiler_options=QUICK)
    at = lambda step: float(both(flat + step * direction)[0])
    direction = np.random.default_rng(0).uniform(0.5, 1, size=flat.size) * flat
    h = 1e-4
    expected = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    np.testing.assert_allclose(both(flat)[1] @ direction, expected, rtol=rtol)


@pytest.fixture
def differentiates():
    """Asserts that the reverse-mode derivative of a scalar function in a random direction is that of finite differences."""
    return _differentiates
