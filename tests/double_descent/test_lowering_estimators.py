"""Every traced function of the estimators is accepted by the compilers of GPUs and TPUs (no callbacks)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

dd = dm.double_descent
X, Y, Y_1 = np.ones((6, 3)), np.ones((6, 2)), np.ones(6)
PENALTY = np.array([0.1, 1.0])


def features(key, kind="relu", **options):
    return dd.feature_map(key, 3, 9, kind=kind, **options)


def decomposed(function):
    return lambda key, x: function(dd.decompose(x, Y))


FUNCTIONS = {
    "feature_map": lambda key, x: features(key, weights="spherical", bias_std=1.0)(x),
    "feature_map, fourier": lambda key, x: features(key, "fourier")(x),
    "ridge_sweep": lambda key, x: dd.ridge_sweep(features(key), (x, Y), [2, 4, 6, 9], PENALTY, test=(x, Y)),
    "ridge_sweep, ridgeless": lambda key, x: dd.ridge_sweep(None, (x, Y), [1, 3], [0.0]),
    "ridge_sweep, traced penalty": lambda key, x: dd.ridge_sweep(features(key), (x, Y), [4, 9], jnp.exp(x[0])),
    "moments": lambda key, x: dd.ridge_from_moments(dd.moments(features(key), x, Y, block_size=4), PENALTY),
    "hybrid_lsqr": lambda key, x: dd.hybrid_lsqr(features(key), Y_1, PENALTY, x=x, num_steps=3, block_size=4),
    "tikhonov": decomposed(lambda d: dd.coefficients(d, dd.tikhonov(d, PENALTY))),
    "gradient_flow": decomposed(lambda d: dd.fitted(d, dd.gradient_flow(d, PENALTY))),
    "truncated": decomposed(lambda d: dd.degrees_of_freedom(dd.truncated(d, 2))),
    "gcv": decomposed(lambda d: dd.gcv(d, dd.tikhonov(d, PENALTY))),
    "leave_one_out": decomposed(lambda d: dd.leave_one_out(d, dd.tikhonov(d, PENALTY))),
    "l_curve": decomposed(lambda d: dd.l_curve(d, PENALTY)),
    "picard": decomposed(dd.picard),
    "cross_validation": lambda key, x: dd.cross_validation(x, Y, PENALTY, num_folds=3, key=key),
    "polynomial_fit": lambda key, x: dd.polynomial_fit(x[:, 0], Y, 2),
    "trigonometric_fit": lambda key, x: dd.trigonometric_fit(x[:, 0], Y, 2, period=1.0, penalty=PENALTY),
    "bias_variance": lambda key, x: dd.bias_variance(
        key, lambda a, b: (x, jax.random.normal(b, (6,))), lambda x, y: dm.linalg.ridge(x, y, 0.1) @ x.T, Y_1,
        num_samples=3, batch_size=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_lowered_for_cuda_and_tpu(name):
    traced = jax.jit(FUNCTIONS[name]).trace(jax.random.key(0), X)
    # One by one: for both at once JAX lowers each platform's branch of a `platform_dependent` for the other too.
    for platform in ("cuda", "tpu"):
        assert "callback" not in traced.lower(lowering_platforms=(platform,)).as_text()
