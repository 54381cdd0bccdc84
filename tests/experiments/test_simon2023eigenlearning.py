import jax
import numpy as np
import pytest
import xarray as xr

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize("domain", ["circle", "hypercube"])
def test_targets_are_orthonormal_eigenfunctions_of_the_kernel(paper, domain):
    x = paper.points(domain)
    targets = paper.eigenfunctions(domain, x)
    np.testing.assert_allclose(targets.T @ targets / 256, np.eye(3), atol=1e-12)
    image = paper.gram(1, x) @ targets / 256
    values = (image * targets).mean(0)
    np.testing.assert_allclose(image, values * targets, atol=1e-10)
    assert (np.diff(values) < 0).all()
    assert values[-1] > 1e-6


def test_learnabilities_of_one_training_set_add_up_to_its_size(paper):
    k = paper.gram(1, paper.points("circle"))
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(256, 256)))[0] * 16
    chosen = np.array([3, 100, 101, 200, 17])
    fits = paper.regress(k, chosen, basis[chosen], 0.0)
    assert (basis * fits).mean(0).sum() == pytest.approx(5, abs=1e-9)
    np.testing.assert_allclose(fits[chosen], basis[chosen], atol=1e-9)


def test_regression_solves_the_normal_equations(paper):
    # Σ over training points of (f − y)² + δ ‖f‖² is least: its gradient in the coefficients vanishes.
    rng = np.random.default_rng(1)
    features = rng.normal(size=(9, 3))
    chosen, y = np.arange(5), rng.normal(size=5)
    weights = np.linalg.solve(features[:5].T @ features[:5] + 0.3 * np.eye(3), features[:5].T @ y)
    found = paper.regress(features @ features.T, chosen, y, 0.3)
    np.testing.assert_allclose(found, features @ weights, atol=1e-12)


def test_a_subset_has_no_point_twice_and_is_the_start_of_larger_ones(paper):
    orders = paper.subsets(jax.random.split(jax.random.key(0), 3), 20)
    assert (np.sort(orders, axis=1) == np.arange(20)).all()
    assert (orders[0] != orders[1]).any()


def test_conservation_is_judged_by_the_worst_size_and_domain(paper):
    found = xr.DataArray(
        [[[[[1.0, 1.0]], [[1.0, 3.0]]], [[[1.5, 1.0]], [[2.0, 2.0]]]]],
        {"num_train": [2, 4], "ridge": [0.0]},
        ("seed", "domain", "num_train", "ridge", "mode"),
    )
    np.testing.assert_allclose(paper._conserved(None, {"modes/learnability": found}), [0.25])
