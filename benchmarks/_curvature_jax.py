"""Workers of the curvature benchmark in JAX: the networks, a float64 reference, dlmath, plain JAX, matfree."""

import json
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from benchmarks import _harness

K, STEPS, DENSITY_STEPS, TOLERANCE = 10, 40, 90, 1e-3


def network(name):
    """A model of `dm.models`, inputs and targets."""
    rng = np.random.default_rng(0)
    if name == "transformer":
        # The next token is a fixed function of the present one, half of the time.
        tokens = rng.integers(0, 64, (32, 33))
        for position in range(32):
            copied = rng.random(32) < 0.5
            tokens[copied, position + 1] = (7 * tokens[copied, position] + 3) % 64
        model = dm.models.transformer(64, num_layers=6, model_dim=64, num_heads=4, vocabulary=64, causal=True)
        return model, tokens[:, :-1].astype(np.int32), tokens[:, 1:].astype(np.int32)
    count = {"mlp": 2000, "cnn": 500}[name]
    labels = rng.integers(0, 10, count)
    centres = rng.random((10, 784)) < 0.2
    images = (0.3 * centres[labels] + 0.7 * rng.random((count, 784))).astype(np.float32)
    labels = np.where(rng.random(count) < 0.2, rng.integers(0, 10, count), labels).astype(np.int32)
    if name == "mlp":
        return dm.models.mlp([256, 256], 10), images, labels
    return dm.models.cnn([16, 32], 10, strides=2, pool="flatten"), images.reshape(count, 28, 28, 1), labels


class Case:
    """Network, data, parameters at two checkpoints and a vector, as every contender sees them."""

    def __init__(self, options):
        self.model, x, y = network(options["network"])
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)
        stored = np.load(options["case"])
        like = jax.eval_shape(self.model.init, jax.random.key(0), self.x)
        treedef = jax.tree.structure(like)
        load = lambda prefix: jax.tree.unflatten(
            treedef, [jnp.asarray(stored[f"{prefix}{i}"]) for i in range(treedef.num_leaves)]
        )
        self.checkpoints = [load("first"), load("second")]
        self.vector = load("vector")
        self.probes, self.steps = options.get("probes", 10), options.get("density_steps", DENSITY_STEPS)

    def objective(self, params, x, y):
        return dm.train.losses.cross_entropy(self.model.apply(params, x), y)


def flatten(tree):
    """Leaves in order, as one NumPy vector."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def train(options):
    """Draws the network, trains it a little, and writes the case; gives the number of parameters."""
    import optax

    model, x, y = network(options["network"])
    key_init, key_vector = jax.random.split(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), jax.jit(model.init)(key_init, x))
    optimizer = optax.adam(1e-3)

    @jax.jit
    def step(params, state, x, y):
        gradient = jax.grad(lambda p: dm.train.losses.cross_entropy(model.apply(p, x), y))(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    x, y = jnp.asarray(x), jnp.asarray(y)
    state, stored = optimizer.init(params), {}
    for number in range(options["training_steps"]):
        if number == options["training_steps"] - 5:
            stored |= {f"second{i}": leaf for i, leaf in enumerate(jax.tree.leaves(params))}
        params, state = step(params, state, x, y)
    leaves = jax.tree.leaves(params)
    keys = jax.random.split(key_vector, len(leaves))
    vector = [jax.random.normal(k, leaf.shape, jnp.float32) for k, leaf in zip(keys, leaves, strict=True)]
    stored |= {f"first{i}": leaf for i, leaf in enumerate(leaves)}
    stored |= {f"vector{i}": leaf for i, leaf in enumerate(vector)}
    np.savez(options["case"], x=x, y=y, **{name: np.asarray(leaf) for name, leaf in stored.items()})


def reference(options):
    """Judges what the contenders saved, by products in float64 that share no code with dlmath's operators."""
    import scipy.sparse.linalg

    jax.config.update("jax_enable_x64", True)
    train(options)
    case = Case(options)
    double = lambda tree: jax.tree.map(lambda leaf: leaf.astype(jnp.float64), tree)
    params, x = double(case.checkpoints[0]), case.x
    x = x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x
    _, unravel = jax.flatten_util.ravel_pytree(params)
    gradient = jax.jit(jax.grad(case.objective))
    hessian = jax.jit(lambda p, x, y, v: jax.jvp(lambda p: jax.grad(case.objective)(p, x, y), (p,), (v,))[1])
    gauss_newton = jax.jit(_gauss_newton(case))
    times = lambda v: flatten(hessian(params, x, case.y, unravel(jnp.asarray(v, jnp.float64))))
    vector = double(case.vector)
    size = flatten(vector).size
    products = {
        "gradient": flatten(gradient(params, x, case.y)),
        "product": flatten(hessian(params, x, case.y, vector)),
        "gauss-newton": flatten(gauss_newton(params, x, case.y, vector)),
    }
    products["product, fixed"] = products["product"]
    linear = scipy.sparse.linalg.LinearOperator((size, size), times, dtype=np.float64)
    start = np.random.default_rng(1).standard_normal(size)
    top = np.sort(scipy.sparse.linalg.eigsh(linear, K, which="LA", tol=1e-5, v0=start, return_eigenvectors=False))[::-1]

    def judge(path, name):
        found = np.load(path)
        if name in products:
            return {"error": float(np.linalg.norm(found["value"] - products[name]) / np.linalg.norm(products[name]))}
        if name == "eigenpairs":
            residuals = []
            for value, v in zip(found["values"].astype(float), found["vectors"].astype(float), strict=True):
                v /= np.linalg.norm(v)
                residuals.append(np.linalg.norm(times(v) - value * v) / abs(value))
            missed = np.max(np.abs(np.sort(found["values"])[::-1] / top - 1))
            return {"residual": float(max(residuals)), "values_off": float(missed)}
        return {"largest_off": float(abs(found["largest"] / top[0] - 1))}

    shown = {"device": jax.devices()[0].device_kind, "parameters": size, "top": top.tolist()}
    _harness.answer({**shown, "loss": float(case.objective(params, x, case.y))})
    for line in sys.stdin:
        _harness.answer(judge(**json.loads(line)))


