"""What the growth of a random vector says of eigenvectors that a Krylov space has missed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath.linalg._copies import certificate, extended, missed


@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_the_component_along_an_outer_eigenvector_grows_as_the_lanczos_polynomial(which):
    spectrum = np.r_[-7.0, np.linspace(-2.0, 2.0, 58), 6.0]
    with jax.enable_x64(True):
        w = np.random.default_rng(0).standard_normal(60)
        run = dm.linalg.lanczos(jax.random.key(0), dm.linalg.from_matrix(jnp.diag(jnp.asarray(spectrum))), w, 8)
        outer = 59 if which == "largest" else 0
        state, coupling = certificate(jnp.asarray(spectrum[[outer]]), which), 0.0
        for step, following in enumerate(np.asarray(run.off_diagonal)):
            state = extended(state, run.diagonal[step], coupling, following)
            coupling = following
            # ⟨z, q⟩ = p(λ) ⟨z, w⟩, up to the sign at the lower end
            grown = float(state.growth[0, 0]) * abs(w[outer]) / np.linalg.norm(w)
            np.testing.assert_allclose(grown, abs(run.basis[step + 1, outer]), atol=1e-11)


def test_a_value_inside_the_spectrum_gets_no_certificate():
    spectrum = np.linspace(-1.0, 1.0, 40)
    op = dm.linalg.from_matrix(jnp.diag(jnp.asarray(spectrum, jnp.float32)))
    run = dm.linalg.lanczos(jax.random.key(0), op, None, 10)
    state, coupling = certificate(jnp.array([0.5, 1.5]), "largest"), 0.0
    for diagonal, following in zip(run.diagonal[:-1], run.off_diagonal, strict=True):
        state = extended(state, diagonal, coupling, following)
        coupling = following
    inside, outside = missed(state, 40)
    assert float(inside) == 1.0
    assert float(outside) < 0.01


def test_an_exhausted_space_leaves_nothing_to_miss():
    state = extended(certificate(jnp.array([2.0]), "magnitude"), jnp.asarray(0.0), 0.0, jnp.asarray(0.0))
    assert float(missed(state, 1000)[0]) < 1e-9


def test_copies_are_missed_no_more_often_than_stated():
    """A double eigenvalue at the edge of the rest, where a search is short of certainty; 400 keys."""
    spectrum = np.r_[10.0, 9.0, 3.2, 3.2, np.random.default_rng(1).uniform(-3.0, 3.0, 1996)].astype(np.float32)
    op = dm.linalg.operator(_scaled, jnp.zeros(2000), jnp.asarray(spectrum))
    find = jax.jit(lambda key: dm.linalg.eigenpairs(key, op, 4, tol=1e-2, check_symmetry=False))
    stated, misses = [], 0
    for seed in range(400):
        found = find(jax.random.key(seed))
        stated.append(float(found.missed[2]))
        misses += float(found.values[3]) < 3.1
    assert misses > 0
    assert max(stated) < 0.15
    assert misses <= sum(stated)


def _scaled(entries, vector):
    return entries * vector


def test_without_a_search_nothing_is_stated():
    op = dm.linalg.from_matrix(jnp.diag(jnp.arange(1.0, 31.0)))
    assert dm.linalg.eigenpairs(jax.random.key(0), op, 2, search_copies=False).missed.tolist() == [1.0, 1.0]
