"""Gradients of the potential from minibatches, and what the kernels that use them share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.infer import init_to_uniform

from dlmath import check
from dlmath.mcmc._kernel import LangevinKernel
from dlmath.mcmc._tree import combine


def minibatch_gradient(
    key: Any, potential: Callable[..., Any], z: Any, data: tuple[Any, ...], batch_size: int
) -> tuple[Any, Any]:
    """(Û(z), ∇Û(z)) on `batch_size` rows drawn with replacement: unbiased, of variance V ∝ 1/batch_size."""
    return jax.value_and_grad(potential)(z, *draw_rows(key, data, batch_size))


def control_variate_gradient(
    key: Any,
    potential: Callable[..., Any],
    z: Any,
    data: tuple[Any, ...],
    batch_size: int,
    centre: Any,
    centre_gradient: Any,
) -> tuple[Any, Any]:
    """∇U(z*) + ∇Û(z) − ∇Û(z*), on the same rows: its variance vanishes at the centre z*.

    References:
        Baker, Fearnhead, Fox, Nemeth (2019), Control variates for stochastic gradient MCMC.
    """
    rows = draw_rows(key, data, batch_size)
    value, at_z = jax.value_and_grad(potential)(z, *rows)
    at_centre = jax.grad(potential)(centre, *rows)
    return value, combine(lambda z, c, full: full + z - c, at_z, at_centre, centre_gradient)


def draw_rows(key: Any, data: tuple[Any, ...], batch_size: int) -> tuple[Any, ...]:
    """The same `batch_size` rows, drawn with replacement, of every array of `data`."""
    rows = jax.random.randint(key, (batch_size,), 0, _num_rows(data))
    return jax.tree.map(lambda a: jnp.asarray(a)[rows], data)


class StochasticGradientKernel(LangevinKernel):
    """Base of the kernels that take a minibatch potential besides the targets of the others."""

    def __init__(
        self,
        model: Any = None,
        potential_fn: Any = None,
        *,
        score: Any = None,
        minibatch_potential: Any = None,
        batch_size: int | None = None,
        num_data: int | None = None,
        control: Any = None,
        step_size: Any,
        temperature: Any = 1.0,
        init_strategy: Callable[..., Any] = init_to_uniform,
    ) -> None:
        super().__init__(
            model=model,
            potential_fn=potential_fn,
            score=score,
            minibatch_potential=minibatch_potential,
            step_size=step_size,
            temperature=temperature,
            init_strategy=init_strategy,
        )
        if minibatch_potential is None:
            for name, value in (("batch_size", batch_size), ("num_data", num_data), ("control", control)):
                if value is not None:
                    raise ValueError(f"{name} must be None without minibatch_potential, got {value!r}")
        elif batch_size is None:
            raise ValueError("batch_size must be given with minibatch_potential, got None")
        else:
            check.positive_int("batch_size", batch_size)
        self._minibatch_potential: Any = minibatch_potential
        self._batch_size = batch_size
        self._num_data = None if num_data is None else check.positive_int("num_data", num_data)
        self._control = None if control is None else jax.tree.map(jnp.asarray, control)

    def _control_gradient(self, z: Any, args: Any) -> Any:
        """∇U at the centre, on all data: kept in the state. None without a centre."""
        if self._control is None:
            return None
        shapes = lambda tree: jax.tree.map(jnp.shape, tree)
        if jax.tree.structure(self._control) != jax.tree.structure(z) or shapes(self._control) != shapes(z):
            raise ValueError(f"control must be like init_params, of shapes {shapes(z)}, got {shapes(self._control)}")
        return jax.grad(self._minibatch_potential)(self._control, *args)

    def _estimate(self, key: Any, z: Any, control_gradient: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """An estimate of the potential and of its gradient at z."""
        if self._minibatch_potential is None:
            return super()._evaluate(key, z, args, kwargs)
        potential, batch_size = self._minibatch_potential, self._batch_size or 1
        if control_gradient is None:
            return minibatch_gradient(key, potential, z, args, batch_size)
        return control_variate_gradient(key, potential, z, args, batch_size, self._control, control_gradient)

    def _evaluate(self, key: Any, z: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if self._minibatch_potential is not None:
            if kwargs:
                raise ValueError(f"data must be given to MCMC.run by position, got the keywords {', '.join(kwargs)}")
            num_rows = _num_rows(args)
            if self._num_data not in (None, num_rows):
                raise ValueError(f"num_data must be the number of rows of the data, {num_rows}, got {self._num_data}")
        return self._estimate(key, z, None, args, kwargs)


def _num_rows(data: tuple[Any, ...]) -> int:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(data)]
    if not shapes:
        raise ValueError("data must be given to MCMC.run with minibatch_potential, as in run(key, x, y), got none")
    if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"data must be arrays of equally many rows, got shapes {', '.join(map(str, shapes))}")
    return shapes[0][0]
