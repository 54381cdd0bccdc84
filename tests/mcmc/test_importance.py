import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import dlmath as dm

mcmc = dm.mcmc

pytestmark = pytest.mark.usefixtures("float64")


def repeated(function, num_repetitions, seed=0):
    return jax.jit(jax.vmap(function))(jax.random.split(jax.random.key(seed), num_repetitions))


@pytest.mark.parametrize("smooth", [False, True])
def test_means_and_normaliser_are_right_and_their_errors_are_their_spread(smooth):
    narrow, wide = mcmc.targets.gaussian([0.5, 0.0]), mcmc.targets.gaussian([0.0, 0.0], 2.0)
    find = lambda key: mcmc.importance(
        key, lambda x: narrow.log_density(x) - 7.0, wide, num_samples=500, quantities=lambda x: x**2, smooth=smooth
    )
    found = repeated(find, 400)
    for estimate, truth in ((found.mean, np.array([1.25, 1.0])), (found.log_normalizer, -7.0)):
        spread = np.std(estimate.value, axis=0)
        np.testing.assert_array_less(np.abs(np.mean(estimate.value, axis=0) - truth), 4 * spread / 20 + 2e-3)
        np.testing.assert_allclose(np.mean(estimate.standard_error**2, axis=0) ** 0.5, spread, rtol=0.15)
    assert np.mean(found.reliable) > 0.95


def test_the_effective_sample_size_is_that_of_the_weights_second_moment():
    """n / E_q[w²] with E_q[w²] = v/√(2v − 1) a dimension, for N(0, 1) by N(0, v)."""
    found = mcmc.importance(
        jax.random.key(0),
        mcmc.targets.gaussian([0.0]).log_density,
        mcmc.targets.gaussian([0.0], 2.0),
        num_samples=40_000,
    )
    np.testing.assert_allclose(found.effective_sample_size / 40_000, np.sqrt(3) / 2, rtol=0.02)
    np.testing.assert_allclose(np.exp(found.log_weights).sum(), 1.0)
    np.testing.assert_allclose(found.effective_sample_size, 1 / np.sum(np.exp(found.log_weights) ** 2))


def test_the_shape_of_the_tail_of_the_weights_is_found_and_judged():
    """For N(0, 1) by N(0, v), v < 1, P(w > t) falls as t^{−1/(1 − v)}: the shape is k = 1 − v, up to logarithms."""
    found = {
        v: mcmc.importance(
            jax.random.key(1),
            mcmc.targets.gaussian([0.0]).log_density,
            mcmc.targets.gaussian([0.0], v),
            num_samples=20_000,
        )
        for v in (0.1, 0.6, 2.0)
    }
    assert not found[0.1].reliable
    assert found[0.1].pareto_k > 0.7
    assert found[0.6].reliable
    np.testing.assert_allclose(found[0.6].pareto_k, 0.4, atol=0.15)
    assert found[2.0].pareto_k < 0  # bounded weights


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.5, 0.9])
def test_the_shape_of_generalised_pareto_weights_is_recovered(k):
    find = lambda key: mcmc.pareto_smooth(jnp.log(jnp.expm1(k * jax.random.exponential(key, (4000,))) / k)).pareto_k
    found = np.asarray(repeated(find, 100))
    num_tail = int(np.ceil(3 * np.sqrt(4000)))
    expected = (num_tail * k + 5) / (num_tail + 10)  # drawn towards ½ with the weight of ten
    # The estimate's standard deviation is (1 + k)/√M; Zhang and Stephens's has a bias of a few percent of it.
    np.testing.assert_allclose(found.mean(), expected, atol=4 * found.std() / 10 + 0.02)
    np.testing.assert_allclose(found.std(), (1 + k) / np.sqrt(num_tail), rtol=0.35)


def test_the_fit_to_the_tail_is_zhang_and_stephenss():
    """Their posterior mean by the formulas of the paper, with SciPy's likelihood of the generalised Pareto law."""
    from dlmath.mcmc._pareto import _generalised_pareto, _quantile

    x = np.sort(stats.genpareto(0.4, scale=2.0).rvs(90, random_state=1))
    num_grid = 30 + int(np.sqrt(90))
    quartile = x[int(90 / 4 + 0.5) - 1]
    j = np.arange(1, num_grid + 1)
    theta = 1 / x[-1] + (1 - np.sqrt(num_grid / (j - 0.5))) / (3 * quartile)
    shapes = np.array([np.mean(np.log1p(-t * x)) for t in theta])
    likelihood = [stats.genpareto(k, scale=-k / t).logpdf(x).sum() for k, t in zip(shapes, theta, strict=True)]
    weights = np.exp(likelihood - np.max(likelihood))
    best = np.sum(weights * theta) / weights.sum()
    k = np.mean(np.log1p(-best * x))
    found = _generalised_pareto(jnp.asarray(x))
    np.testing.assert_allclose(found, [(90 * k + 5) / 100, -k / best], rtol=1e-9)
    p = np.array([0.1, 0.5, 0.99])
    np.testing.assert_allclose(_quantile(p, 0.4, 2.0), stats.genpareto(0.4, scale=2.0).ppf(p), rtol=1e-10)


