"""neural-tangents on the JAX it was made for: a worker for another interpreter, which needs neither dlmath nor TensorFlow.

The networks are written once more, in plain JAX of 0.4.23; parameters and inputs come as arrays, and the kernel goes
back as one, so that a network that differs is noticed.
"""

import json
import sys
from types import ModuleType

from benchmarks import _harness

_TENSORFLOW_CORNER = "neural_tangents.experimental.empirical_tf.empirical"


def load():
    """The package `neural_tangents`, with a stand-in for its one module that imports TensorFlow."""
    corner = ModuleType(_TENSORFLOW_CORNER)
    corner.empirical_ntk_fn_tf = corner.get_apply_fn_and_params = None
    sys.modules.setdefault(_TENSORFLOW_CORNER, corner)
    import neural_tangents

    return neural_tangents


def _mlp(params, x):
    import jax

    for layer in _layers(params)[:-1]:
        x = jax.nn.relu(_dense(layer, x))
    return _dense(_layers(params)[-1], x)


def _cnn(params, x):
    import jax
    from jax import lax

    for layer, stride in zip(_layers(params)[:-1], (1, 1, 2, 1), strict=True):
        x = lax.conv_general_dilated(
            x,
            layer["weight"],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )
        x = jax.nn.relu(x + layer["bias"].reshape(1, 1, 1, -1))
    return _dense(_layers(params)[-1], x.mean((1, 2)))


def _transformer(params, x):
    import jax
    import jax.numpy as jnp

    def norm(p, h):
        centred = h - h.mean(-1, keepdims=True)
        h = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return h * p["scale"].reshape(1, 1, -1) + p["shift"].reshape(1, 1, -1)

    h = jnp.take(params["embedding"]["weight"], x, axis=0) + params["positions"][None]
    for block in _layers(params["blocks"]):
        z = norm(block["norm1"], h)
        heads = (*z.shape[:2], 4, z.shape[2] // 4)
        query, key, value = (_dense(block[name], z).reshape(heads) for name in ("query", "key", "value"))
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, precision="highest") * heads[-1] ** -0.5
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value, precision="highest")
        h = h + _dense(block["output"], mixed.reshape(h.shape))
        h = h + _dense(block["mlp2"], jax.nn.gelu(_dense(block["mlp1"], norm(block["norm2"], h)), approximate=False))
    return _dense(params["read_out"], norm(params["norm"], h).mean(1))


def _resnet18(params, x):
    import jax

    from benchmarks.empirical_ntk import resnet18

    module = resnet18()
    state = jax.eval_shape(module.init, jax.random.PRNGKey(0), x)["batch_stats"]
    # Before training: means 0, variances 1.
    fresh = lambda path, leaf: jax.numpy.full(leaf.shape, float(path[-1].key == "var"), leaf.dtype)
    return module.apply({"params": params, "batch_stats": jax.tree_util.tree_map_with_path(fresh, state)}, x)


NETWORKS = {"mlp": _mlp, "cnn": _cnn, "resnet18": _resnet18, "transformer": _transformer}


def _dense(layer, x):
    import jax.numpy as jnp

    product = jnp.matmul(x, layer["weight"], precision="highest")
    return product + layer["bias"].reshape(*[1] * (product.ndim - 1), -1)


def _layers(params):
    return [params[str(index)] for index in range(len(params))]


def flat(tree):
    """Arrays of a pytree of dictionaries and sequences by their path, "0/weight"."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        "/".join(str(getattr(key, "key", getattr(key, "idx", None))) for key in path): leaf for path, leaf in leaves
    }


def _nested(arrays):
    tree = {}
    for path, leaf in arrays.items():
        *branches, name = path.split("/")
        place = tree
        for branch in branches:
            place = place.setdefault(branch, {})
        place[name] = leaf
    return tree


def _empirical(options):
    import jax
    import jax.numpy as jnp
    import numpy as np

    with np.load(options["arrays"]) as stored:
        arrays = {name: jnp.asarray(leaf) for name, leaf in stored.items()}
    x = arrays.pop("x")
    params = _nested({name.removeprefix("params/"): leaf for name, leaf in arrays.items()})
    apply = NETWORKS[options["case"]]
    axes = {"full": (), "trace": (-1,)}[options["outputs"]]
    theirs = load().empirical_ntk_fn(lambda p, x: apply(p, x), axes, vmap_axes=0, implementation=options["mode"])
    program = jax.jit(lambda p, x: theirs(x, None, p))
    flops = program.lower(params, x).cost_analysis()["flops"]

    def run():
        found = np.asarray(program(params, x)) * (10 if options["outputs"] == "trace" else 1)  # theirs is a mean
        if options["kernel"] is not None:
            np.save(options["kernel"], found)
            options["kernel"] = None
        return {"program_flops": flops}

    _harness.work(run)


def _infinite(options):
    import jax
    import jax.numpy as jnp
    import numpy as np

    stax = load().stax
    if options["case"] == "dense":
        net = stax.serial(*[stax.Dense(1, 2**0.5, 0.1), stax.Relu()] * 5, stax.Dense(1))
    else:
        conv = stax.Conv(1, (3, 3), padding="SAME", W_std=2**0.5)
        net = stax.serial(*[conv, stax.Relu()] * 3, stax.GlobalAvgPool(), stax.Dense(1))
    x = jnp.asarray(np.random.default_rng(0).normal(size=options["shape"]), jnp.float32)
    kernel = jax.jit(lambda x: net[2](x, None, "ntk"))
    _harness.work(lambda: {"corner": np.asarray(kernel(x))[:3, :3].tolist()})


def versions(python):
    """Versions of an interpreter's packages, {name: version}; SystemExit if it cannot import them."""
    import subprocess

    script = (
        "import importlib.metadata as m, json, platform;"
        "print(json.dumps({'python': platform.python_version(), **{p: m.version(p) for p in"
        " ('jax', 'jaxlib', 'neural-tangents', 'flax', 'numpy', 'scipy')}}))"
    )
    run = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"--python {python} lacks a package; see benchmarks/README.md:\n{run.stderr}")
    return json.loads(run.stdout)


if __name__ == "__main__" and sys.argv[1] == "--worker":
    given = json.loads(sys.argv[2])
    {"empirical": _empirical, "infinite": _infinite}[given["kind"]](given)
