"""Ensembles of modes."""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from dlmath import check, train
from dlmath.bnn._minibatches import checked_batch_size
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._samples import Samples, keys_for, samples_of
from dlmath.typing import Key, Params


def ensemble(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_steps: int,
    optimizer: Any = None,
    learning_rate: Any = 1e-2,
    batch_size: int | None = None,
    randomized: bool = False,
    group_size: int | None = None,
) -> Samples:
    """Maximum a posteriori networks from different starts, trained side by side by `train.fit_ensemble`.

    Each minimises U/n, the potential over the number of data, so that a learning rate means the same for all n.

    A randomised ensemble (prior anchoring) gives each member its own prior centre θ₀ ~ p(θ) and its own targets y + ε, ε of the
    noise's law: for a linear network with Gaussian noise its members are exact draws from the posterior.

    Args:
        key: typed key; of minibatches and anchors.
        posterior: from `posterior`.
        params: starts, θ with a leading axis of members.
        num_steps: updates.
        optimizer: an optax transformation; None for `optax.adam(learning_rate)`.
        learning_rate: of Adam, where no optimizer is given.
        batch_size: rows of a minibatch, or None for all.
        randomized: see above; for a normal prior and Gaussian noise of known scale.
        group_size: as in `train.fit_ensemble`.

    Returns:
        Samples of as many chains as members, of one draw each, with stats "loss" [chain, draw], U/n at the last record, and
        "diverged_at" [chain], −1 for members whose training stayed finite.

    Raises:
        ValueError: as `mode` and `train.fit_ensemble` say, or for a randomised ensemble of another posterior.

    Cost: num_steps gradients a member, in one compiled program.

    References:
        Lakshminarayanan et al. (2017), Simple and scalable predictive uncertainty estimation using deep ensembles.
        Pearce et al. (2020), Uncertainty in neural networks: approximately Bayesian ensembling (randomised).
    """
    check.key("key", key)
    params = checked_start(posterior, params, axis="members")
    batch_size = checked_batch_size(posterior, batch_size)
    num_members = jax.tree.leaves(params)[0].shape[0]
    training, anchoring = jax.random.split(key)
    x, y = posterior.data
    anchors = None
    if randomized:
        anchors, y = _perturbed(anchoring, posterior, params, num_members)
    # Adam's rate is an argument of the program, so that another one compiles nothing.
    rate = None if optimizer is not None else {"learning_rate": check.real("learning_rate", learning_rate, above=0.0)}
    if optimizer is None:
        optimizer = _resting_adam if randomized else optax.adam
    elif randomized:
        optimizer = _resting(optimizer)
    without_data = replace(posterior, data=None)
    run = train.fit_ensemble(
        keys_for(training, num_members),
        Partial(_outputs_and_prior, without_data),
        Partial(_potential_over_n, without_data, jnp.asarray(len(posterior.data[1]), float)),
        {"params": params, "anchor": anchors} if randomized else {"params": params},
        (x, y),
        optimizer,
        num_steps=check.positive_int("num_steps", num_steps),
        batch_size=batch_size,
        hyperparameters=rate,
        member_data=(False, randomized),
        every=num_steps,
        group_size=group_size,
    )
    drawn = jax.tree.map(lambda leaf: leaf[:, None], run.params["params"])
    return samples_of(posterior, drawn, {"loss": run.loss[:, -1:], "diverged_at": run.diverged_at})


def _perturbed(key: Any, posterior: Posterior, params: Any, num_members: int) -> tuple[Any, Any]:
    from dlmath.bnn.likelihoods import Gaussian

    if not isinstance(posterior.likelihood, Gaussian) or posterior.likelihood.learned:
        raise ValueError(f"randomized must be False unless noise is Gaussian and known, got {posterior.likelihood}")
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params)
    posterior.prior.precisions(like)
    of_prior, of_noise = jax.random.split(key)
    anchors = jax.vmap(lambda k: posterior.prior.sample(k, like))(jax.random.split(of_prior, num_members))
    y = posterior.data[1]
    # Tempered potentials have tempered noise and priors.
    tempered = jnp.sqrt(posterior.temperature * posterior.likelihood_temperature)
    noise = posterior.likelihood.noise_std * tempered * jax.random.normal(of_noise, (num_members, *y.shape), y.dtype)
    return jax.tree.map(lambda leaf: leaf * jnp.sqrt(posterior.temperature), anchors), y + noise


def _outputs_and_prior(posterior: Posterior, member: Any, x: Any) -> Any:
    params = member["params"]
    moved = params
    if "anchor" in member:
        moved = jax.tree.map(jnp.subtract, params, jax.lax.stop_gradient(member["anchor"]))
    return posterior.outputs(params, x), posterior.log_noise(params), posterior.log_prior(moved)


def _potential_over_n(posterior: Posterior, n: Any, found: Any, y: Any) -> Any:
    outputs, log_noise, log_prior = found
    log_likelihood = posterior.likelihood.log_density(outputs, y, log_noise).mean()
    joint = log_likelihood / posterior.likelihood_temperature + log_prior / n.astype(log_prior.dtype)
    return -joint / posterior.temperature


@functools.cache
def _resting(optimizer: Any) -> optax.GradientTransformation:
    """The optimizer of a member whose anchor stays where it is; one object for each optimizer, so that programs are kept."""

    def init(params: Any) -> Any:
        return optimizer.init(params["params"])

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        moves, state = optimizer.update(updates["params"], state, None if params is None else params["params"])
        return {"params": moves, "anchor": jax.tree.map(jnp.zeros_like, updates["anchor"])}, state

    return optax.GradientTransformation(init, update)


def _resting_adam(learning_rate: Any) -> optax.GradientTransformation:
    return _resting.__wrapped__(optax.adam(learning_rate))
