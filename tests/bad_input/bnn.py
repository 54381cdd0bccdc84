"""Malformed calls of Bayesian networks."""

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import bnn
from dlmath.bnn import exact, likelihoods, metrics, priors

KEY = jax.random.key(0)
X, Y = np.ones((4, 2)), np.ones((4, 1))
PARAMS = {"weight": jnp.ones((2, 1))}
CHAINS = {"weight": jnp.ones((3, 2, 1))}


def linear(params, x):
    return x @ params["weight"]


def biased(params, x):
    return x @ params["weight"] + params["bias"]


def logarithmic(params, x):
    return x @ params["weight"] + jnp.log(params["scale"])


def of(prior=None, likelihood=None, data=(X, Y), apply=linear, **options):
    return bnn.posterior(apply, prior or priors.normal(1.0), likelihood or likelihoods.gaussian(0.1), data, **options)


LEARNED = likelihoods.gaussian(likelihoods.half_cauchy(1.0))
LABELS = np.array([0, 1, 2, 1])
WIDE = {"weight": jnp.ones((2, 2))}
SAMPLES = bnn.Samples(jax.tree.map(lambda leaf: leaf[:, None], CHAINS), jnp.zeros((3, 1)), {})

CASES = [
    ("an improper prior", lambda: priors.normal(np.inf), ValueError, r"scale must be finite, got inf: .* improper"),
    ("no prior", lambda: bnn.posterior(linear, None, LEARNED, (X, Y)), TypeError, r"prior must be a proper prior"),
    ("a prior of negative scale", lambda: priors.laplace(-1.0), ValueError, r"scale must be positive, got -1"),
    ("an unknown scale", lambda: priors.normal("hee"), ValueError, r"scale must be one of .* did you mean 'he'"),
    (
        "a law without degrees of freedom",
        lambda: priors.student_t(1.0, degrees_of_freedom=0.0),
        ValueError,
        r"degrees_of_freedom must be positive, got 0",
    ),
    (
        "a leaf without a law",
        lambda: bnn.mode(of({"bias": priors.normal()}, apply=biased), {**PARAMS, "bias": jnp.zeros(1)}),
        ValueError,
        r"prior must have a law for every leaf of params, got none for 'weight'",
    ),
    (
        "a pattern without a leaf",
        lambda: bnn.mode(of(priors.by_path({"wieght": priors.normal()}, default=priors.normal())), PARAMS),
        ValueError,
        r"prior must have patterns that match .* got 'wieght'; did you mean 'weight'",
    ),
    (
        "a malformed pattern",
        lambda: priors.by_path({"(": priors.normal()}),
        ValueError,
        r"laws must have regular expressions as keys, got '\('",
    ),
    ("a temperature of 0", lambda: of(temperature=0.0), ValueError, r"temperature must be positive, got 0"),
    (
        "a negative likelihood temperature",
        lambda: of(likelihood_temperature=-1.0),
        ValueError,
        r"likelihood_temperature must be positive, got -1",
    ),
    ("noise of scale 0", lambda: likelihoods.gaussian(0.0), ValueError, r"noise_std must be positive, got 0"),
    (
        "a loss as likelihood",
        lambda: bnn.posterior(linear, priors.normal(), "mse", (X, Y)),
        TypeError,
        r"likelihood must be from bnn.likelihoods",
    ),
    ("data that are no pair", lambda: of(data=X), TypeError, r"data must be a pair \(x, y\), got ndarray"),
    ("fewer targets", lambda: of(data=(X, Y[:3])), ValueError, r"x and y must have the same number of rows"),
    ("targets with NaN", lambda: of(data=(X, Y * np.nan)), ValueError, r"y must be finite, got 4 NaN"),
    (
        "negative labels",
        lambda: of(likelihood=likelihoods.categorical(), data=(X, LABELS - 1)),
        ValueError,
        r"y must be class labels of at least 0, got -1",
    ),
    (
        "labels beyond the outputs",
        lambda: bnn.mode(of(likelihood=likelihoods.categorical(), data=(X, LABELS)), WIDE),
        ValueError,
        r"y must be class labels below the number of outputs of apply, 2, got 2",
    ),
    (
        "labels that are no integers",
        lambda: of(likelihood=likelihoods.categorical(), data=(X, LABELS * 0.5)),
        TypeError,
        r"y must be integer class labels, got dtype float64",
    ),
    (
        "bits of −1",
        lambda: of(likelihood=likelihoods.bernoulli(), data=(X, -Y)),
        ValueError,
        r"y must be labels 0 or 1 for bernoulli\(\), got values from -1",
    ),
    (
        "targets of another shape",
        lambda: bnn.mode(of(data=(X, Y[:, 0])), PARAMS),
        ValueError,
        r"y must have the shape of the outputs of apply, \(4, 1\), got \(4,\)",
    ),
    (
        "a tree that apply does not take",
        lambda: bnn.mode(of(), {"weight": jnp.ones((3, 1))}),
        ValueError,
        r"params must be a tree that apply takes, got \{'weight': \(3, 1\)\}",
    ),
    (
        "a tree without its leaf",
        lambda: bnn.mode(of(), {"wight": jnp.ones((2, 1))}),
        ValueError,
        r"params must be a tree that apply takes.*'weight'",
    ),
    (
        "starts without an axis of chains",
        lambda: bnn.nuts(KEY, of(), PARAMS, num_draws=1, num_warmup=1),
        ValueError,
        r"params must be a tree that apply takes.*chains must be a leading axis",
    ),
    (
        "chains of unequal number",
        lambda: bnn.nuts(KEY, of(apply=biased), {**CHAINS, "bias": jnp.ones((2, 1))}, num_draws=1, num_warmup=1),
        ValueError,
        r"params must have a leading axis of chains, the same for every leaf, got lengths \{.*'bias': 2, 'weight': 3",
    ),
    (
        "a start that is not finite",
        lambda: bnn.mode(of(), {"weight": jnp.array([[1.0], [jnp.nan]])}),
        ValueError,
        r"params\['weight'\] has entries that are not finite at start 0: the potential is nan",
    ),
    (
        "a start outside of the support",
        lambda: bnn.hmc(
            KEY,
            of(apply=logarithmic),
            {"weight": jnp.ones((2, 2, 1)), "scale": jnp.array([1.0, 0.0])},
            num_draws=1,
            num_warmup=1,
            num_steps=1,
        ),
        ValueError,
        r"params\['scale'\].* has a gradient that is not finite at start 1: the potential is inf, the log prior -",
    ),
    (
        "learned noise without its leaf",
        lambda: bnn.mode(of(likelihood=LEARNED), PARAMS),
        ValueError,
        r"params must be \{'network': ..., 'log_noise': ...\} where the noise is learned.*posterior.sampled",
    ),
    (
        "a key that is none",
        lambda: bnn.nuts(0, of(), CHAINS, num_draws=1, num_warmup=1),
        TypeError,
        r"key must be a typed",
    ),
    (
        "no draws",
        lambda: bnn.nuts(KEY, of(), CHAINS, num_draws=0, num_warmup=1),
        ValueError,
        r"num_draws must be positive, got 0",
    ),
    (
        "chains in half precision",
        lambda: bnn.nuts(KEY, of(), {"weight": jnp.ones((3, 2, 1), jnp.bfloat16)}, num_draws=1, num_warmup=1),
        TypeError,
        r"params must be of the default float type, float32, got bfloat16; cast them",
    ),
    (
        "trajectories of two lengths",
        lambda: bnn.hmc(KEY, of(), CHAINS, num_draws=1, num_warmup=1, num_steps=2, trajectory_length=1.0),
        ValueError,
        r"num_steps or trajectory_length must be given, exactly one",
    ),
    (
        "a step size of which nothing is accepted",
        lambda: bnn.hmc(
            KEY, of(), CHAINS, num_draws=4, num_warmup=0, num_steps=3, step_size=50.0, adapt_step_size=False
        ),
        ValueError,
        r"step_size must be small enough .* none accepted .* \(step_size=50\)",
    ),
    (
        "an unknown structure",
        lambda: bnn.laplace(of(), PARAMS, structure="kroneker"),
        ValueError,
        r"structure must be one of .* did you mean 'kronecker'",
    ),
    (
        "a Laplace approximation under a Laplace prior",
        lambda: bnn.laplace(of(priors.laplace()), PARAMS),
        ValueError,
        r"prior must be normal, .* got laplace",
    ),
    (
        "a Laplace approximation of learned noise",
        lambda: bnn.laplace(of(likelihood=LEARNED), {"network": PARAMS, "log_noise": jnp.zeros(())}),
        ValueError,
        r"posterior must have a known noise scale, got a learned one",
    ),
    (
        "low rank without a rank",
        lambda: bnn.laplace(of(), PARAMS, structure="low_rank"),
        ValueError,
        r"rank must be given for structure='low_rank'",
    ),
    (
        "a last layer that is none",
        lambda: bnn.laplace(of(), PARAMS, structure="last_layer", last_layer="weigth"),
        ValueError,
        r"last_layer must be one of 'weight', got 'weigth'; did you mean",
    ),
    (
        "the evidence of a cold posterior",
        lambda: bnn.maximize_evidence(of(temperature=0.5), PARAMS),
        ValueError,
        r"temperature must be 1, .* got 0.5",
    ),
    (
        "an evidence that float32 cannot hold",
        lambda: bnn.maximize_evidence(of(likelihood=likelihoods.gaussian(1e-6)), PARAMS),
        ValueError,
        r"posterior must have a precision G \+ P that is positive definite in float32, .* jax.enable_x64",
    ),
    (
        "SWAG of too few snapshots",
        lambda: bnn.swag(KEY, of(), CHAINS, num_draws=1, num_steps=10, learning_rate=0.1),
        ValueError,
        r"num_steps must be at least rank · every = 20, .* got 10",
    ),
    (
        "one particle",
        lambda: bnn.svgd(KEY, of(), {"weight": jnp.ones((1, 2, 1))}, num_steps=1),
        ValueError,
        r"params must hold at least 2 particles, got 1",
    ),
    (
        "dropout of everything",
        lambda: bnn.mc_dropout(KEY, of(), CHAINS, num_draws=1, num_steps=1, rate=1.0),
        ValueError,
        r"rate must be less than 1, got 1",
    ),
    (
        "masks that do not divide the rows",
        lambda: bnn.mc_dropout(KEY, of(), CHAINS, num_draws=1, num_steps=1, rate=0.1, batch_size=4, num_masks=3),
        ValueError,
        r"num_masks must divide the 4 rows of a step, got 3",
    ),
    (
        "dropout that skips all",
        lambda: bnn.mc_dropout(KEY, of(), CHAINS, num_draws=1, num_steps=1, rate=0.5, skip=("weight",)),
        ValueError,
        r"params must have weights of at least two axes to drop, got none",
    ),
    (
        "a randomised ensemble of labels",
        lambda: bnn.ensemble(
            KEY,
            of(likelihood=likelihoods.bernoulli()),
            CHAINS,
            num_steps=1,
            randomized=True,
        ),
        ValueError,
        r"randomized must be False unless noise is Gaussian",
    ),
    ("predictions of parameters", lambda: bnn.predict(of(), CHAINS, X), TypeError, r"samples must be Samples"),
    (
        "predictions at inputs of other width",
        lambda: bnn.predict(of(), SAMPLES, X[:, :1]),
        ValueError,
        r"samples and x must be what apply takes, got x of shape \(4, 1\)",
    ),
    (
        "a prior scale of 0",
        lambda: exact.linear_gaussian(X, Y, prior_std=np.array([1.0, 0.0]), noise_std=1.0),
        ValueError,
        r"prior_std must be positive, got 0",
    ),
    (
        "a finite width of other features",
        lambda: exact.finite_width(KEY, (X, Y), X[:, :1], width=4, noise_std=0.1),
        ValueError,
        r"x must have 2 features as the data, got 1",
    ),
    (
        "logits as probabilities",
        lambda: metrics.brier(np.array([2.0, -1.0]), [1, 0]),
        ValueError,
        r"probabilities must be prob",
    ),
    (
        "probabilities that do not sum to 1",
        lambda: metrics.ece(np.full((2, 2), 0.4), np.array([0, 1])),
        ValueError,
        r"probabilities must sum to 1 over classes, got sums off by 0.2",
    ),
    (
        "labels out of range",
        lambda: metrics.ece(np.full((2, 2), 0.5), np.array([0, 2])),
        ValueError,
        r"labels must be integers from 0 to 1, got 0 to 2",
    ),
    (
        "an unknown binning",
        lambda: metrics.ece(np.full((2, 2), 0.5), np.array([0, 1]), binning="equal_weight"),
        ValueError,
        r"binning must be one of .* did you mean 'equal_width'",
    ),
    (
        "R-hat of three draws",
        lambda: metrics.function_space_rhat(np.zeros((2, 3, 1))),
        ValueError,
        r"draws must be \[chain, draw, n, ...\] with at least 4 draws, got shape \(2, 3, 1\)",
    ),
    (
        "predictions of other shapes",
        lambda: metrics.agreement(np.full((2, 2), 0.5), np.full((3, 2), 0.5)),
        ValueError,
        r"p and q must have the same shape",
    ),
    (
        "friction that reverses velocities",
        lambda: bnn.sghmc(KEY, of(), CHAINS, num_draws=1, num_warmup=0, step_size=0.1, friction=20.0),
        ValueError,
        r"friction must be below 2/step_size = 20, got 20",
    ),
    (
        "a control variate without minibatches",
        lambda: bnn.sgld(KEY, of(), CHAINS, num_draws=1, num_warmup=0, step_size=0.1, control=PARAMS),
        ValueError,
        r"control must be None where gradients are of all data, got a tree; give batch_size",
    ),
    (
        "a minibatch beyond the data",
        lambda: bnn.sgld(KEY, of(), CHAINS, num_draws=1, num_warmup=0, step_size=0.1, batch_size=5),
        ValueError,
        r"batch_size must be at most 4, got 5",
    ),
    (
        "Langevin steps of size 0",
        lambda: bnn.sgld(KEY, of(), CHAINS, num_draws=1, num_warmup=0, step_size=0.0),
        ValueError,
        r"step_size must be positive, got 0",
    ),
    (
        "a rhythm without a checkpoint",
        lambda: bnn.nuts(KEY, of(), CHAINS, num_draws=1, num_warmup=0, checkpoint_every=3),
        ValueError,
        r"checkpoint_every=3 needs a file to write: give checkpoint=path",
    ),
]
