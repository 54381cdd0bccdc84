"""`fit` and `fit_ensemble`: one compiled loop for full batches and minibatches, for one network and for many."""

import os
from collections.abc import Mapping
from typing import Any

from dlmath.train._boundary import checked_group_size, checked_inputs, checked_options, checked_params, functions_of
from dlmath.train._driver import Schedule, Trajectory, run
from dlmath.train._program import Program, skeleton_of
from dlmath.train._stopping import StoppingRule
from dlmath.typing import ApplyFn, Key, LossFn, Params, Probe


def fit(
    key: Key,
    apply: ApplyFn | Any,
    loss: LossFn | Any,
    params: Params,
    data: Any,
    optimizer: Any,
    *,
    num_steps: int,
    batch_size: int | None = None,
    replacement: bool = False,
    probes: Mapping[str, Probe] | None = None,
    every: Any = None,
    full_loss: bool = False,
    step_losses: bool = False,
    hyperparameters: Mapping[str, Any] | None = None,
    state: Any = None,
    augment: Any = None,
    stop: StoppingRule | None = None,
    opt_state: Any = None,
    first_step: int = 0,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
) -> Trajectory:
    """The trajectory θ_{t+1} = θ_t + u(∇L_{B(t)}(θ_t)) of an optimizer u on minibatches B(t), compiled once.

    The batch, the augmentation and the noise of step t are functions of (key, t), so that a run that resumes
    equals one that was never interrupted, bit for bit.

    Args:
        key: typed key; read only for minibatches, augmentation and `apply`'s own noise.
        apply: (params, x) -> outputs; with `state`, (key, params, state, x) -> (outputs, state).
        loss: (outputs, targets) -> scalar, such as `losses.mse`.
        params: initial parameters, a pytree of floating arrays.
        data: (x[n, ...], y[n, ...]), or an object with attributes x and y; finite.
        optimizer: an optax transformation; with `hyperparameters`, a function that makes one.
        num_steps: updates, counted from step 0.
        batch_size: rows of a minibatch, 1..n; None for the full batch.
        replacement: True to draw minibatch rows independently; False for shuffled epochs of n // batch_size
            steps, which leave out the last n mod batch_size rows of each shuffle.
        probes: name -> Probe, what to measure at the records.
        every: which steps to record beside the first and the last: a distance, "log", a list of steps
            (see `linear_steps`, `log_steps`), or None for about 100 records.
        full_loss: with minibatches, record the loss on all data (one more pass over them a record).
        step_losses: also return the loss of every update.
        hyperparameters: name -> scalar, given to `optimizer` inside the program: other values compile nothing.
        state: initial state of the network, () for one that needs only a key; None for a plain `apply`.
        augment: (key, x) -> x, applied to every minibatch.
        stop: rule for early stopping, evaluated at the records: `loss_below` or `patience`.
        opt_state: state of the optimizer to continue from; None for a fresh one.
        first_step: step to continue from, with `params`, `opt_state` and `state` of a Trajectory.
        progress: show a bar (not under a transformation).
        checkpoint: file to resume from if it exists, and to write (not under a transformation). It knows the
            data, the initial values and the options of the run, but not the code of the functions.
        checkpoint_every: steps between checkpoints; None for one at the end.

    Returns:
        The Trajectory.

    Raises:
        ValueError, TypeError: for non-finite data, wrong shapes, unknown options or a checkpoint of another run.

    Gradient descent on ½θ² contracts by 1 − η a step:

    >>> import jax, jax.numpy as jnp, optax, dlmath as dm
    >>> train = lambda rate: fit(jax.random.key(0), lambda w, x: w * x, dm.train.losses.half_mse, jnp.ones(()),
    ...     (jnp.ones(1), jnp.zeros(1)), optax.sgd, hyperparameters={"learning_rate": rate}, num_steps=3)
    >>> float(train(0.5).params)
    0.125

    It may be transformed; a sweep over learning rates is one program (see also `fit_ensemble`):

    >>> jax.vmap(train)(jnp.array([0.5, 1.0, 2.0])).params.tolist()
    [0.125, 0.0, -1.0]

    Cost: num_steps gradients; a record costs one forward pass on the full batch (none with minibatches) and its
    probes. Memory: two copies of parameters and optimizer state, the data, and the records. Forward-mode
    differentiable; the loop's bounds are arguments, so reverse mode is not available.
    """
    return _train(
        key,
        (apply, loss, optimizer, probes, augment, stop),
        (params, opt_state, state),
        data,
        hyperparameters,
        None,
        None,
        {
            "batch_size": batch_size,
            "replacement": replacement,
            "full_loss": full_loss,
            "step_losses": step_losses,
        },
        Schedule.checked(
            num_steps=num_steps,
            first_step=first_step,
            continued=opt_state is not None,
            every=every,
            progress=progress,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
        ),
    )


