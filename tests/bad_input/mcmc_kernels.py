"""Malformed calls of the kernels of dlmath.mcmc and of what turns scores into potentials."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import dlmath as dm

ULA, MALA, SGLD = dm.mcmc.ULA, dm.mcmc.MALA, dm.mcmc.SGLD
SCORE = jnp.negative
TREE = {"loc": jnp.zeros(2), "scale": jnp.array(-1.0)}
ROWS = jnp.ones((6, 2))


def _quadratic(z, rows):
    return jnp.sum((z - rows) ** 2)


def _potential(params):
    return jnp.sum(params["loc"] ** 2) + jnp.log(params["scale"])


def _run(kernel, *data, start=ROWS[0], **options):
    keywords = options.pop("keywords", {})
    mcmc = MCMC(kernel, num_warmup=1, num_samples=2, progress_bar=False, **options)
    mcmc.run(jax.random.key(0), *data, init_params=start, **keywords)
    return mcmc


def _minibatches(**options):
    return SGLD(minibatch_potential=_quadratic, **{"batch_size": 2, "step_size": 0.1, **options})


def _stuck():
    kernel = MALA(potential_fn=lambda x: 1e6 * jnp.sum(x**2), step_size=5.0, adapt_step_size=False)
    return dm.mcmc.acceptance(_run(kernel).last_state)


def _model(y):
    scale = numpyro.sample("scale", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(0.0, scale), obs=y)


CASES = [
    ("no target", lambda: ULA(step_size=0.1), ValueError, r"exactly one of model, potential_fn, score .* got none"),
    (
        "two targets",
        lambda: ULA(potential_fn=jnp.sum, score=SCORE, step_size=0.1),
        ValueError,
        r"got potential_fn and score",
    ),
    ("a score that is an array", lambda: ULA(score=np.ones(3), step_size=0.1), TypeError, r"score must be a function"),
    ("a step size of zero", lambda: ULA(score=SCORE, step_size=0.0), ValueError, r"step_size must be positive, got 0"),
    ("a step size that is text", lambda: MALA(score=SCORE, step_size="auto"), TypeError, r"step_size must be a real"),
    (
        "a temperature of zero",
        lambda: ULA(score=SCORE, step_size=0.1, temperature=0),
        ValueError,
        r"temperature must be positive, got 0",
    ),
    (
        "a negative temperature of MALA",
        lambda: MALA(score=SCORE, temperature=-1.0),
        ValueError,
        r"temperature must be positive, got -1",
    ),
    ("an acceptance of one", lambda: MALA(score=SCORE, target_accept_prob=1.0), ValueError, r"target_accept_prob"),
    (
        "a negative friction",
        lambda: dm.mcmc.UnderdampedLangevin(score=SCORE, step_size=0.1, friction=-1.0),
        ValueError,
        r"friction must be positive, got -1",
    ),
    (
        "a mass of zero",
        lambda: dm.mcmc.UnderdampedLangevin(score=SCORE, step_size=0.1, mass=[1.0, 0.0]),
        ValueError,
        r"mass must be positive, got 0",
    ),
    (
        "masses of another tree",
        lambda: _run(dm.mcmc.UnderdampedLangevin(score=SCORE, step_size=0.1, mass={"a": 1.0})),
        ValueError,
        r"mass must be a number or a tree like init_params",
    ),
    (
        "too much friction",
        lambda: dm.mcmc.SGHMC(score=SCORE, step_size=0.5, friction=4.0),
        ValueError,
        r"friction must be below 2/step_size = 4, got 4",
    ),
    (
        "too much diffusion",
        lambda: dm.mcmc.SGNHT(score=SCORE, step_size=1.0, diffusion=2.0),
        ValueError,
        r"diffusion must be below 2/step_size = 2",
    ),
    (
        "a decay of one",
        lambda: dm.mcmc.PreconditionedSGLD(score=SCORE, step_size=0.1, decay=1.0),
        ValueError,
        r"decay must be less than 1, got 1",
    ),
    (
        "rising noise levels",
        lambda: dm.mcmc.AnnealedLangevin(SCORE, noise_levels=[1.0, 2.0], steps_per_level=1, step_size=0.1),
        ValueError,
        r"noise_levels must fall to a positive one, got",
    ),
    ("levels without order", lambda: dm.mcmc.noise_levels(1.0, 2.0, 3), ValueError, r"smallest must be less than 1"),
    ("cycles of no step", lambda: dm.mcmc.cyclical(0.1, period=0), ValueError, r"period must be positive, got 0"),
    ("no batch size", lambda: _minibatches(batch_size=None), ValueError, r"batch_size must be given"),
    (
        "a batch size without minibatches",
        lambda: SGLD(score=SCORE, batch_size=3, step_size=0.1),
        ValueError,
        r"batch_size must be None without minibatch_potential, got 3",
    ),
    ("minibatches of no data", lambda: _run(_minibatches()), ValueError, r"data must be given to MCMC\.run"),
    (
        "data of unequal lengths",
        lambda: _run(_minibatches(), ROWS, ROWS[:4]),
        ValueError,
        r"data must be arrays of equally many rows, got shapes \(6, 2\), \(4, 2\)",
    ),
    (
        "data by keyword",
        lambda: _run(_minibatches(), keywords={"rows": ROWS}),
        ValueError,
        r"data must be given to MCMC\.run by position, got the keywords rows",
    ),
    (
        "another number of data",
        lambda: _run(_minibatches(num_data=7), ROWS),
        ValueError,
        r"num_data must be the number of rows of the data, 6, got 7",
    ),
    (
        "a centre of another shape",
        lambda: _run(_minibatches(control=jnp.zeros(3)), ROWS),
        ValueError,
        r"control must be like init_params, of shapes \(2,\), got \(3,\)",
    ),
    ("no start", lambda: _run(ULA(score=SCORE, step_size=0.1), start=None), ValueError, r"init_params must be given"),
    (
        "a start of integers",
        lambda: _run(ULA(score=SCORE, step_size=0.1), start=jnp.arange(2)),
        TypeError,
        r"init_params must be of floating point, got dtype int",
    ),
    (
        "a start that is not finite",
        lambda: _run(ULA(potential_fn=_potential, step_size=0.1), start={**TREE, "loc": jnp.array([0.0, jnp.nan])}),
        ValueError,
        r"init_params must be finite, got NaN or infinity in 'loc'",
    ),
    (
        "a potential that is infinite at the start",
        lambda: _run(MALA(potential_fn=_potential), start={**TREE, "scale": jnp.array(0.0)}),
        ValueError,
        r"init_params must have a finite potential, got -inf; look at 'scale'",
    ),
    (
        "a potential that is NaN in one of two chains",
        lambda: _run(
            MALA(potential_fn=_potential),
            start={"loc": jnp.zeros((2, 2)), "scale": jnp.array([1.0, -1.0])},
            num_chains=2,
            chain_method="vectorized",
        ),
        ValueError,
        r"init_params must have a finite potential, got nan; look at",
    ),
    (
        "a score that is NaN at the start",
        lambda: _run(ULA(score=lambda z: {"a": jnp.log(z["a"])}, step_size=0.1), start={"a": jnp.array(-1.0)}),
        ValueError,
        r"init_params must have a finite gradient, got NaN or infinity in that of 'a'",
    ),
    (
        "a model without a finite density",
        lambda: _run(ULA(_model, step_size=0.1), jnp.array([1.0, jnp.nan]), start=None),
        ValueError,
        r"model must have a finite log density where chains start, and none was found: sites 'y' have none",
    ),
    (
        "a chain that never moves",
        _stuck,
        ValueError,
        r"state must be of chains that move, got acceptance 0 at step_size=5",
    ),
    (
        "a score that is a rotation",
        lambda: dm.mcmc.score_potential(lambda x: jnp.stack([-x[1], x[0]]), check_at=jnp.ones(2)),
        ValueError,
        r"score must be a gradient, got a curl .* of 1 > tolerance=0\.001",
    ),
    (
        "a score that is a rotation, in MALA",
        lambda: _run(MALA(score=lambda x: jnp.stack([-x[1], x[0]]), check_curl=True)),
        ValueError,
        r"score must be a gradient, got a curl",
    ),
    (
        "a dense curl of many entries",
        lambda: dm.mcmc.curl(SCORE, jnp.zeros(5000)),
        ValueError,
        r"x must have at most 4096 entries, got 5000; use curl_estimate",
    ),
    (
        "a score as a block of Gibbs",
        lambda: MALA(score=SCORE).wrap_model(lambda model: model),
        ValueError,
        r"model must be given for a kernel to be a block of another",
    ),
    ("an order of zero", lambda: dm.mcmc.score_potential(SCORE, order=0), ValueError, r"order must be positive, got 0"),
    (
        "a law of an unknown kernel",
        lambda: dm.mcmc.stationary_law("malla", np.eye(2), 0.1),
        ValueError,
        r"kernel must be one of .* did you mean 'mala'",
    ),
    (
        "a law of an unstable step",
        lambda: dm.mcmc.stationary_law("ula", 4 * np.eye(2), 0.5),
        ValueError,
        r"step_size must be below 0\.5 for a law to exist, got 0\.5",
    ),
    (
        "a precision that is not symmetric",
        lambda: dm.mcmc.stationary_law("ula", [[1.0, 2.0], [0.0, 1.0]], 0.1),
        ValueError,
        r"precision must be a symmetric matrix",
    ),
    (
        "a precision that is not definite",
        lambda: dm.mcmc.stationary_law("ula", -np.eye(2), 0.1),
        ValueError,
        r"precision must be positive definite, got the eigenvalue -1",
    ),
    (
        "gradient noise of an exact kernel",
        lambda: dm.mcmc.stationary_law("mala", np.eye(2), 0.1, gradient_covariance=np.eye(2)),
        ValueError,
        r"gradient_covariance must be None for 'mala'",
    ),
    (
        "an algorithm that is none",
        lambda: dm.mcmc.FromBlackjax(len),
        TypeError,
        r"algorithm must have init\(position, key\) and step",
    ),
]
