"""Dropout as a distribution of parameters."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlmath import check
from dlmath.bnn._minibatches import Minibatches, checked_batch_size, stop_if_not_finite
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._samples import Samples, keys_for, samples_of
from dlmath.bnn.priors import leaf_paths
from dlmath.typing import Key, Params


def mc_dropout(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_draws: int,
    num_steps: int,
    rate: Any,
    skip: tuple[str, ...] = (),
    learning_rate: Any = 1e-2,
    optimizer: Any = None,
    batch_size: int | None = None,
    num_masks: int = 1,
) -> Samples:
    """Draws of networks whose units are dropped at random, after training under dropout; one chain for each start.

    A weight W [..., in, out] becomes diag(b) W/(1 − r), b_i ~ Bernoulli(1 − r) for each input unit (for each channel of a
    convolution): dropping inputs of a layer is dropping rows of its weight, so that dropout is a law q of the parameters
    and its networks are Samples as any. Training minimises E_q U/n.

    This differs from Gal and Ghahramani (2016) in 1. the rows of a minibatch share `num_masks` masks, one unless told
    otherwise, where they have one each (`num_masks=batch_size`): the expectation is the same, but the noise of one mask can
    keep training from its end, 2. the prior is that of the posterior, in the place of weight decay derived from r and a
    length scale, 3. the masked parameters meet the prior, so that weights are not penalised when dropped (in expectation a
    factor 1/(1 − r) on their squares).

    Args:
        key: typed key; start i uses fold_in(key, i).
        posterior: from `posterior`.
        params: starts θ with a leading axis.
        num_draws: networks of each chain.
        num_steps: updates.
        rate: r in [0, 1), probability that a unit is dropped.
        skip: paths of leaves or branches that keep their units, such as ("0",) for the inputs of the network.
        learning_rate: of Adam, where no optimizer is given.
        optimizer: an optax transformation.
        batch_size: rows of a minibatch, or None for all.
        num_masks: masks a step, each for its share of the rows: a divisor of the batch size, or of n without one.

    Returns:
        Samples [chain, draw] with stats "loss" [chain, step], the noisy E_q U/n, and "trained": parameters before dropping,
        a tree with a leading axis [chain].

    Raises:
        ValueError: for a rate out of range, a number of masks that does not divide the rows, a `skip` that names nothing, a
            network without weights of two axes, a run that diverged, and as `mode` says.

    Cost: num_steps gradients a start, and num_masks copies of the parameters.

    References: Gal & Ghahramani (2016), Dropout as a Bayesian approximation.
    """
    check.key("key", key)
    params = checked_start(posterior, params, axis="starts")
    one = jax.tree.map(lambda leaf: leaf[0], params)
    names = leaf_paths(one)
    branches = {"/".join(name.split("/")[: i + 1]) for name in names for i in range(len(name.split("/")))}
    for path in skip:
        check.one_of("skip", path, sorted(branches))
    kept = lambda name: any(name == path or name.startswith(path + "/") for path in skip)
    dropped = tuple(leaf.ndim > 1 and not kept(name) for name, leaf in zip(names, jax.tree.leaves(one), strict=True))
    if not any(dropped):
        raise ValueError(
            f"params must have weights of at least two axes to drop, got none but {names} with skip={skip}"
        )
    rate = check.real("rate", rate, at_least=0.0, below=1.0)
    learning_rate = check.real("learning_rate", learning_rate, above=0.0)
    batch_size = checked_batch_size(posterior, batch_size)
    num_masks, num_rows = check.positive_int("num_masks", num_masks), batch_size or len(posterior.data[1])
    if num_rows % num_masks:
        raise ValueError(f"num_masks must divide the {num_rows} rows of a step, got {num_masks}")
    sizes = (
        check.positive_int("num_steps", num_steps), num_masks, check.positive_int("num_draws", num_draws), batch_size,
    )  # fmt: skip
    keys = keys_for(key, jax.tree.leaves(params)[0].shape[0])
    draws, trained, losses = _train(
        keys, posterior, params, rate, learning_rate, optimizer=optimizer, dropped=dropped, sizes=sizes
    )
    stop_if_not_finite("learning_rate", losses[:, -1], "training")
    return samples_of(posterior, draws, {"loss": losses, "trained": trained})


@partial(jax.jit, static_argnames=("optimizer", "dropped", "sizes"))
def _train(
    keys: Any,
    posterior: Posterior,
    params: Any,
    rate: Any,
    learning_rate: Any,
    *,
    optimizer: Any,
    dropped: tuple[bool, ...],
    sizes: Any,
) -> Any:
    num_steps, num_masks, num_draws, batch_size = sizes
    optimizer = optax.adam(learning_rate) if optimizer is None else optimizer
    n = posterior.data[1].shape[0]

    def drawn(key: Any, params: Any, number: int) -> list[Any]:
        """Factors of the rows of every weight, for a number of masks; None for what is not dropped."""
        leaves = jax.tree.leaves(params)
        keys = iter(jax.random.split(key, sum(dropped)))
        return [
            _factors(next(keys), w, rate, number) if drop else None for w, drop in zip(leaves, dropped, strict=True)
        ]

    def masked(factors: list[Any], params: Any) -> Any:
        leaves, treedef = jax.tree.flatten(params)
        return jax.tree.unflatten(
            treedef, [w if factor is None else factor * w for w, factor in zip(leaves, factors, strict=True)]
        )

    def one(key: Any, start: Any) -> Any:
        of_batches, of_masks, of_draws = jax.random.split(key, 3)
        batches = Minibatches(posterior, of_batches, batch_size)

        def step(carry: Any, i: Any) -> Any:
            params, state, table = carry
            batch, table = batches.batch_at(table, i)
            shares = jax.tree.map(lambda leaf: leaf.reshape(num_masks, -1, *leaf.shape[1:]), batch)
            factors = jax.lax.optimization_barrier(drawn(jax.random.fold_in(of_masks, i), params, num_masks))
            of_share = lambda params, factor, share: posterior.minibatch_potential(masked(factor, params), share)
            average = lambda params: jax.vmap(of_share, (None, 0, 0))(params, factors, shares).mean() / n
            loss, slope = jax.value_and_grad(average)(params)
            moves, state = optimizer.update(slope, state, params)
            return (optax.apply_updates(params, moves), state, table), loss

        begin = (start, optimizer.init(start), batches.start)
        (trained, _, _), losses = jax.lax.scan(step, begin, jnp.arange(num_steps))
        draws = jax.vmap(masked, (0, None))(drawn(of_draws, trained, num_draws), trained)
        return draws, trained, losses

    return jax.vmap(one)(keys, params)


def _factors(key: Any, weight: Any, rate: Any, number: int) -> Any:
    """For each mask 0 or 1/(1 − r) for every input unit."""
    keep = jax.random.bernoulli(key, 1 - rate, (number, weight.shape[-2], 1))
    return jnp.where(keep, 1 / (1 - jnp.asarray(rate, weight.dtype)), 0)