def dlmath(options, search_copies=True):
    """dlmath as its documentation says: operators linearised for single products, every safety on."""
    case = Case(options)
    key = jax.random.key(1)
    make = lambda checkpoint: dm.hessian.operator(case.objective, case.checkpoints[checkpoint], case.x, case.y)
    fixed = lambda checkpoint: dm.hessian.linearized(make(checkpoint))

    def eigenpairs(checkpoint=0):
        # From the start that matfree is given.
        start, options = case.vector, {"tol": TOLERANCE, "relative_to": "eigenvalue"}
        return dm.linalg.eigenpairs(key, make(checkpoint), K, v0=start, search_copies=search_copies, **options)

    def product(make):
        operators = [make(0), make(1)]
        return lambda checkpoint=0: operators[checkpoint](case.vector)

    gauss_newton = lambda checkpoint: dm.hessian.ggn(
        case.model.apply, dm.train.losses.cross_entropy, case.checkpoints[checkpoint], case.x, case.y
    )
    if not search_copies:
        return {"eigenpairs": lambda: eigenpairs}
    return {
        "product": lambda: product(make),
        "product, fixed": lambda: product(fixed),
        "gauss-newton": lambda: product(gauss_newton),
        "lanczos": lambda: lambda checkpoint=0: dm.linalg.lanczos(key, make(checkpoint), case.vector, STEPS),
        "eigenpairs": lambda: eigenpairs,
        "density": lambda: (
            lambda checkpoint=0: dm.linalg.spectral_density(
                key, make(checkpoint), num_probes=case.probes, num_steps=case.steps
            )
        ),
    }


def plain(options):
    """The leanest products in plain JAX."""
    case = Case(options)
    gradient = jax.jit(jax.grad(case.objective))
    hessian = jax.jit(lambda p, x, y, v: jax.jvp(lambda p: jax.grad(case.objective)(p, x, y), (p,), (v,))[1])
    linearize = jax.jit(lambda p, x, y: jax.linearize(lambda p: jax.grad(case.objective)(p, x, y), p)[1])
    apply = jax.jit(lambda linear, v: linear(v))
    gauss_newton = jax.jit(_gauss_newton(case))

    def fixed():
        linear = [linearize(params, case.x, case.y) for params in case.checkpoints]
        return lambda checkpoint=0: apply(linear[checkpoint], case.vector)

    def at(function, *extra):
        return lambda: lambda checkpoint=0: function(case.checkpoints[checkpoint], case.x, case.y, *extra)

    def operations():
        """Floors: operations of the compiled gradient, and of the products in units of it."""
        params, data = case.checkpoints[0], (case.x, case.y)
        count = lambda f, *arguments: f.lower(*arguments).compile().cost_analysis()["flops"]
        one = count(gradient, params, *data)
        return lambda: {
            "gradient": one,
            "product": count(hessian, params, *data, case.vector) / one,
            "product, fixed": count(apply, linearize(params, *data), case.vector) / one,
            "gauss-newton": count(gauss_newton, params, *data, case.vector) / one,
        }

    return {
        "gradient": at(gradient),
        "product": at(hessian, case.vector),
        "product, fixed": fixed,
        "gauss-newton": at(gauss_newton, case.vector),
        "operations": operations,
    }