def fit_ensemble(
    keys: Any,
    apply: ApplyFn | Any,
    loss: LossFn | Any,
    params: Params,
    data: Any,
    optimizer: Any,
    *,
    num_steps: int,
    batch_size: int | None = None,
    replacement: bool = False,
    probes: Mapping[str, Probe] | None = None,
    every: Any = None,
    full_loss: bool = False,
    step_losses: bool = False,
    hyperparameters: Mapping[str, Any] | None = None,
    member_data: tuple[bool, bool] = (False, False),
    group_size: int | None = None,
    state: Any = None,
    augment: Any = None,
    stop: StoppingRule | None = None,
    opt_state: Any = None,
    first_step: int = 0,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
) -> Trajectory:
    """The trajectories of many networks, trained side by side in one compiled program.

    The same as `vmap` of `fit` over (keys, params, ...), with a progress bar and checkpoints.

    Args:
        keys: typed keys [member]; equal keys give members the same minibatches and noise.
        apply: as in `fit`.
        loss: as in `fit`.
        params: initial parameters with a leading member axis, as from `jax.vmap(model.init, (0, None))(keys, x)`.
        data: (x, y) shared by the members, or per member as `member_data` says.
        optimizer: as in `fit`.
        num_steps: as in `fit`.
        batch_size: as in `fit`.
        replacement: as in `fit`.
        probes: as in `fit`; every member has its own.
        every: as in `fit`.
        full_loss: as in `fit`.
        step_losses: as in `fit`.
        hyperparameters: name -> scalar shared by all or array [member]: a learning rate, a weight decay.
        member_data: whether (x, y) have a leading member axis; (False, True) for label noise that differs.
        group_size: members that run side by side in one program, a divisor of their number.
            None for all of them, or one by one from 16 MB of parameters; on a CPU, where XLA would use one core for small
            networks, for groups small enough for its cache and numerous enough for its cores, or for members one by one
            where a step sees all of many rows.
        state: as in `fit`, with a leading member axis.
        augment: as in `fit`.
        stop: as in `fit`; every member stops on its own, and the run ends when all have stopped.
        opt_state: as in `fit`, with a leading member axis.
        first_step: as in `fit`.
        progress: as in `fit`; the bar counts steps of the whole ensemble.
        checkpoint: as in `fit`; one file holds the ensemble.
        checkpoint_every: as in `fit`.

    Returns:
        A Trajectory whose arrays, except `step`, have a leading member axis. A member that diverged says so in
        `diverged_at`; its non-finite records are left in place.

    Raises:
        ValueError, TypeError: as in `fit`, and for member axes of unequal lengths.

    Gradient descent on ½θ² diverges beyond η = 2:

    >>> import jax, jax.numpy as jnp, optax, dlmath as dm
    >>> runs = fit_ensemble(jax.random.split(jax.random.key(0), 2), lambda w, x: w * x, dm.train.losses.half_mse,
    ...     jnp.ones(2), (jnp.ones(1), jnp.zeros(1)), optax.sgd, num_steps=200,
    ...     hyperparameters={"learning_rate": jnp.array([0.5, 3.0])})
    >>> [bool(step >= 0) for step in runs.diverged_at]
    [False, True]

    Cost: that of `fit` times the number of members, with the overheads of one.
    Groups of another size may differ in the last bits, as their matrix products are arranged otherwise.
    """
    return _train(
        keys,
        (apply, loss, optimizer, probes, augment, stop),
        (params, opt_state, state),
        data,
        hyperparameters,
        member_data,
        group_size,
        {
            "batch_size": batch_size,
            "replacement": replacement,
            "full_loss": full_loss,
            "step_losses": step_losses,
        },
        Schedule.checked(
            num_steps=num_steps,
            first_step=first_step,
            continued=opt_state is not None,
            every=every,
            progress=progress,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
        ),
    )


def _train(
    key: Any,
    functions: tuple[Any, ...],
    initial: tuple[Any, Any, Any],
    data: Any,
    hyperparameters: Any,
    member_data: Any,
    group_size: Any,
    choices: dict[str, Any],
    schedule: Schedule,
) -> Trajectory:
    params, opt_state, state = initial
    inputs = checked_inputs(key, data, hyperparameters, params, member_data)
    num_members = None if member_data is None else inputs.key.shape[0]
    params = checked_params(params, num_members)
    group_size = checked_group_size(group_size, num_members)
    options = checked_options(
        inputs,
        member_data,
        stateful=state is not None,
        tuned=hyperparameters is not None,
        stops=functions[-1] is not None,
        **choices,
    )
    known = functions_of(*functions, tuned=options.tuned)
    for name, probe in known.probes.items():
        if probe.stateful and state is None:
            raise ValueError(
                f"probes[{name!r}] reads the state of the network: give state, such as model.init_state(x)"
            )
    skeleton, arrays = skeleton_of(known)
    return run(Program(skeleton, options), arrays, inputs, params, (opt_state, state), schedule, group_size)
