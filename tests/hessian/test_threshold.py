"""Thresholds against the spectral radius of the exact iteration, and against optax on a quadratic."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlmath import hessian

RATE = 0.3


def iteration(name, curvature, beta):
    """The map of (θ, memory) in one step on ½λθ², written out by hand from each optimizer's definition."""
    rate_curvature = RATE * curvature
    if name in ("gd", "sgd", "rmsprop"):
        return np.array([[1 - rate_curvature]])
    gain = 1 - beta if name in ("ema", "adam", "nadam") else 1.0
    # u' = βu + gain·λθ, then θ' = θ − η·(u' or, looking ahead, βu' + gain·λθ).
    memory = np.array([gain * curvature, beta])
    used = beta * memory + [gain * curvature, 0] if name in ("nesterov", "nadam") else memory
    return np.array([[1, 0] - RATE * used, memory])


CASES = [
    ("gd", {}), ("sgd", {}), ("rmsprop", {}),
    *[(name, {"momentum": beta}) for name in ("momentum", "nesterov", "ema") for beta in (0.0, 0.5, 0.9)],
    *[(name, {"b1": beta}) for name in ("adam", "nadam") for beta in (0.0, 0.5, 0.9)],
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_spectral_radius_of_the_iteration_passes_one_at_the_threshold(name, options):
    threshold = hessian.stability_threshold(name, RATE, **options)
    beta = next(iter(options.values()), 0.0)
    radius = lambda curvature: np.abs(np.linalg.eigvals(iteration(name, curvature, beta))).max()
    np.testing.assert_allclose(radius(threshold), 1, rtol=1e-7)
    assert radius(0.999 * threshold) < 1 < radius(1.001 * threshold)


@pytest.mark.parametrize(
    ("name", "beta", "times_rate"),
    [("gd", 0, 2), ("momentum", 0.9, 3.8), ("nesterov", 0.9, 1.357142857142857), ("adam", 0.9, 38)],
)
def test_thresholds_have_the_published_values(name, beta, times_rate):
    options = {"adam": {"b1": beta}, "gd": {}}.get(name, {"momentum": beta})
    np.testing.assert_allclose(RATE * hessian.stability_threshold(name, RATE, **options), times_rate, rtol=1e-12)


# Adam and RMSProp with a second moment that no longer moves (decay 1 − 1e-15, started at P²) are linear.
FROZEN = 1 - 1e-15
OPTIMIZERS = {
    "sgd": (optax.sgd(RATE), {}),
    "momentum": (optax.sgd(RATE, momentum=0.9), {"momentum": 0.9}),
    "nesterov": (optax.sgd(RATE, momentum=0.9, nesterov=True), {"momentum": 0.9}),
    "ema": (optax.chain(optax.ema(0.9, debias=False), optax.scale(-RATE)), {"momentum": 0.9}),
    "rmsprop": (optax.rmsprop(RATE, decay=FROZEN, initial_scale=9.0), {}),
    "adam": (optax.adam(RATE, b1=0.9, b2=FROZEN), {"b1": 0.9}),
    "nadam": (optax.nadam(RATE, b1=0.9, b2=FROZEN), {"b1": 0.9}),
}
PRECONDITIONER = {"rmsprop": 3.0, "adam": 3.0, "nadam": 3.0}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optax_converges_just_below_the_threshold_and_diverges_just_above(name):
    optimizer, options = OPTIMIZERS[name]
    threshold = hessian.stability_threshold(name, RATE, **options) * PRECONDITIONER.get(name, 1.0)

    def final(curvature):
        def step(carry, _):
            theta, state = carry
            updates, state = optimizer.update(curvature * theta, state, theta)
            return (optax.apply_updates(theta, updates), state), jnp.abs(theta)

        theta = jnp.array(1e-9)
        state = optimizer.init(theta)
        if name in ("adam", "nadam"):
            # ν̂ = ν/(1 − b2^t) is 9 from a count at which the corrections have died out.
            adam = state[0]._replace(nu=jnp.array(9.0), count=jnp.int32(2**30))
            adam = adam._replace(nu=jnp.array(9.0) * (1 - FROZEN ** (2.0**30 + 1)))
            state = (adam, *state[1:])
        (theta, _), path = jax.lax.scan(step, (theta, state), None, length=4000)
        return jnp.abs(theta), path.max()

    with jax.enable_x64(True):
        last, largest = jax.jit(jax.vmap(final))(threshold * jnp.array([0.98, 1.02]))
        final_below, largest_above = float(last[0]), float(largest[1])
    assert final_below < 1e-10
    # Later the growing gradients may raise Adam's second moments, and thus end the divergence.
    assert largest_above > 1
