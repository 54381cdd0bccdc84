"""Runs the compiled loop in chunks: between them a progress bar moves and checkpoints are written."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dlmath import check, sharding
from dlmath.train import _checkpoint, _groups, _loop
from dlmath.train._grid import record_steps
from dlmath.train._program import Program
from dlmath.typing import Params

_CHUNKS = 50
"""Pieces of a run with a progress bar or a stopping rule."""


class Trajectory(NamedTuple):
    """A training run. From `fit_ensemble` every array but `step` has a leading member axis (under `vmap`, `step` too)."""

    params: Params
    """Parameters after the last step (or at the stop)."""
    step: Int[Array, " record"]
    """[record] Number of updates made before each record: `first_step`, ..., `num_steps`."""
    loss: Float[Array, " record"]
    """[record] Training loss. Full batch: on all data at the recorded parameters. Minibatches: the mean of the
    minibatch losses since the previous record (first record: of the next minibatch); with `full_loss`, on all data."""
    probes: dict[str, Any]
    """name -> value of the probe, every array with a leading [record]."""
    diverged_at: Int[Array, ""]
    """First step whose loss is not finite, or first record whose parameters are not; -1 if there is none."""
    stopped_at: Int[Array, ""]
    """Step at which the stopping rule fired, -1 if it did not; later records repeat the one made there."""
    step_loss: Float[Array, " step"]
    """[num_steps − first_step] The loss that each update differentiated; [0] unless `step_losses`."""
    opt_state: Any
    """State of the optimizer after the last step."""
    state: Any
    """State of the network (batch statistics) after the last step; None without one."""


class Schedule(NamedTuple):
    """Where a run begins and ends, when it is recorded and where it is written."""

    first_step: int
    num_steps: int
    grid: Any
    progress: bool
    checkpoint: Any
    checkpoint_every: int | None

    @classmethod
    def checked(
        cls,
        *,
        num_steps: Any,
        first_step: Any,
        continued: bool,
        every: Any,
        progress: Any,
        checkpoint: Any,
        checkpoint_every: Any,
    ) -> "Schedule":
        """Raises TypeError or ValueError for a schedule that is out of range or contradicts itself."""
        num_steps = check.integer("num_steps", num_steps, at_least=0)
        first_step = check.integer("first_step", first_step, at_least=0, at_most=num_steps)
        if first_step and not continued:
            raise ValueError(
                f"first_step={first_step} continues a run: give the optimizer's state too, "
                "opt_state=trajectory.opt_state"
            )
        checkpoint_every = _checkpoint.checked_interval(checkpoint, checkpoint_every)
        grid = record_steps(every, num_steps, first_step)
        return cls(first_step, num_steps, grid, bool(progress), checkpoint, checkpoint_every)


def run(
    program: Program,
    arrays: Any,
    inputs: _loop.Inputs,
    params: Params,
    states: Any,
    schedule: Schedule,
    group_size: int | None,
) -> Trajectory:
    """Compiles (once for equal programs and shapes), runs and collects."""
    first, last, grid = schedule.first_step, schedule.num_steps, schedule.grid
    running = _loop.start(program, arrays, inputs, params, states, len(grid), last - first)
    # A tracer may come with the arguments, or hidden in a function, from where it reaches the running state.
    traced = any(map(check.is_traced, jax.tree.leaves((arrays, inputs, params, states, running))))
    if traced and (schedule.checkpoint is not None or schedule.progress):
        name = "checkpoint" if schedule.checkpoint is not None else "progress"
        raise ValueError(f"{name} is not available inside jit or vmap; use fit_ensemble, or leave it out")
    saver = _Saver(program, (arrays, inputs, params, states), schedule)
    step, running = saver.resumed(running)
    shares, groups = zip(*_grouped(program, inputs, params, running, group_size, traced), strict=True)

    sentinel = np.append(grid, np.iinfo(np.int32).max).astype(np.int32)
    if len(groups) > 1 and step < last:
        # A chunk of no steps compiles the program, which the threads would otherwise all do at once.
        bounds = _loop.Bounds(sentinel, *map(np.int32, (np.searchsorted(grid, step), step, step)))
        _loop.advance(program, arrays, shares[0], groups[0], bounds)
    # Programs on the same devices, started in different orders by different threads, would wait for each other.
    threaded = not traced and not sharding.is_sharded(groups)
    with _bar(schedule, step) as bar, sharding.workers(len(groups), threaded=threaded) as each:
        for until in _stops(program, schedule, step, traced):
            if program.options.stops and not traced and all(map(_all_stopped, groups)):
                saver.save(step, groups, ended=True)
                break
            record = np.searchsorted(grid, step)
            bounds = _loop.Bounds(sentinel, *map(np.int32, (record, step, until)))
            groups = each(partial(_advance, program, arrays, bounds), shares, groups)
            if schedule.progress:
                jax.block_until_ready(groups)
            bar.update(until - step)
            step = until
            saver.save(step, groups)

    running = _groups.join(groups)
    records = _loop.finish(program, running, first)
    return Trajectory(
        params=running.carry.params,
        step=jnp.asarray(grid),
        loss=records.loss,
        probes=records.probes,
        diverged_at=running.carry.diverged_at,
        stopped_at=running.watch.stopped_at,
        step_loss=records.step_loss,
        opt_state=running.carry.opt_state,
        state=running.carry.state,
    )


def _advance(program: Program, arrays: Any, bounds: _loop.Bounds, inputs: _loop.Inputs, running: _loop.Running) -> Any:
    return _loop.advance(program, arrays, inputs, running, bounds)


def _all_stopped(running: _loop.Running) -> bool:
    return bool((running.watch.stopped_at >= 0).all())


def _grouped(
    program: Program, inputs: _loop.Inputs, params: Params, running: _loop.Running, size: int | None, traced: bool
) -> list[tuple[_loop.Inputs, _loop.Running]]:
    if program.options.axes is None:
        return [(inputs, running)]
    num_members = inputs.key.shape[0]
    # Members that are spread over devices already run at the same time.
    together = traced or sharding.is_sharded((inputs, running))
    num_rows = inputs.x.shape[0 if program.options.axes[1] is None else 1]
    full = num_rows if program.options.batch_size is None else None
    chosen = num_members if together else _groups.default_size(params, num_members, full)
    return _groups.split(program.options.axes, inputs, running, chosen if size is None else size)


def _stops(program: Program, schedule: Schedule, step: int, traced: bool) -> list[int]:
    """Ends of the chunks still to run, increasing; a finished run has none."""
    first, last = schedule.first_step, schedule.num_steps
    if step == last and step > first:
        return []
    stops = {last}
    if schedule.checkpoint_every is not None:
        stops.update(range(0, last, schedule.checkpoint_every))
    if schedule.progress or (program.options.stops and not traced):
        stops.update(np.linspace(first, last, _CHUNKS + 1).astype(int).tolist())
    return sorted(stop for stop in stops if stop > step or stop == last)


class _Saver:
    """Reads and writes the checkpoint of one run, or does nothing."""

    def __init__(self, program: Program, initial: Any, schedule: Schedule):
        self.schedule = schedule
        if schedule.checkpoint is None:
            return
        arrays, inputs, params, states = initial
        options = program.options
        self.identity = {
            "num_steps": schedule.num_steps,
            "first_step": schedule.first_step,
            "every": _checkpoint.digest(schedule.grid),
            "batch_size": options.batch_size,
            "replacement": options.replacement,
            "full_loss": options.full_loss,
            "step_losses": options.step_losses,
            "key": _checkpoint.digest(inputs.key),
            "hyperparameters": _checkpoint.digest(inputs.hyperparameters),
            "data": _checkpoint.digest((inputs.x, inputs.y)),
            "params": _checkpoint.digest(params),
            "opt_state and state": _checkpoint.digest(states),
            "arrays of probes and functions": _checkpoint.digest(arrays),
        }

    def resumed(self, running: _loop.Running) -> tuple[int, _loop.Running]:
        path = self.schedule.checkpoint
        stored = None if path is None else _checkpoint.load(path, running, self.identity)
        return (self.schedule.first_step, running) if stored is None else (stored.step, stored.running)

    def save(self, step: int, groups: Any, *, ended: bool = False) -> None:
        every, path = self.schedule.checkpoint_every, self.schedule.checkpoint
        due = ended or step == self.schedule.num_steps or (every is not None and step % every == 0)
        if path is not None and due:
            _checkpoint.save(path, step, _groups.join(groups), self.identity)


def _bar(schedule: Schedule, step: int) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=schedule.num_steps, initial=step, disable=not schedule.progress, desc="fit", unit="step", leave=False
    )
