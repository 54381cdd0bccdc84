"""The compiled training loop.

One program serves a whole run: its bounds are arguments, so a run cut into chunks (for a progress bar, a
checkpoint, an early stop) executes the same instructions as a run in one piece, and gives the same bits.

    while step < until:
        if step is on the grid: record the loss, the probes and the stopping rule
        if step opens an epoch: draw its minibatches
        for step in range(step, next record, epoch or `until`): one update

All loop bounds are shared by the members of an ensemble. A member that has stopped is masked once per
turn of the outer loop, not once per step.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlmath.train import _batches
from dlmath.train._program import Functions, Options, Program


class Inputs(NamedTuple):
    """What the loop reads and never changes."""

    key: Any
    hyperparameters: Any
    x: Any
    y: Any


class Carry(NamedTuple):
    """What one step hands to the next."""

    params: Any
    opt_state: Any
    state: Any
    loss_sum: Any
    """Sum of the minibatch losses since the last record."""
    diverged_at: Any


class Watch(NamedTuple):
    """What one record hands to the next."""

    probes: Any
    stop: Any
    stopped_at: Any
    stop_record: Any


class Records(NamedTuple):
    """Buffers with one row per record."""

    loss: Any
    probes: Any
    step_loss: Any


class Running(NamedTuple):
    carry: Carry
    watch: Watch
    records: Records


class Bounds(NamedTuple):
    """Where a chunk begins and ends, shared by an ensemble."""

    grid: Any
    """[record + 1], the steps recorded; the last entry is a sentinel."""
    record: Any
    """Number of the next record."""
    step: Any
    until: Any


@partial(jax.jit, static_argnums=(0, 5, 6))
def start(
    program: Program, arrays: Any, inputs: Inputs, params: Any, states: Any, num_records: int, num_steps: int
) -> Running:
    """The state before the first step; `states` is (opt_state or None, state), shared or per member."""

    def one(inputs: Inputs, params: Any, states: Any) -> Running:
        run = _Run(program, arrays, inputs)
        opt_state, state = states
        opt_state = run.optimizer.init(params) if opt_state is None else opt_state
        functions = run.functions
        nowhere = jnp.full((), -1, jnp.int32)
        watch = Watch(
            {name: probe.init(params) for name, probe in functions.probes.items()},
            functions.stop.init() if functions.stop is not None else (),
            nowhere,
            nowhere,
        )
        loss_type = run.checked_loss_type(params, state)
        carry = Carry(params, opt_state, state, jnp.zeros((), loss_type.dtype), nowhere)
        values = jax.eval_shape(lambda c, w: _probe(functions, c, w.probes, jnp.int32(0))[1], carry, watch)
        rows = jax.tree.map(lambda v: jnp.zeros((num_records, *v.shape), v.dtype), values)
        step_loss = jnp.zeros(num_steps if program.options.step_losses else 0, loss_type.dtype)
        return Running(carry, watch, Records(jnp.zeros(num_records, loss_type.dtype), rows, step_loss))

    return _vmapped(program, one, (0, 0))(inputs, params, states)


@partial(jax.jit, static_argnums=0)
def advance(program: Program, arrays: Any, inputs: Inputs, running: Running, bounds: Bounds) -> Running:
    """Runs from `bounds.step` to `bounds.until`; the last step of the run also makes its record."""

    def one(inputs: Inputs, running: Running) -> Running:
        return _advance(_Run(program, arrays, inputs), running, bounds)

    return _vmapped(program, one, (0,))(inputs, running)


@partial(jax.jit, static_argnums=(0, 2))
def finish(program: Program, running: Running, first_step: int) -> Records:
    """The records; after a stop every record repeats the one made there."""

    def one(running: Running) -> Records:
        records, watch = running.records, running.watch
        rows = jnp.arange(records.loss.shape[0])
        rows = jnp.where(watch.stop_record >= 0, jnp.minimum(rows, watch.stop_record), rows)
        steps = jnp.arange(records.step_loss.shape[0])
        last = jnp.maximum(watch.stopped_at - 1 - first_step, 0)
        steps = jnp.where(watch.stopped_at >= 0, jnp.minimum(steps, last), steps)
        take = lambda values: values[rows]
        return Records(take(records.loss), jax.tree.map(take, records.probes), records.step_loss[steps])

    return one(running) if program.options.axes is None else jax.vmap(one)(running)


def _vmapped(program: Program, one: Any, rest: tuple[Any, ...]) -> Any:
    """`one(inputs, *rest)` for a run, or over the leading axis of an ensemble."""
    if program.options.axes is None:
        return one
    hyperparameters, x, y = program.options.axes
    axes = (Inputs(0, dict(hyperparameters), x, y), *rest)

    def members(inputs: Inputs, *arguments: Any) -> Any:
        if inputs.key.shape[0] > 1:
            return jax.vmap(one, in_axes=axes)(inputs, *arguments)
        # A member alone needs no products with a batch axis, which are slower on CPUs.
        first = lambda axis, tree: tree if axis is None else jax.tree.map(lambda leaf: leaf[0], tree)
        alone = jax.tree.map(first, axes, (inputs, *arguments), is_leaf=lambda axis: axis is None)
        return jax.tree.map(lambda leaf: leaf[None], one(*alone))

    return members


class _Run:
    """The functions of one run, with its data, inside the traced program."""

    def __init__(self, program: Program, arrays: Any, inputs: Inputs):
        self.functions: Functions = program.functions(arrays)
        self.options: Options = program.options
        self.inputs = inputs
        self.batch_key, self.augment_key, self.network_key = _batches.stream_keys(inputs.key)
        optimizer = self.functions.optimizer
        if self.options.tuned:
            optimizer = optimizer(**inputs.hyperparameters)
        self.optimizer = optax.with_extra_args_support(optimizer)

    @property
    def num_batches(self) -> int:
        """Steps for which one draw of minibatches lasts."""
        return self.inputs.x.shape[0] // self.options.batch_size if self.options.batch_size else 1

    def draw(self, step: Any) -> Any:
        if self.options.batch_size is None:
            return jnp.zeros((1, 0), jnp.int32)
        return _batches.draw_block(
            self.batch_key,
            step // self.num_batches,
            num_examples=self.inputs.x.shape[0],
            batch_size=self.options.batch_size,
            replacement=self.options.replacement,
        )

    def batch(self, table: Any, step: Any) -> tuple[Any, Any]:
        if self.options.batch_size is None:
            return self.inputs.x, self.inputs.y
        rows = table[step % self.num_batches]
        # Rows are in range by construction; "clip" spares the select that "fill" costs.
        take = lambda values: jnp.take(values, rows, axis=0, mode="clip")
        return take(self.inputs.x), take(self.inputs.y)

    def example_batch(self) -> tuple[Any, Any]:
        size = self.options.batch_size
        return self.inputs.x[:size], self.inputs.y[:size]

    def loss_at(self, params: Any, state: Any, step: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
        """(loss that step `step` differentiates, new state)."""
        x, y = batch
        functions = self.functions
        if functions.augment is not None:
            x = functions.augment(jax.random.fold_in(self.augment_key, step), x)
        if self.options.stateful:
            outputs, state = functions.apply(jax.random.fold_in(self.network_key, step), params, state, x)
        else:
            outputs = functions.apply(params, x)
        return functions.loss(outputs, y), state

    def checked_loss_type(self, params: Any, state: Any) -> Any:
        """Shape and dtype of the loss; raises ValueError unless loss and state are as they must be."""
        batch = self.example_batch()
        try:
            loss, new_state = jax.eval_shape(lambda p: self.loss_at(p, state, 0, batch), params)
        except (TypeError, ValueError) as error:
            x, y = batch
            raise ValueError(
                f"loss(apply(params, x), y) must accept the data, got x of shape {x.shape} and y of shape {y.shape}: "
                f"{error}"
            ) from error
        if getattr(loss, "shape", None) != () or not jnp.issubdtype(loss.dtype, jnp.floating):
            came = f"an array of shape {loss.shape} and dtype {loss.dtype}" if hasattr(loss, "shape") else repr(loss)
            raise ValueError(f"loss must return one floating number, got {came}; reduce it with jnp.mean or jnp.sum")
        like = jax.eval_shape(lambda: state)
        if jax.tree.structure(new_state) != jax.tree.structure(like) or any(
            new.shape != old.shape for new, old in zip(jax.tree.leaves(new_state), jax.tree.leaves(like), strict=True)
        ):
            raise ValueError(
                f"the state that apply returns must have the structure and shapes of state, got {new_state} for {like}"
            )
        return loss

    def update(self, step: Any, table: Any, carry: Carry) -> tuple[Carry, Any]:
        """One step of the optimizer, and the loss before it."""
        batch = self.batch(table, step)
        objective = lambda params: self.loss_at(params, carry.state, step, batch)
        (loss, state), gradient = jax.value_and_grad(objective, has_aux=True)(carry.params)
        updates, opt_state = self.optimizer.update(
            gradient,
            carry.opt_state,
            carry.params,
            value=loss,
            grad=gradient,
            value_fn=lambda params: objective(params)[0],
        )
        diverged_at = _first(carry.diverged_at, ~jnp.isfinite(loss), step)
        params = optax.apply_updates(carry.params, updates)
        return Carry(params, opt_state, state, carry.loss_sum + loss, diverged_at), loss


def _advance(run: _Run, running: Running, bounds: Bounds) -> Running:
    last_record = bounds.grid.shape[0] - 2
    last_step = bounds.grid[last_record]

    def unfinished(loop: tuple[Any, ...]) -> Any:
        step, record, _, _ = loop
        return (step < bounds.until) | ((step == last_step) & (record <= last_record))

    def turn(loop: tuple[Any, ...]) -> tuple[Any, ...]:
        step, record, table, running = loop
        if run.options.batch_size is not None:
            table = jax.lax.cond(step % run.num_batches == 0, lambda: run.draw(step), lambda: table)
        due = step == bounds.grid[record]
        running = _record(run, table, running, bounds.grid, record, due, step)
        record = record + due.astype(record.dtype)

        stop = jnp.minimum(jnp.minimum(bounds.grid[record], bounds.until), last_step)
        if run.options.batch_size is not None:
            stop = jnp.minimum(stop, (step // run.num_batches + 1) * run.num_batches)

        def body(step: Any, inner: tuple[Carry, Any]) -> tuple[Carry, Any]:
            carry, step_loss = inner
            carry, loss = run.update(step, table, carry)
            if run.options.step_losses:
                step_loss = jax.lax.dynamic_update_index_in_dim(step_loss, loss, step - bounds.grid[0], 0)
            return carry, step_loss

        before = running.carry
        carry, step_loss = jax.lax.fori_loop(step, stop, body, (before, running.records.step_loss))
        if run.options.stops:
            frozen = running.watch.stopped_at >= 0
            carry = jax.tree.map(lambda old, new: jnp.where(frozen, old, new), before, carry)
        running = running._replace(carry=carry, records=running.records._replace(step_loss=step_loss))
        return stop, record, table, running

    loop = (bounds.step, bounds.record, run.draw(bounds.step), running)
    return jax.lax.while_loop(unfinished, turn, loop)[-1]


def _record(run: _Run, table: Any, running: Running, grid: Any, record: Any, due: Any, step: Any) -> Running:
    """Writes row `record`. A turn that only continues an interval leaves zeros there until the record is due."""

    def measure(carry: Carry, watch: Watch) -> tuple[Any, ...]:
        loss = _recorded_loss(run, table, carry, grid, record, step)
        probe_states, values = _probe(run.functions, carry, watch.probes, step)
        new = watch._replace(probes=probe_states)
        finite = jnp.isfinite(loss) & _all_finite(carry.params)
        diverged_at = _first(carry.diverged_at, ~finite, step)
        if run.options.stops:
            stop_state, stop = run.functions.stop.update(watch.stop, loss, values)
            stopped_at = _first(watch.stopped_at, stop, step)
            new = new._replace(
                stop=stop_state,
                stopped_at=stopped_at,
                stop_record=_first(watch.stop_record, stop, record),
            )
            stopped = watch.stopped_at >= 0
            new = jax.tree.map(lambda old, new: jnp.where(stopped, old, new), watch, new)
            diverged_at = jnp.where(stopped, carry.diverged_at, diverged_at)
        return loss, values, jnp.zeros_like(carry.loss_sum), diverged_at, new

    def skip(carry: Carry, watch: Watch) -> tuple[Any, ...]:
        loss, values = jax.tree.map(
            lambda buffer: jnp.zeros(buffer.shape[1:], buffer.dtype), (running.records.loss, running.records.probes)
        )
        return loss, values, carry.loss_sum, carry.diverged_at, watch

    carry = running.carry
    loss, values, loss_sum, diverged_at, watch = jax.lax.cond(due, measure, skip, carry, running.watch)
    write = lambda buffer, value: jax.lax.dynamic_update_index_in_dim(buffer, value, record, 0)
    records = running.records._replace(
        loss=write(running.records.loss, loss), probes=jax.tree.map(write, running.records.probes, values)
    )
    return Running(carry._replace(loss_sum=loss_sum, diverged_at=diverged_at), watch, records)


def _recorded_loss(run: _Run, table: Any, carry: Carry, grid: Any, record: Any, step: Any) -> Any:
    options = run.options
    at = lambda batch: run.loss_at(carry.params, carry.state, step, batch)[0]
    if options.batch_size is None or options.full_loss:
        return at((run.inputs.x, run.inputs.y))
    since = (step - grid[jnp.maximum(record - 1, 0)]).astype(carry.loss_sum.dtype)
    return jax.lax.cond(record == 0, lambda: at(run.batch(table, step)), lambda: carry.loss_sum / since)


def _probe(functions: Functions, carry: Carry, states: Any, step: Any) -> tuple[Any, Any]:
    both = {
        name: probe.update(
            states[name], carry.params, carry.opt_state, step, *((carry.state,) if probe.stateful else ())
        )
        for name, probe in functions.probes.items()
    }
    return {name: state for name, (state, _) in both.items()}, {name: value for name, (_, value) in both.items()}


def _first(found: Any, condition: Any, now: Any) -> Any:
    """`now` at the first time that `condition` holds, kept from then on (-1 before)."""
    return jnp.where((found < 0) & condition, now, found)


def _all_finite(params: Any) -> Any:
    finite = jnp.bool_(True)
    for leaf in jax.tree.leaves(params):
        finite &= jnp.isfinite(leaf).all()
    return finite
