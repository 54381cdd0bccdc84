"""Stochastic gradient Langevin dynamics."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath.mcmc._minibatch import StochasticGradientKernel
from dlmath.mcmc._schedules import value_at
from dlmath.mcmc._ula import ula_step


class SGLDState(NamedTuple):
    """State of `SGLD`.

    Attributes:
        i: steps taken.
        z: the draw.
        control_grad: ∇U at the centre of the control variate; None without.
        rng_key: key of the next step.
    """

    i: Any
    z: Any
    control_grad: Any
    rng_key: Any


class SGLD(StochasticGradientKernel):
    """Stochastic gradient Langevin dynamics x' = x − ε ∇Û(x) + √(2εT) ξ, ∇Û from a minibatch.

    Welling and Teh write ε/2 for our ε (their noise has variance ε, ours 2ε).

    Its law on a Gaussian of precision P, where the estimate ∇Û has variance V whatever x, has the covariance Σ that solves
    Σ = (I − εP) Σ (I − εP) + 2εT I + ε²V: in one dimension (T + εV/2)/(p − εp²/2). See `stationary_law`. With a control
    variate at a centre x*, the gradient is ∇U(x*) + ∇Û(x) − ∇Û(x*), and V shrinks with the distance from it.

        kernel = SGLD(minibatch_potential=potential, batch_size=32, step_size=1e-5)
        mcmc = MCMC(kernel, num_warmup=1000, num_samples=1000, jit_model_args=True)
        mcmc.run(key, x, y, init_params=params)     # jit_model_args: the data are no constants of the program

    Args:
        model: numpyro model, with its full gradient.
        potential_fn: U = −log density, (z, *args, **kwargs) -> scalar, with its full gradient.
        score: s = −∇U, (z, *args, **kwargs) -> tree like z.
        minibatch_potential: (z, *rows) -> scalar whose mean over batches is U, and which is U on all data: the sum over
            rows of −log likelihood times num_data/number of rows, minus the log prior. Exactly one of these four.
        batch_size: rows of a batch, drawn with replacement: V is num_data²/batch_size times the variance over rows.
        num_data: rows of the data, checked against what `MCMC.run(key, *data)` gets.
        control: x*, like init_params, near a mode; a full gradient there at the start, two of a batch a step then.
        step_size: ε > 0, or a function of the step, such as `cyclical`.
        temperature: T > 0, or a function of the step.
        init_strategy: where the sites of a model start, as in numpyro.

    Raises:
        ValueError: for none or several targets, parameters out of range, data that do not fit, or a start without a
            finite potential and gradient.

    >>> from dlmath.mcmc import stationary_law
    >>> print(stationary_law("sgld", [[2.0]], 0.5, gradient_covariance=[[4.0]]).position)     # (1 + 1)/(2 − 1)
    [[2.]]

    Cost: a gradient on a batch a step, two with a control variate.

    References:
        Welling, Teh (2011), Bayesian learning via stochastic gradient Langevin dynamics.
        Baker, Fearnhead, Fox, Nemeth (2019), Control variates for stochastic gradient MCMC.
    """

    def _start(
        self, key: Any, z: Any, potential: Any, gradient: Any, num_warmup: int, args: Any, kwargs: Any
    ) -> SGLDState:
        return SGLDState(jnp.zeros((), jnp.int32), z, self._control_gradient(z, args), key)

    def _step(self, state: Any, args: Any, kwargs: Any) -> SGLDState:
        rng_key, key_batch, key = jax.random.split(state.rng_key, 3)
        _, gradient = self._estimate(key_batch, state.z, state.control_grad, args, kwargs)
        step_size, temperature = value_at(self._step_size, state.i), value_at(self._temperature, state.i)
        z = ula_step(key, state.z, gradient, step_size, temperature)
        return SGLDState(state.i + 1, z, state.control_grad, rng_key)