def matfree(options, linearised=False, confirmed=False):
    """matfree with full reorthogonalisation, on its user's products: jvp of grad, or linearised once as in dlmath."""
    from matfree import decomp, eig

    case = Case(options)
    product = lambda v, p, x, y: jax.jvp(lambda p: jax.grad(case.objective)(p, x, y), (p,), (v,))[1]
    data = lambda checkpoint: (case.checkpoints[checkpoint], case.x, case.y)
    if linearised:
        linearize = jax.jit(lambda p, x, y: jax.linearize(lambda p: jax.grad(case.objective)(p, x, y), p)[1])
        product = lambda v, linear: linear(v)
        data = lambda checkpoint: (linearize(case.checkpoints[checkpoint], case.x, case.y),)
    start, unravel = jax.flatten_util.ravel_pytree(case.vector)
    flat = lambda v, *data: jax.flatten_util.ravel_pytree(product(unravel(v), *data))[0]

    def lanczos():
        run = jax.jit(lambda v, *data: decomp.tridiag_sym(STEPS)(flat, v, *data))
        return lambda checkpoint=0: run(start, *data(checkpoint))

    def eigenpairs():
        def solver(steps):
            def solve(v, *data):
                values, vectors = eig.eigh_partial(decomp.tridiag_sym(steps))(lambda v: flat(v, *data), v)
                return values[::-1][:K], vectors[::-1][:K]

            return jax.jit(solve)

        check = jax.jit(lambda v, *data: flat(v, *data))

        def with_residuals(solve, steps, checkpoint=0):
            values, vectors = solve(start, *data(checkpoint))
            residuals = [check(v, *data(checkpoint)) - a * v for a, v in zip(values, vectors, strict=True)]
            return values, vectors, steps + len(residuals), residuals

        for steps in range(2 * K, 500, K):
            solve = solver(steps)
            values, vectors = solve(start, *data(0))
            images = [check(v, *data(0)) for v in vectors]
            if all(np.linalg.norm(h - a * v) <= TOLERANCE * a for h, a, v in zip(images, values, vectors, strict=True)):
                if confirmed:
                    return partial(with_residuals, solve, steps)
                return lambda checkpoint=0, solve=solve, steps=steps: (*solve(start, *data(checkpoint)), steps)
        raise RuntimeError("matfree did not converge within 500 steps")

    def density():
        def probe(v, *data):
            found = decomp.tridiag_sym(case.steps)(flat, v, *data)
            nodes, vectors = jnp.linalg.eigh(found.J_small)
            return nodes, vectors[0] ** 2

        run = jax.jit(lambda vectors, *data: jax.lax.map(lambda v: probe(v, *data), vectors))
        vectors = jax.random.rademacher(jax.random.key(1), (case.probes, start.size), start.dtype)
        return lambda checkpoint=0: run(vectors, *data(checkpoint))

    if confirmed:
        return {"eigenpairs": eigenpairs}
    return {"lanczos": lanczos, "eigenpairs": eigenpairs, "density": density}


def save(path, name, value):
    """Stores for the reference what a function of this module returned."""
    extra = {}
    if name == "operations":
        return value
    if name in ("gradient", "product", "product, fixed", "gauss-newton"):
        np.savez(path, value=flatten(value))
    elif name == "eigenpairs":
        own = isinstance(value, dm.linalg.Eigenpairs)
        extra["products"] = int(value.num_matvecs) if own else value[2]
        values, vectors = (value.values, value.vectors) if own else value[:2]
        rows = [np.reshape(leaf, (K, -1)) for leaf in jax.tree.leaves(vectors)]
        np.savez(path, values=np.asarray(values), vectors=np.concatenate(rows, axis=1))
    elif name == "lanczos":
        own = isinstance(value, dm.linalg.Lanczos)
        np.savez(path, largest=np.linalg.eigvalsh(np.asarray(value.matrix if own else value.J_small))[-1])
        basis = np.asarray(value.basis if own else value.Q_tall.T, np.float64)
        basis = basis if basis.shape[0] == STEPS else basis.T
        extra["orthogonality"] = float(np.abs(basis @ basis.T - np.eye(STEPS)).max())
    else:
        nodes = value.nodes if isinstance(value, dm.linalg.SpectralDensity) else value[0]
        np.savez(path, largest=np.asarray(nodes).max())
    return extra


def _gauss_newton(case):
    def product(params, x, y, v):
        outputs, tangent = jax.jvp(lambda p: case.model.apply(p, x), (params,), (v,))
        curved = jax.jvp(jax.grad(lambda f: dm.train.losses.cross_entropy(f, y)), (outputs,), (tangent,))[1]
        return jax.vjp(lambda p: case.model.apply(p, x), params)[1](curved)[0]

    return product


def main(options):
    options["case"] = str(Path(options["folder"]) / "case.npz")
    name = options["contender"]
    if name == "reference":
        return reference(options)
    compilations = 0

    def listen(event, duration, **_):
        nonlocal compilations
        compilations += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    makers = {
        "dlmath": dlmath,
        "dlmath, no search": lambda options: dlmath(options, search_copies=False),
        "jax": plain,
        "matfree": matfree,
        "matfree, linearised": lambda options: matfree(options, linearised=True),
        "matfree, confirmed": lambda options: matfree(options, confirmed=True),
    }[name](options)
    ready = lambda make: lambda: _ready(make())
    makers = {key: ready(make) for key, make in makers.items()}
    makers["compilations"] = lambda: lambda: compilations
    return _harness.serve(
        makers, lambda path, name, value: {"compilations": value} if name == "compilations" else save(path, name, value)
    )


def _ready(function):
    return lambda **options: jax.block_until_ready(function(**options))


if __name__ == "__main__":
    main(json.loads(sys.argv[2]))
