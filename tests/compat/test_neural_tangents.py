"""neural-tangents on the JAX installed here, against its own results on JAX 0.4.23 (tests/data/README.md)."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

REFERENCE = Path(__file__).parent.parent / "data" / "neural_tangents_0.6.5.npz"


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as stored:
        return dict(stored)


def networks():
    s = dm.compat.neural_tangents().stax

    def conv(channels, strides=None):
        return s.Conv(channels, (3, 3), strides, "SAME", W_std=1.4, b_std=0.1)

    def block(channels, strides=None):
        shortcut = s.Identity() if strides is None else s.Conv(channels, (3, 3), strides, "SAME")
        main = s.serial(s.Relu(), conv(channels, strides), s.Relu(), conv(channels))
        return s.serial(s.FanOut(2), s.parallel(main, shortcut), s.FanInSum())

    def standard(width, **options):
        return s.Dense(width, parameterization="standard", **options)

    attention = {"linear_scaling": True, "W_key_std": 1.0, "W_value_std": 1.0, "W_query_std": 1.0, "W_out_std": 1.0}
    return {
        "fc_relu_3": s.serial(*[s.Dense(512, 1.5, 0.05), s.Relu()] * 3, s.Dense(1)),
        "fc_erf_2": s.serial(*[s.Dense(512, 1.2, 0.3), s.Erf()] * 2, s.Dense(1)),
        "fc_leaky_layernorm": s.serial(
            s.Dense(512, 1.4, 0.1), s.LayerNorm(), s.LeakyRelu(0.2), s.Dense(512, 1.4), s.LeakyRelu(0.2), s.Dense(1)
        ),
        "fc_standard_param": s.serial(
            standard(512, W_std=1.4, b_std=0.1), s.Relu(), standard(256, W_std=1.4, b_std=0.1), s.Relu(), standard(1)
        ),
        "conv_flatten": s.serial(conv(64), s.Relu(), conv(64), s.Relu(), s.Flatten(), s.Dense(1)),
        "resnet_small": s.serial(
            s.Conv(32, (3, 3), None, "SAME"), block(32), block(32, (2, 2)), s.GlobalAvgPool(), s.Dense(1, 1.0, 0.1)
        ),
        "attention": s.serial(
            s.Conv(32, (3, 3), (2, 2), "SAME"),
            s.Relu(),
            s.GlobalSelfAttention(32, 32, 32, 4, b_std=0.1, **attention),
            s.Relu(),
            s.GlobalAvgPool(),
            s.Dense(1),
        ),
    }


NAMES = (
    "fc_relu_3",
    "fc_erf_2",
    "fc_leaky_layernorm",
    "fc_standard_param",
    "conv_flatten",
    "resnet_small",
    "attention",
)


# Two remarks of neural-tangents on its own layers: tied query and key weights, independent branches.
@pytest.mark.filterwarnings("ignore:Linear scaling attention used")
@pytest.mark.filterwarnings("ignore:`FanIn` layers assume independent inputs")
@pytest.mark.parametrize("name", NAMES)
def test_infinite_width_kernels_equal_those_of_jax_0_4(name, reference):
    inputs = ("xf", "xf2") if name.startswith("fc") else ("xi", "xi2")
    with jax.enable_x64(True):
        x1, x2 = (jnp.asarray(reference[key]) for key in inputs)
        kernel = lambda x1, x2: networks()[name][2](x1, x2, ("nngp", "ntk"))
        if name != "resnet_small" or jax.__version_info__ >= (0, 11):  # see dlmath.kernels._infinite_width
            kernel = jax.jit(kernel)
        got = {"x1x2": kernel(x1, x2), "x1x1": kernel(x1, None)}
        for pair, result in got.items():
            for get in ("nngp", "ntk"):
                assert getattr(result, get).dtype == jnp.float64
                np.testing.assert_allclose(getattr(result, get), reference[f"{name}/{get}/{pair}"], rtol=1e-6)


@pytest.mark.parametrize("implementation", [0, 1, 2, 3])
def test_empirical_kernel_equals_that_of_jax_0_4(implementation, reference, capsys):
    nt = dm.compat.neural_tangents()
    s = nt.stax
    net = s.serial(s.Dense(7, parameterization="standard"), s.Erf(), s.Dense(5), s.Relu(), s.Dense(3))
    with jax.enable_x64(True):
        x1, x2 = jnp.asarray(reference["xf"]), jnp.asarray(reference["xf2"])
        tree = jax.tree.structure(net[0](jax.random.key(0), x1.shape)[1])
        params = jax.tree.unflatten(tree, [jnp.asarray(reference[f"empirical_fc/param{i}"]) for i in range(3)])
        kernel = nt.empirical_ntk_fn(net[1], trace_axes=(), implementation=implementation)
        if implementation:  # 0 (AUTO) compiles by itself, to compare operation counts
            kernel = jax.jit(kernel)
        np.testing.assert_allclose(
            kernel(x1, x2, params), reference["empirical_fc/ntk_full"], rtol=1e-6, atol=1e-9 * 40
        )
    capsys.readouterr()  # AUTO prints the counts


def recurrent():
    import flax.linen as nn

    class Reader(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.RNN(nn.GRUCell(3))(nn.Embed(5, 4)(x))[:, -1])

    return dm.models.from_linen(Reader())


STRUCTURED = {
    "dense": (lambda: dm.models.mlp([6, 5], 2, activation="gelu"), (5, 4)),
    "convolution, strides, pooling": (
        lambda: dm.models.cnn([3, 4], 2, strides=[2, 1], activation="tanh"),
        (3, 6, 6, 2),
    ),
    "embedding, attention, layer norm": (
        lambda: dm.models.transformer(2, vocabulary=5, num_layers=1, model_dim=4, num_heads=2),
        (3, 4),
    ),
    "a loop that shares its weights": (recurrent, (3, 4)),
}


# A remark of neural-tangents on embeddings, whose Jacobian it takes by vector products.
@pytest.mark.filterwarnings("ignore:No Jacobian rule found")
@pytest.mark.parametrize("name", STRUCTURED)
def test_structured_derivatives_contract_to_the_product_of_jacobians(name):
    make, shape = STRUCTURED[name]
    model, rng = make(), np.random.default_rng(0)
    tokens = len(shape) == 2 and name != "dense"
    x = jnp.asarray(rng.integers(0, 5, shape) if tokens else rng.normal(size=shape), jnp.int32 if tokens else None)
    params = model.init(jax.random.key(0), x)
    apply = lambda params, x: model.apply(params, x)
    jacobian = jax.tree.leaves(jax.jacobian(apply)(params, x))
    expected = sum(
        jnp.einsum("iap,jbp->ijab", *[leaf.reshape(len(x), 2, -1)] * 2, precision="highest") for leaf in jacobian
    )
    kernel = dm.compat.neural_tangents().empirical_ntk_fn(apply, (), vmap_axes=0, implementation=3)
    np.testing.assert_allclose(jax.jit(kernel)(x, None, params), expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("get", ["ntk", "nngp"])
def test_ensemble_prediction_equals_that_of_jax_0_4(get, reference):
    nt = dm.compat.neural_tangents()
    with jax.enable_x64(True):
        x, y, x_test = (jnp.asarray(reference[key]) for key in ("xf", "y", "xf2"))
        predict = nt.predict.gradient_descent_mse_ensemble(networks()["fc_relu_3"][2], x, y, diag_reg=1e-3)
        mean, covariance = predict(t=0.5, x_test=x_test, get=get, compute_cov=True)
    np.testing.assert_allclose(mean, reference[f"predict_ensemble/{get}/t=0.5/mean"], rtol=1e-6)
    np.testing.assert_allclose(covariance, reference[f"predict_ensemble/{get}/t=0.5/cov"], rtol=1e-6)


def test_largest_learning_rate_is_two_over_the_largest_eigenvalue(reference):
    kernel = reference["fc_relu_3/ntk/x1x1"]
    rate = dm.compat.neural_tangents().predict.max_learning_rate(kernel, y_train_size=kernel.shape[0])
    np.testing.assert_allclose(rate, 2 * len(kernel) / np.linalg.eigvalsh(kernel)[-1], rtol=1e-6)


def test_calling_again_returns_the_same_module():
    assert dm.compat.neural_tangents() is dm.compat.neural_tangents()


def test_the_tensorflow_corner_says_that_it_is_closed():
    nt = dm.compat.neural_tangents()
    with pytest.raises(ImportError, match="TensorFlow"):
        nt.experimental.empirical_ntk_fn_tf(lambda x: x)


def python(script, folder):
    """What a fresh interpreter prints as JSON."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
        env={"PATH": "", "PYTHONPATH": f"{folder}:.", "JAX_PLATFORMS": "cpu"},
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A process in which TensorFlow is installed, eight threads ask at once, and the first import had failed."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "tensorflow.py").write_text("raise RuntimeError('tensorflow was loaded')")
    (folder / "tf2jax.py").write_text("raise RuntimeError('tf2jax was loaded')")
    return python(
        """
        import json, sys, threading
        import jax, jax.numpy
        try:
            import neural_tangents
        except Exception:
            plain = "fails"
        else:
            plain = "works"
        for name in [name for name in sys.modules if "jax2tf" in name]:
            del sys.modules[name]
        import jax.core, jax.extend.core, jax.extend.linear_util, jax.interpreters.ad
        import jax.example_libraries.stax, jax.experimental.ode, jax.flatten_util
        watched = [jax, jax.core, jax.extend, jax.extend.core, jax.interpreters, jax.interpreters.ad, jax.numpy, jax.lax]
        before = [dict(vars(module)) for module in watched]
        finders = list(sys.meta_path)
        from dlmath import compat
        found = []
        threads = [threading.Thread(target=lambda: found.append(compat.neural_tangents())) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        import neural_tangents as nt
        from neural_tangents import stax
        print(json.dumps({
            "plain": plain,
            "one module": len(found) == 8 and all(module is nt for module in found) and stax is nt.stax,
            "tensorflow": [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "tf2jax")
                           or "jax2tf" in name],
            "changed": [module.__name__ for module, names in zip(watched, before) if names != vars(module)],
            "finders": finders == sys.meta_path,
        }))
        """,
        folder,
    )


def test_a_plain_import_fails_on_this_jax(fresh):
    assert fresh["plain"] == "fails"  # else dlmath.compat has nothing left to do


def test_eight_threads_get_one_module(fresh):
    assert fresh["one module"]


def test_an_installed_tensorflow_stays_unloaded(fresh):
    assert fresh["tensorflow"] == []


def test_jax_itself_is_unchanged(fresh):
    assert fresh["changed"] == []
    assert fresh["finders"]


def test_an_unknown_jax_is_refused_with_the_known_range(tmp_path):
    message = python(
        """
        import json, jax
        jax.__version__, jax.__version_info__ = "0.13.0", (0, 13, 0)
        from dlmath import compat
        try:
            compat.neural_tangents()
        except ImportError as error:
            print(json.dumps(str(error)))
        """,
        tmp_path,
    )
    assert "0.10, 0.11, 0.12" in message
    assert "0.13.0" in message
