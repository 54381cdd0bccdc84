"""Posteriors by conjugate gradients against those by Cholesky's factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath.ntk import Grams, empirical, gp_posterior, gram, operator

RNG = np.random.default_rng(0)
N, NOISE = 150, 1e-3
POINTS = RNG.normal(size=(N + 4, 3))
K = np.exp(-((POINTS[:, None] - POINTS) ** 2).sum(-1) / 4)
Y = RNG.normal(size=(N, 2))


def grams(prior):
    return Grams(K[:N, :N], K[N:, :N], prior)


@pytest.mark.parametrize("prior", [None, np.diag(K[N:, N:]), K[N:, N:]], ids=["none", "variances", "covariance"])
def test_both_methods_agree_to_the_tolerance(float64, prior):
    exact = gp_posterior(grams(prior), Y, noise=NOISE, method="cholesky")
    found = gp_posterior(grams(prior), Y, noise=NOISE, method="cg", tol=1e-9)
    bound = np.linalg.norm(K[N:, :N], 2) * 1e-9 / NOISE
    np.testing.assert_allclose(found.mean, exact.mean, atol=bound * np.linalg.norm(Y))
    assert found.residual <= 1e-9
    assert found.positive_definite
    assert found.log_marginal_likelihood is None
    assert found.jitter == exact.jitter
    if prior is None:
        assert found.covariance is None
    else:
        np.testing.assert_allclose(found.covariance, exact.covariance, atol=bound * np.linalg.norm(K[N:, :N]))


def test_the_residual_is_that_of_the_system(float64):
    found = gp_posterior(Grams(K[:N, :N], np.eye(N)), Y[:, 0], noise=NOISE, method="cg", tol=1e-6)
    # With the identity for new inputs the mean is α itself.
    system = K[:N, :N] + (NOISE + float(found.jitter)) * np.eye(N)
    residual = np.linalg.norm(system @ found.mean - Y[:, 0]) / np.linalg.norm(Y[:, 0])
    np.testing.assert_allclose(found.residual, residual, rtol=1e-6)
    assert 0 < residual <= 1e-6


def test_a_kernel_that_is_never_formed_gives_the_posterior_of_its_matrix(float64):
    model = dm.models.mlp([8], 1)
    x = jnp.asarray(POINTS)
    params = model.init(jax.random.key(0), x)
    matrix = empirical(model.apply, params, x, outputs="trace")
    formed = gp_posterior(Grams(matrix[:N, :N], matrix[N:, :N]), Y, noise=0.1, jitter=0.0)
    free = gp_posterior(Grams(operator(model.apply, params, x[:N]), matrix[N:, :N]), Y, noise=0.1, tol=1e-10)
    np.testing.assert_allclose(free.mean, formed.mean, atol=1e-7)


def test_large_matrices_are_not_factorised(float64, monkeypatch):
    monkeypatch.setattr(dm.ntk._predict, "_LARGE", N - 1)
    assert gp_posterior(grams(None), Y, noise=NOISE).log_marginal_likelihood is None
    monkeypatch.setattr(dm.ntk._predict, "_LARGE", N)
    assert gp_posterior(grams(None), Y, noise=NOISE).log_marginal_likelihood is not None


def test_a_matrix_on_disk_is_solved_a_tile_at_a_time(float64, tmp_path, monkeypatch):
    kernel = lambda x1, x2=None: np.exp(-((x1[:, None] - (x1 if x2 is None else x2)) ** 2).sum(-1) / 4)
    stored = gram(kernel, POINTS[:N], block_size=40, store=tmp_path / "k")
    prior = np.diag(K[N:, N:])
    dense = gp_posterior(grams(prior), Y, noise=NOISE, method="cg", tol=1e-9)
    monkeypatch.setattr(type(stored), "__array__", None)  # never read as a whole
    monkeypatch.setattr(dm.ntk._predict, "_LARGE", N - 1)
    found = gp_posterior(grams(prior)._replace(train=stored), Y, noise=NOISE, tol=1e-9)
    np.testing.assert_allclose(found.jitter, dense.jitter, rtol=1e-12)
    np.testing.assert_allclose(found.mean, dense.mean, atol=1e-6)
    np.testing.assert_allclose(found.covariance, dense.covariance, atol=1e-6)
    assert 0 < found.residual <= 1e-9
