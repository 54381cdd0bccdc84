"""What numpyro's MCMC asks of a kernel: chain methods, warm-up, thinning, progress bars, algorithms of blackjax."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC

import dlmath as dm

_spec = importlib.util.spec_from_file_location("mcmc_kernels", Path(__file__).parent / "kernels.py")
kernels = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kernels)
KERNELS, PARAMS, draws, run = kernels.KERNELS, kernels.PARAMS, kernels.draws, kernels.run


@pytest.mark.parametrize("name", KERNELS)
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
