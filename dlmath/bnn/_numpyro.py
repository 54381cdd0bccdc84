"""A posterior as a numpyro model, and samples as ArviZ data."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dlmath.bnn._posterior import LOG_NOISE, NETWORK, Posterior, checked_start
from dlmath.bnn._samples import Samples
from dlmath.bnn.priors import leaf_paths
from dlmath.typing import Params

DIVIDER = "."


def numpyro_model(posterior: Posterior, params_like: Params) -> Callable[[], Params]:
    """A numpyro model of the density e^{−U}, for whatever numpyro can do with a model.

    Every leaf is a site, named by its path with "." between keys ("0.weight", as ArviZ refuses "/"), under an improper flat
    distribution, and the factor −U(θ): so the joint density is that of the posterior for every prior, tempered ones included.
    The model returns θ, deterministic functions of which may be recorded. numpyro's own predictive sampling from the prior does
    not apply; `sample_prior` does that.

    Args:
        posterior: from `posterior`.
        params_like: θ of the network alone, for its structure.

    Returns:
        A function of no arguments; under `numpyro.infer.MCMC(NUTS(model), ...)` start from `init_to_value` or keep numpyro's
        uniform starts in (−2, 2).

    Raises:
        ValueError: as `mode` says.

    >>> import jax.numpy as jnp, numpyro
    >>> from dlmath.bnn import likelihoods, posterior, priors
    >>> p = posterior(lambda w, x: w["a"] * x, priors.normal(1.0), likelihoods.gaussian(1.0), (jnp.ones(1), jnp.ones(1)))
    >>> model = numpyro_model(p, {"a": jnp.zeros(())})
    >>> log_density, _ = numpyro.infer.util.log_density(model, (), {}, {"a": jnp.array(0.5)})
    >>> bool(jnp.allclose(log_density, p.log_joint({"a": jnp.array(0.5)})))
    True
    """
    import numpyro
    from numpyro import distributions

    theta = {NETWORK: params_like, LOG_NOISE: np.zeros(())} if posterior.likelihood.learned else params_like
    like = checked_start(posterior, theta)
    leaves, treedef = jax.tree.flatten(like)
    names = site_names(like)

    def model() -> Params:
        drawn = []
        for name, leaf in zip(names, leaves, strict=True):
            flat = distributions.ImproperUniform(distributions.constraints.real, (), leaf.shape)
            drawn.append(numpyro.sample(name, flat))
        params = jax.tree.unflatten(treedef, drawn)
        numpyro.factor("potential", -posterior.potential(params))
        return params

    return model


def to_arviz(samples: Samples) -> Any:
    """Samples as ArviZ data: `InferenceData` (ArviZ 0.x) or a `DataTree` (1.x) with groups posterior and sample_stats.

    Variables are leaves, named by their paths with "." between keys; stats without a draw axis are left out, as are trees.

    Raises:
        ImportError: ArviZ is missing.
        ValueError: for two leaves of one name.
    """
    try:
        arviz = importlib.import_module("arviz")
    except ImportError as error:
        raise ImportError("to_arviz needs arviz: pip install 'dlmath[bayes]'") from error
    groups = {"posterior": variables(samples), "sample_stats": sample_stats(samples)}
    # ArviZ 1 takes the groups as one mapping, ArviZ 0 as keywords.
    if int(arviz.__version__.partition(".")[0]) >= 1:
        return arviz.from_dict(groups)
    return arviz.from_dict(**groups)


def variables(samples: Samples) -> dict[str, np.ndarray]:
    """The leaves as arrays [chain, draw, ...] by name."""
    names = site_names(samples.params)
    if len(set(names)) != len(names):
        raise ValueError(f"samples must have leaves of different names, got {names}")
    return {name: np.asarray(leaf) for name, leaf in zip(names, jax.tree.leaves(samples.params), strict=True)}


def sample_stats(samples: Samples) -> dict[str, np.ndarray]:
    """What there is for each draw: "lp" (the log joint density) and the stats with axes [chain, draw, ...]."""
    shape = samples.log_joint.shape
    found = {"lp": np.asarray(samples.log_joint)}
    for name, value in samples.stats.items():
        if hasattr(value, "shape") and value.shape[:2] == shape:
            found[{"accept_prob": "acceptance_rate", "num_steps": "n_steps"}.get(name, name)] = np.asarray(value)
    return found


def site_names(params: Params) -> list[str]:
    """Names of leaves without "/"."""
    return [name.replace("/", DIVIDER) or "params" for name in leaf_paths(params)]
