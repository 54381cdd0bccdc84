"""What numpyro's MCMC asks of a kernel: chain methods, warm-up, thinning, progress bars, models, resuming."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, init_to_value

import dlmath as dm

DATA = jnp.asarray(np.random.default_rng(0).normal(size=(20, 2)), jnp.float32)
PARAMS = {"a": jnp.array([0.5, -0.2]), "b": jnp.array(0.1)}


def potential(params, *data):
    return jnp.sum(params["a"] ** 2) + 0.5 * jnp.square(params["b"] - params["a"][0])


def minibatch(params, rows):
    return 0.5 * jnp.sum(jnp.square(rows - params["a"])) * len(DATA) / len(rows) + jnp.square(params["b"])


def score(params):
    return jax.tree.map(jnp.negative, jax.grad(potential)(params))


class DriftState(NamedTuple):
    position: Any
    count: Any


class DriftInfo(NamedTuple):
    acceptance_rate: Any


class Drift:
    """An algorithm with the interface of blackjax, an autoregression."""

    @staticmethod
    def init(position, key):
        return DriftState(position, jnp.array(0))

    @staticmethod
    def step(key, state):
        moved = jax.tree.map(lambda x: 0.9 * x + 0.1 * jax.random.normal(key, x.shape), state.position)
        return DriftState(moved, state.count + 1), DriftInfo(jnp.array(0.5))


KERNELS = {
    "ULA": lambda: dm.mcmc.ULA(potential_fn=potential, step_size=0.1),
    "MALA": lambda: dm.mcmc.MALA(potential_fn=potential, step_size=0.1),
    "MALA, score": lambda: dm.mcmc.MALA(score=score, step_size=0.1),
    "underdamped": lambda: dm.mcmc.UnderdampedLangevin(score=score, step_size=0.3),
    "SGLD": lambda: dm.mcmc.SGLD(
        minibatch_potential=minibatch, batch_size=4, control=PARAMS, step_size=dm.mcmc.cyclical(0.01, period=7)
    ),
    "PSGLD": lambda: dm.mcmc.PreconditionedSGLD(minibatch_potential=minibatch, batch_size=4, step_size=0.01, gamma=True),
    "SGHMC": lambda: dm.mcmc.SGHMC(minibatch_potential=minibatch, batch_size=4, step_size=0.05, friction=1.0),
    "SGNHT": lambda: dm.mcmc.SGNHT(minibatch_potential=minibatch, batch_size=4, step_size=0.05),
    "annealed": lambda: dm.mcmc.AnnealedLangevin(
        lambda params, sigma: jax.tree.map(lambda x: -x / (1 + sigma**2), params),
        noise_levels=[2.0, 1.0, 0.5], steps_per_level=5, step_size=0.05,
    ),
    "blackjax": lambda: dm.mcmc.FromBlackjax(Drift),
}  # fmt: skip
each_kernel = pytest.mark.parametrize("name", KERNELS)


def data_of(name):
    return (DATA,) if name in ("SGLD", "PSGLD", "SGHMC", "SGNHT") else ()


def run(name, num_samples, *, num_chains=2, chain_method="vectorized", state=None, key=None, num_warmup=10, **options):
    mcmc = MCMC(
        KERNELS[name](), num_warmup=num_warmup, num_samples=num_samples, num_chains=num_chains,
        chain_method=chain_method, progress_bar=False, **options,
    )  # fmt: skip
    key = jax.random.key(3) if key is None else key
    if state is not None:
        mcmc.post_warmup_state, key = state, state.rng_key
    start = PARAMS if num_chains == 1 else jax.tree.map(lambda a: jnp.stack([a] * num_chains), PARAMS)
    mcmc.run(key, *data_of(name), init_params=None if state is not None else start, extra_fields=("i",))
    return mcmc


def draws(mcmc):
    return jax.tree.map(np.asarray, mcmc.get_samples(group_by_chain=True))


def stored(state):
    """A state after a stay on disk: plain arrays, keys as numbers."""
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    numbers = jax.tree.map(lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), state)
    return numbers._replace(rng_key=jax.random.wrap_key_data(jnp.asarray(numbers.rng_key)))


@each_kernel
def test_a_chain_resumed_in_new_objects_goes_on_with_the_same_bits(name):
    whole = run(name, 30)
    first = run(name, 12)
    second = run(name, 18, state=stored(first.last_state))
    for expected, a, b in zip(*map(jax.tree.leaves, (draws(whole), draws(first), draws(second))), strict=True):
        np.testing.assert_array_equal(expected, np.concatenate([a, b], axis=1))
    assert (second.get_extra_fields()["i"].reshape(2, 18) == np.arange(23, 41)).all()


@each_kernel
def test_chain_methods_give_the_same_draws(name):
    reference = draws(run(name, 12))
    for method in ("sequential", jax.vmap):
        found = draws(run(name, 12, chain_method=method))
        for expected, leaf in zip(jax.tree.leaves(reference), jax.tree.leaves(found), strict=True):
            assert expected.shape[:2] == (2, 12)
            np.testing.assert_allclose(leaf, expected, rtol=2e-5, atol=2e-5)
    assert np.abs(reference["b"][0] - reference["b"][1]).min() > 0


def test_one_chain_in_parallel_is_one_chain():
    expected, found = (
        draws(run("MALA", 10, num_chains=1, chain_method=method)) for method in ("sequential", "parallel")
    )
    np.testing.assert_array_equal(found["a"], expected["a"])


def test_thinning_keeps_every_third_draw():
    full, thinned = draws(run("ULA", 30)), run("ULA", 30, thinning=3)
    np.testing.assert_array_equal(draws(thinned)["a"], full["a"][:, 2::3])
    np.testing.assert_array_equal(thinned.get_extra_fields(group_by_chain=True)["i"][0], np.arange(13, 43, 3))


def test_raw_keys_are_taken_as_typed_ones():
    typed, raw = (draws(run("MALA", 10, key=make(5))) for make in (jax.random.key, jax.random.PRNGKey))
    np.testing.assert_array_equal(typed["a"], raw["a"])


@pytest.mark.parametrize(
    ("name", "text"),
    [("ULA", "step size 1.00e-01"), ("MALA", "acc. prob="), ("annealed", "noise level 5.00e-01. step size 5.00e-02")],
)
def test_the_progress_bar_shows_diagnostics_and_changes_no_draw(name, text, monkeypatch, capsys):
    for variable in ("CI", "PYTEST_XDIST_WORKER"):  # where numpyro has none
        monkeypatch.delenv(variable, raising=False)
    mcmc = MCMC(KERNELS[name](), num_warmup=10, num_samples=12, progress_bar=True)
    mcmc.run(jax.random.key(3), init_params=PARAMS)
    assert text in capsys.readouterr().err
    np.testing.assert_allclose(draws(mcmc)["a"], draws(run(name, 12, num_chains=1))["a"], rtol=1e-5, atol=1e-6)


def test_a_separate_warm_up_is_the_same_as_one_within_the_run():
    mcmc = MCMC(KERNELS["MALA"](), num_warmup=10, num_samples=12, progress_bar=False)
    mcmc.warmup(jax.random.key(3), init_params=PARAMS)
    mcmc.run(mcmc.post_warmup_state.rng_key)
    np.testing.assert_array_equal(draws(mcmc)["a"], draws(run("MALA", 12, num_chains=1))["a"])


def test_a_cyclical_schedule_keeps_the_draws_of_its_sampling_phase():
    schedule = dm.mcmc.cyclical(0.1, period=10, exploration=0.7)
    kernel = dm.mcmc.SGLD(score=lambda x: -x, step_size=schedule, temperature=schedule.temperature)
    mcmc = MCMC(kernel, num_warmup=5, num_samples=40, progress_bar=False)
    mcmc.run(jax.random.key(0), init_params=jnp.ones(2), extra_fields=("i",))
    steps = np.asarray(mcmc.get_extra_fields()["i"])
    np.testing.assert_array_equal(schedule.keep(steps), (steps - 1) % 10 >= 7)
    # While it explores there is no noise: x' = (1 − ε)x, the same in both coordinates.
    x = np.asarray(mcmc.get_samples())
    ratio = x[1:] / x[:-1]
    exploring = ~schedule.keep(steps)[1:]
    np.testing.assert_allclose(
        ratio[exploring], 1 - np.asarray(schedule(steps[1:] - 1))[exploring, None].repeat(2, 1), rtol=1e-5
    )
    assert (np.abs(ratio[~exploring][:, 0] - ratio[~exploring][:, 1]) > 1e-4).all()


# Models -----------------------------------------------------------------------------------------------------------


def model(y, prior_std=2.0):
    scale = numpyro.sample("scale", dist.Exponential(1.0))
    loc = numpyro.sample("loc", dist.Normal(0.0, prior_std))
    numpyro.deterministic("double", 2 * loc)
    numpyro.sample("y", dist.Normal(loc, scale), obs=y)


@pytest.mark.parametrize("chain_method", ["sequential", "vectorized", jax.vmap])
def test_sites_of_a_model_come_back_constrained_with_its_deterministic_ones(chain_method):
    mcmc = MCMC(
        dm.mcmc.MALA(model), num_warmup=50, num_samples=20, num_chains=2, chain_method=chain_method, progress_bar=False
    )
    mcmc.run(jax.random.key(0), DATA[:, 0], prior_std=1.0)
    found = draws(mcmc)
    assert set(found) == {"scale", "loc", "double"}
    assert found["scale"].shape == (2, 20)
    assert (found["scale"] > 0).all()
    np.testing.assert_allclose(found["double"], 2 * found["loc"], rtol=1e-6)
    assert set(mcmc.last_state.z) == {"scale", "loc"}
    mcmc.post_warmup_state = mcmc.last_state
    mcmc.run(mcmc.last_state.rng_key, DATA[:, 0], prior_std=1.0)
    assert (mcmc.last_state.i == 90).all()


def test_a_model_has_the_posterior_of_its_conjugate_form():
    def conjugate(y):
        loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(loc, 1.0), obs=y)

    mcmc = MCMC(
        dm.mcmc.MALA(conjugate, step_size=0.05, adapt_step_size=False), num_warmup=60, num_samples=1, num_chains=4000,
        chain_method="vectorized", progress_bar=False, jit_model_args=True,
    )  # fmt: skip
    y = DATA[:, 1]
    mcmc.run(jax.random.key(0), y)
    found, precision = np.asarray(mcmc.get_samples()["loc"], np.float64), 1 + len(y)
    assert abs(found.mean() - float(y.sum()) / precision) < 4 / np.sqrt(4000 * precision)
    assert abs(found.var() * precision - 1) < 4 * np.sqrt(2 / 4000)


def test_init_params_are_where_a_model_starts():
    mcmc = MCMC(dm.mcmc.ULA(model, step_size=1e-12), num_warmup=0, num_samples=1, progress_bar=False)
    mcmc.run(jax.random.key(0), DATA[:, 0], init_params={"scale": jnp.array(0.7), "loc": jnp.array(-0.4)})
    assert float(mcmc.get_samples()["scale"][0]) == pytest.approx(np.exp(0.7), rel=1e-4)
    kernel = dm.mcmc.ULA(model, step_size=1e-12, init_strategy=init_to_value(values={"scale": 0.7, "loc": -0.4}))
    mcmc = MCMC(kernel, num_warmup=0, num_samples=1, progress_bar=False)
    mcmc.run(jax.random.key(0), DATA[:, 0])
    assert float(mcmc.get_samples()["scale"][0]) == pytest.approx(0.7, rel=1e-4)


def test_refresh_evaluates_the_potential_under_new_arguments():
    kernel = dm.mcmc.ULA(potential_fn=lambda x, y: 0.5 * jnp.sum((x - y) ** 2), step_size=0.1)
    state = kernel.init(jax.random.key(0), 0, jnp.zeros(2), (jnp.ones(2),), {})
    state = kernel.refresh(state, (3 * jnp.ones(2),), {})
    assert float(state.potential_energy) == 9
    np.testing.assert_array_equal(state.z_grad, [-3, -3])


def test_float64_parameters_stay_so():
    with jax.enable_x64(True):
        schedule = dm.mcmc.cyclical(0.01, period=5)
        for kernel in (
            dm.mcmc.SGLD(score=lambda x: -x, step_size=schedule),
            dm.mcmc.MALA(score=lambda x: -x),
            dm.mcmc.SGNHT(score=lambda x: -x, step_size=0.1),
        ):
            for dtype in (jnp.float32, jnp.float64):
                mcmc = MCMC(kernel, num_warmup=5, num_samples=5, progress_bar=False)
                mcmc.run(jax.random.key(0), init_params=jnp.ones(2, dtype))
                assert mcmc.get_samples().dtype == dtype


# blackjax ---------------------------------------------------------------------------------------------------------


def test_an_algorithm_of_blackjaxs_form_gives_its_draws_and_acceptance():
    mcmc = MCMC(KERNELS["blackjax"](), num_warmup=0, num_samples=5, progress_bar=False)
    mcmc.run(jax.random.key(0), init_params=jnp.ones(2), extra_fields=("accept_prob", "inner.count"))
    extra = mcmc.get_extra_fields()
    assert (extra["accept_prob"] == 0.5).all()
    np.testing.assert_array_equal(extra["inner.count"], np.arange(1, 6))
    assert mcmc.sampler.model is None


def test_blackjaxs_mala_has_the_law_of_its_target():
    blackjax = pytest.importorskip("blackjax")
    kernel = dm.mcmc.FromBlackjax(blackjax.mala(lambda x: -0.5 * jnp.sum(x**2), step_size=0.7))
    mcmc = MCMC(kernel, num_warmup=50, num_samples=1, num_chains=4000, chain_method="vectorized", progress_bar=False)
    mcmc.run(jax.random.key(0), init_params=jnp.zeros((4000, 1)))
    assert abs(float(mcmc.get_samples().var()) - 1) < 4 * np.sqrt(2 / 4000)
