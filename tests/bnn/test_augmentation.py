"""Augmented likelihoods: what they are, and that one of them is a density and the other is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import bnn

MIRROR = (lambda x: x, lambda x: x[:, ::-1])


@pytest.mark.parametrize(("count", "weight"), [("once", 0.5), ("independent", 1.0)])
def test_the_posterior_of_a_linear_network_has_the_precision_of_its_copies(conjugate, count, weight):
    problem = conjugate(d=4)
    augmented = bnn.augment(problem.posterior, MIRROR, count=count)
    w = bnn.mode(augmented, problem.params).params["weight"]
    copies = jnp.concatenate([problem.x, problem.x[:, ::-1]])
    targets = jnp.concatenate([problem.y, problem.y])
    precision = jnp.eye(4) / 0.7**2 + weight * copies.T @ copies / 0.3**2
    np.testing.assert_allclose(w, jnp.linalg.solve(precision, weight * copies.T @ targets / 0.3**2), rtol=1e-6)
    hessian = jax.hessian(lambda w: augmented.potential({"weight": w}))(w)
    np.testing.assert_allclose(hessian.reshape(4, 4), precision, rtol=1e-9)


def test_an_augmented_likelihood_is_the_geometric_mean_and_no_density(float64):
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=(5, 4))), jnp.asarray(rng.normal(size=(4, 3)))
    apply = lambda w, x: x @ w
    total = jnp.zeros(())
    geometric = jnp.mean(jnp.stack([jax.nn.log_softmax(t(x) @ w) for t in MIRROR]), 0)
    for label in range(3):
        posterior = bnn.posterior(apply, bnn.priors.normal(1.0), bnn.likelihoods.categorical(), (x, jnp.full(5, label)))
        augmented = bnn.augment(posterior, MIRROR)
        found = augmented.log_joint(w) - augmented.log_prior(w)
        np.testing.assert_allclose(found, geometric[:, label].sum(), rtol=1e-12)
        total += jnp.exp(geometric[:, label])
    assert (total < 1).all()


@pytest.mark.parametrize("average", ["outputs", "probabilities"])
def test_an_invariant_network_does_not_see_the_transformation_and_its_likelihood_is_a_density(float64, average):
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=(5, 4))), jnp.asarray(rng.normal(size=(4, 3)))
    even = bnn.invariant(lambda w, x: x @ w, MIRROR, average=average)
    np.testing.assert_allclose(even(w, x), even(w, x[:, ::-1]), rtol=1e-12)
    density = sum(jnp.exp(bnn.likelihoods.categorical().log_density(even(w, x), jnp.full(5, c))) for c in range(3))
    np.testing.assert_allclose(density, 1.0, rtol=1e-12)
    if average == "probabilities":
        expected = (jax.nn.softmax(x @ w) + jax.nn.softmax(x[:, ::-1] @ w)) / 2
        np.testing.assert_allclose(jax.nn.softmax(even(w, x)), expected, rtol=1e-12)


def test_one_network_made_twice_compiles_once():
    traced = []

    def apply(w, x):
        traced.append(1)
        return x @ w

    @jax.jit
    def outputs(network, w, x):
        return network(w, x)

    for _ in range(2):
        outputs(bnn.invariant(apply, MIRROR), jnp.ones((4, 2)), jnp.ones((3, 4)))
    assert len(traced) == 2  # once for each transform


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda p: bnn.augment(p, []), ValueError, "transforms must hold at least one function, got none"),
        (lambda p: bnn.augment(p, [3]), TypeError, "transforms must be a function, got 3"),
        (lambda p: bnn.augment(p, [lambda x: x[:, :2]]), ValueError, r"transforms must keep the shape of x, \[\(12, 5\)\]"),
        (lambda p: bnn.augment(p, MIRROR, count="one"), ValueError, "count must be one of .* did you mean 'once'"),
        (lambda p: bnn.invariant(p.apply, MIRROR, average="mean"), ValueError, "average must be one of"),
    ],
)  # fmt: skip
def test_bad_input_is_named(conjugate, call, kind, message):
    with pytest.raises(kind, match=message):
        call(conjugate().posterior)
