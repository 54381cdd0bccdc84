"""Malformed calls of dlmath.train: (name, call, error, message)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlmath import train
from dlmath.train import losses

X, Y = np.ones((6, 3)), np.ones((6, 1))
NAN = np.where(np.arange(18).reshape(6, 3) == 4, np.nan, X)


def fit(
    key=None,
    apply=lambda w, x: x @ w,
    loss=losses.mse,
    params=None,
    data=(X, Y),
    optimizer=None,
    num_steps=2,
    **options,
):
    key = jax.random.key(0) if key is None else key
    params = jnp.ones((3, 1)) if params is None else params
    return train.fit(
        key,
        apply,
        loss,
        params,
        data,
        optax.sgd(0.1) if optimizer is None else optimizer,
        num_steps=num_steps,
        **options,
    )


def ensemble(keys=None, params=None, **options):
    keys = jax.random.split(jax.random.key(0), 2) if keys is None else keys
    params = jnp.ones((2, 3, 1)) if params is None else params
    options = {"optimizer": optax.sgd(0.1), "data": (X, Y), "num_steps": 2, **options}
    return train.fit_ensemble(keys, lambda w, x: x @ w, losses.mse, params, **options)


CASES = [
    (
        "stateful probe without a state",
        lambda: fit(probes={"error": train.error(lambda w, state, x: x @ w, X, Y, stateful=True)}),
        ValueError,
        r"probes\['error'\] reads the state of the network: give state",
    ),
    ("untyped key", lambda: fit(key=jax.random.PRNGKey(0)), TypeError, r"key must be a typed key .*jax.random.key"),
    ("many keys", lambda: fit(key=jax.random.split(jax.random.key(0))), ValueError, "one key.*vmap over it"),
    ("apply no function", lambda: fit(apply=3), TypeError, "apply must be a function, got 3"),
    ("loss by name", lambda: fit(loss="mse"), TypeError, "loss must be a function, got 'mse'"),
    ("NaN in x", lambda: fit(data=(NAN, Y)), ValueError, "x must be finite, got 1 NaN or infinite of 18"),
    ("infinite y", lambda: fit(data=(X, Y * np.inf)), ValueError, "y must be finite"),
    ("lengths differ", lambda: fit(data=(X, Y[:4])), ValueError, r"same number of rows.*\(6, 3\) and \(4, 1\)"),
    ("empty data", lambda: fit(data=(X[:0], Y[:0])), ValueError, "x must not be empty"),
    ("data alone", lambda: fit(data=X), TypeError, r"data must be a pair \(x, y\)"),
    ("text data", lambda: fit(data=(np.array(["a"]), Y[:1])), TypeError, "x must be an array of numbers"),
    (
        "inputs too wide",
        lambda: fit(params=jnp.ones((4, 1))),
        ValueError,
        r"must accept the data, got x of shape \(6, 3\)",
    ),
    ("targets without axis", lambda: fit(data=(X, Y[:, 0])), ValueError, r"same shape.*targets\[:, None\]"),
    ("integer params", lambda: fit(params=jnp.ones((3, 1), int)), TypeError, "params must be a floating array"),
    ("no params", lambda: fit(params={}), ValueError, "params must hold at least one array"),
    ("vector loss", lambda: fit(loss=lambda f, y: (f - y) ** 2), ValueError, "loss must return one floating number"),
    ("optimizer uncalled", lambda: fit(optimizer=optax.sgd), TypeError, r"optax.sgd\(0.1\) rather than optax.sgd"),
    (
        "optimizer called twice",
        lambda: fit(hyperparameters={"learning_rate": 0.1}),
        TypeError,
        r"optax.sgd rather than optax.sgd\(0.1\)",
    ),
    (
        "vector of rates",
        lambda: fit(optimizer=optax.sgd, hyperparameters={"learning_rate": [0.1, 0.2]}),
        ValueError,
        r"hyperparameters\['learning_rate'\] must be a scalar.*fit_ensemble",
    ),
    (
        "NaN rate",
        lambda: fit(optimizer=optax.sgd, hyperparameters={"learning_rate": float("nan")}),
        ValueError,
        "learning_rate.*must be finite",
    ),
    ("negative steps", lambda: fit(num_steps=-1), ValueError, "num_steps must be non-negative, got -1"),
    ("fractional steps", lambda: fit(num_steps=2.5), TypeError, "num_steps must be an integer, got 2.5"),
    ("batch of none", lambda: fit(batch_size=0), ValueError, "batch_size must be positive, got 0"),
    ("batch too large", lambda: fit(batch_size=7), ValueError, "batch_size must be at most .* 6, got 7"),
    ("misspelt grid", lambda: fit(every="logg"), ValueError, "every must be one of 'log'.*did you mean 'log'"),
    ("zero distance", lambda: fit(every=0), ValueError, "every must be positive, got 0"),
    ("record beyond the end", lambda: fit(every=[1, 3]), ValueError, "every must hold steps from 0 to num_steps=2"),
    ("fractional records", lambda: fit(every=[0.5]), TypeError, "list of integer steps"),
    ("probe no probe", lambda: fit(probes={"norm": jnp.sum}), TypeError, r"probes\['norm'\] must be a Probe"),
    ("probes in a list", lambda: fit(probes=[train.weight_norm()]), TypeError, "probes must be a mapping"),
    (
        "patience for an unknown probe",
        lambda: fit(probes={"error": train.weight_norm()}, stop=train.patience("eror", 2)),
        ValueError,
        "did you mean 'error'",
    ),
    ("stop no rule", lambda: fit(stop=0.1), TypeError, "stop must be a rule such as loss_below"),
    ("continued without state", lambda: fit(first_step=1), ValueError, "opt_state=trajectory.opt_state"),
    ("first step too late", lambda: fit(first_step=3), ValueError, "first_step must be at most 2, got 3"),
    ("checkpoint without file", lambda: fit(checkpoint_every=1), ValueError, "give checkpoint=path"),
    ("checkpoint no path", lambda: fit(checkpoint=3), TypeError, "checkpoint must be a path"),
    (
        "state of another shape",
        lambda: fit(apply=lambda key, w, s, x: (x @ w, jnp.zeros(2)), state=jnp.zeros(3)),
        ValueError,
        "state that apply returns",
    ),
    ("one key for many", lambda: ensemble(keys=jax.random.key(0)), ValueError, "keys must have one axis"),
    ("untyped keys", lambda: ensemble(keys=jnp.zeros((2, 2))), TypeError, "keys must be typed keys"),
    (
        "params of one member",
        lambda: ensemble(params=jnp.ones((3, 1))),
        ValueError,
        "params must have a leading axis of 2 members.*vmap",
    ),
    (
        "rates for another number of members",
        lambda: ensemble(optimizer=optax.sgd, hyperparameters={"learning_rate": jnp.ones(3)}),
        ValueError,
        "one number for each of 2 keys",
    ),
    (
        "data of another number of members",
        lambda: ensemble(data=(X, np.ones((3, 6, 1))), member_data=(False, True)),
        ValueError,
        "y must have a leading axis of 2 members",
    ),
    ("groups that do not divide", lambda: ensemble(group_size=3), ValueError, "group_size must be at most 2, got 3"),
    ("broadcasting loss", lambda: losses.mse(Y, Y[:, 0]), ValueError, "outputs and targets of mse must have the same"),
    ("unknown reduction", lambda: losses.mse(Y, Y, reduction="avg"), ValueError, "reduction must be one of"),
    ("float labels", lambda: losses.cross_entropy(X, np.ones(6)), TypeError, "integer class indices.*astype"),
    ("labels of another shape", lambda: losses.cross_entropy(X, np.ones((6, 2))), ValueError, "got shape"),
    ("negative delta", lambda: losses.huber(Y, Y, delta=-1.0), ValueError, "delta must be positive, got -1"),
    (
        "times that go back",
        lambda: train.gradient_flow(lambda w: w**2, jnp.ones(()), [1.0, 0.5]),
        ValueError,
        "times must increase, got 1 before 0.5",
    ),
    ("negative time", lambda: train.gradient_flow(lambda w: w**2, jnp.ones(()), [-1.0]), ValueError, "non-negative"),
    (
        "zero tolerance",
        lambda: train.gradient_flow(lambda w: w**2, jnp.ones(()), [1.0], rtol=0.0),
        ValueError,
        "rtol must be positive",
    ),
    ("impatient", lambda: train.patience("loss", 0), ValueError, "num_records must be positive, got 0"),
    ("unknown mode", lambda: train.patience("loss", 1, mode="mim"), ValueError, "did you mean 'min'"),
    ("one log point", lambda: train.log_steps(10, 1), ValueError, "num_points must be at least 2"),
    (
        "probe on NaN data",
        lambda: train.accuracy(lambda w, x: x @ w, NAN, Y),
        ValueError,
        "x must be finite",
    ),
]