def test_smoothing_changes_the_tail_only_and_keeps_the_order():
    log_weights = np.asarray(jax.random.exponential(jax.random.key(0), (400,)) * 0.6)
    found = mcmc.pareto_smooth(log_weights)
    order = np.argsort(log_weights)
    num_tail = 60
    shift = found.log_weights[order[0]] - log_weights[order[0]]
    np.testing.assert_allclose(found.log_weights[order[:-num_tail]], log_weights[order[:-num_tail]] + shift)
    assert np.all(np.diff(found.log_weights[order]) >= -1e-12)
    assert found.log_weights.max() <= log_weights.max() + shift + 1e-12
    np.testing.assert_allclose(np.exp(found.log_weights).sum(), 1.0)


def test_smoothing_lowers_the_error_of_means_under_heavy_weights():
    target, proposal = mcmc.targets.gaussian([0.0]), mcmc.targets.gaussian([0.0], 0.45)
    square = lambda x: x**2
    errors = {
        smooth: np.asarray(
            repeated(
                lambda key, s=smooth: (
                    mcmc.importance(
                        key, target.log_density, proposal, num_samples=1000, quantities=square, smooth=s
                    ).mean.value
                ),
                400,
            )
        )
        - 1.0
        for smooth in (False, True)
    }
    assert np.sqrt(np.mean(errors[True] ** 2)) < np.sqrt(np.mean(errors[False] ** 2))


def test_equal_weights_have_no_tail():
    found = mcmc.pareto_smooth(np.zeros(100))
    assert found.pareto_k == -np.inf
    assert found.reliable
    np.testing.assert_allclose(found.log_weights, -np.log(100))


def test_the_posterior_of_a_logistic_regression_is_found_from_its_mode():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 2)), (rng.uniform(size=30) < 0.6).astype(float)
    target = mcmc.targets.logistic_regression(x, y, 2.0)
    grid = np.linspace(-3, 3, 301)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2) + np.asarray(target.initial)
    density = np.exp(jax.vmap(target.log_density)(jnp.asarray(points)))
    mean = density @ points / density.sum()
    covariance = jnp.linalg.inv(-jax.jacfwd(target.score)(target.initial))
    proposal = mcmc.targets.gaussian(target.initial, 1.5 * covariance)
    found = mcmc.importance(jax.random.key(0), target.log_density, proposal, num_samples=20_000)
    assert found.reliable
    np.testing.assert_array_less(np.abs(found.mean.value - mean), 4 * found.mean.standard_error)
    log_evidence = np.log(density.sum() * (grid[1] - grid[0]) ** 2)
    assert abs(found.log_normalizer.value - log_evidence) < 4 * found.log_normalizer.standard_error


# The gambler's ruin ---------------------------------------------------------------------------------------------------


def dynamic_program(start, goal, win, loss, num_plays, ending=1.0):
    """Σ over paths that reach the goal of Π win Π loss, times `ending` for every play left after that."""
    mass, total = np.zeros(goal + 1), 0.0
    mass[start] = 1.0
    for play in range(1, num_plays + 1):
        new = np.zeros(goal + 1)
        new[2:] += win * mass[1:-1]
        new[:-2] += loss * mass[1:-1]
        total += new[goal] * ending ** (num_plays - play)
        new[[0, goal]] = 0.0
        mass = new
    return total


@pytest.mark.parametrize(
    ("start", "goal", "win", "num_plays"), [(100, 200, 18 / 37, 600), (3, 10, 0.4, 50), (9, 10, 0.7, 1), (2, 5, 0.5, 1)]
)
def test_the_closed_form_is_the_dynamic_program(start, goal, win, num_plays):
    found = mcmc.gamblers_ruin_probability(start=start, goal=goal, win=win, num_plays=num_plays)
    np.testing.assert_allclose(found, dynamic_program(start, goal, win, 1 - win, num_plays), rtol=1e-7, atol=1e-14)


def test_the_courses_probability_is_the_known_one():
    np.testing.assert_allclose(mcmc.gamblers_ruin_probability(), 2.38838345e-06, rtol=1e-8)


@pytest.mark.parametrize("win", [0.4, 0.5, 0.55])
def test_without_limit_the_closed_form_is_the_limit(win):
    long = mcmc.gamblers_ruin_probability(start=3, goal=10, win=win, num_plays=5000)
    np.testing.assert_allclose(
        mcmc.gamblers_ruin_probability(start=3, goal=10, win=win, num_plays=None), long, rtol=1e-10
    )


@pytest.mark.parametrize(("stop", "published"), [(True, 0.070), (False, 0.123)])
def test_tilted_simulation_finds_the_courses_probability_with_the_error_it_states(stop, published):
    p, q = 18 / 37, 0.55
    win, loss = p**2 / q, (1 - p) ** 2 / (1 - q)
    second = dynamic_program(100, 200, win, loss, 600, 1.0 if stop else win + loss)
    truth = mcmc.gamblers_ruin_probability()
    relative = np.sqrt(second / truth**2 - 1) / np.sqrt(3000)
    np.testing.assert_allclose(relative, published, atol=0.0006)
    found = repeated(lambda key: mcmc.gamblers_ruin(key, stop=stop), 20)
    assert abs(np.mean(found.value) / truth - 1) < 4 * relative / np.sqrt(20)
    np.testing.assert_allclose(np.mean(found.standard_error**2) ** 0.5 / truth, relative, rtol=0.3)


def test_plain_simulation_finds_nothing():
    assert mcmc.gamblers_ruin(jax.random.key(0), tilted_win=18 / 37) == (0.0, 0.0)


def test_a_tilt_of_058_is_better_for_stopped_weights():
    found = [mcmc.gamblers_ruin(jax.random.key(0), tilted_win=q).standard_error for q in (0.55, 0.58)]
    assert found[1] < 0.6 * found[0]  # .026 against .070 in exact arithmetic
