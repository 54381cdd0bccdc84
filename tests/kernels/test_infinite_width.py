"""Infinite-width kernels against closed forms and against ensembles of finite networks."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath.kernels import (
    Activation,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAverage,
    GlobalSum,
    LayerNorm,
    Residual,
    SumPool,
    _infinite_width,
    infinite_width,
)

X = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.5, 0.5, 2.0]])
PAIRS = ([0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2])

# Entries 11, 12, 13, 22, 23, 33 of NNGP and NTK, from the recursions written out with arc cosines and arc sines.
CLOSED_FORMS = {
    ("relu", 1, 2.0, 0.0): (
        [0.666666666667, 0.451698378511, 0.296054764926, 0.666666666667, 0.48399175983, 3],
        [1.333333333333, 0.733631484391, 0.154634435713, 1.333333333333, 0.518325815497, 6],
    ),
    ("relu", 3, 2.0, 0.0): (
        [0.666666666667, 0.516874956563, 0.796494690047, 0.666666666667, 0.869054851688, 3],
        [2.666666666667, 1.30152445679, 1.242826299028, 2.666666666667, 1.562589700106, 12],
    ),
    ("relu", 2, 1.5, 0.1): (
        [0.5125, 0.433170220102, 0.478105532202, 0.5125, 0.530801354747, 1.496875],
        [1.2625, 0.812335940941, 0.604262491544, 1.2625, 0.773588888811, 4.215625],
    ),
    ("erf", 1, 2.0, 0.0): (
        [0.774442323979, 0.4455787237, -0.210994428616, 0.774442323979, 0.042013634953, 1.311050685914],
        [1.661012545649, 0.9102849782, -0.423941707838, 1.661012545649, 0.084042525125, 3.429849361833],
    ),
    ("erf", 3, 2.0, 0.0): (
        [0.858801343223, 0.443769898331, -0.15862617755, 0.858801343223, 0.031409671253, 0.940562941028],
        [4.435001042179, 1.893958531088, -0.640547442857, 4.435001042179, 0.125685240915, 6.032690674354],
    ),
    ("erf", 2, 1.5, 0.1): (
        [0.674029384278, 0.488468879891, 0.113695020046, 0.674029384278, 0.230838899577, 0.804066182324],
        [1.954135535196, 1.236656468299, 0.068876905575, 1.954135535196, 0.421564302859, 2.847920521853],
    ),
}


def network(activation, depth, weight_variance, bias_variance):
    stds = math.sqrt(weight_variance), math.sqrt(bias_variance)
    return [layer for _ in range(depth) for layer in (Dense(1, *stds), activation)] + [Dense(1, *stds)]


@pytest.mark.parametrize("case", CLOSED_FORMS, ids=str)
def test_kernels_of_deep_relu_and_erf_networks_equal_their_recursions(case):
    activation, *rest = case
    with jax.enable_x64(True):
        kernel = infinite_width(network(Activation(activation), *rest))
        for get, expected in zip(("nngp", "ntk"), CLOSED_FORMS[case], strict=True):
            np.testing.assert_allclose(kernel(X, get=get)[PAIRS], expected, atol=2e-12)


def reference_networks():
    """Those of tests/data/README.md, in our layers."""
    relu, leaky = Activation("relu"), Activation("leaky_relu", 0.2)

    def conv(channels, strides=(1, 1)):
        return Conv(channels, (3, 3), strides, "SAME", 1.4, 0.1)

    def block(channels, strides=None):
        main = (relu, conv(channels, strides or (1, 1)), relu, conv(channels))
        return Residual(main, () if strides is None else (Conv(channels, (3, 3), strides),))

    return {
        "fc_relu_3": [*[Dense(512, 1.5, 0.05), relu] * 3, Dense(1)],
        "fc_erf_2": [*[Dense(512, 1.2, 0.3), Activation("erf")] * 2, Dense(1)],
        "fc_leaky_layernorm": [Dense(512, 1.4, 0.1), LayerNorm(1e-12), leaky, Dense(512, 1.4), leaky, Dense(1)],
        "fc_standard_param": [Dense(512, 1.4, 0.1), relu, Dense(256, 1.4, 0.1), relu, Dense(1)],
        "conv_flatten": [conv(64), relu, conv(64), relu, Flatten(), Dense(1)],
        "resnet_small": [Conv(32), block(32), block(32, (2, 2)), GlobalAverage(), Dense(1, 1.0, 0.1)],
    }


@pytest.mark.parametrize("name", reference_networks())
def test_kernels_equal_those_that_neural_tangents_gave_on_jax_0_4(name):
    """At 1e-12, but for their diagonal (x, x), where an arc cosine cost them half of the digits."""
    with np.load(Path(__file__).parent.parent / "data" / "neural_tangents_0.6.5.npz") as stored:
        x1, x2 = (stored[key] for key in (("xf", "xf2") if name.startswith("fc") else ("xi", "xi2")))
        expected = {key: stored[f"{name}/{key}"] for key in ("nngp/x1x2", "ntk/x1x2", "ntk/x1x1")}
    with jax.enable_x64(True):
        parameterization = "standard" if name == "fc_standard_param" else "ntk"
        kernel = infinite_width(reference_networks()[name], parameterization=parameterization)
        np.testing.assert_allclose(kernel(x1, x2, get="nngp"), expected["nngp/x1x2"], rtol=1e-12)
        both = np.asarray(kernel(np.concatenate([x1, x2])))
    np.testing.assert_allclose(both[: len(x1), len(x1) :], expected["ntk/x1x2"], rtol=1e-12)
    apart = ~np.eye(len(x1), dtype=bool)
    np.testing.assert_allclose(both[: len(x1), : len(x1)][apart], expected["ntk/x1x1"][apart], rtol=1e-12)
    np.testing.assert_allclose(both[: len(x1), : len(x1)], expected["ntk/x1x1"], rtol=2e-8)


def test_a_layer_of_neural_tangents_may_stand_among_ours():
    with np.load(Path(__file__).parent.parent / "data" / "neural_tangents_0.6.5.npz") as stored:
        x1, x2, expected = (stored[key] for key in ("xi", "xi2", "attention/nngp/x1x2"))
    stds = {"W_key_std": 1.0, "W_value_std": 1.0, "W_query_std": 1.0, "W_out_std": 1.0, "b_std": 0.1}
    with jax.enable_x64(True):
        stax = dm.compat.neural_tangents().stax
        attention = stax.GlobalSelfAttention(32, 32, 32, 4, linear_scaling=True, **stds)
        relu = Activation("relu")
        layers = [Conv(32, strides=(2, 2)), relu, attention, relu, GlobalAverage(), Dense(1)]
        np.testing.assert_allclose(infinite_width(layers)(x1, x2, get="nngp"), expected, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-14), (np.float32, 2e-6)])
def test_ntk_of_a_scaled_relu_network_grows_linearly_with_depth(dtype, rtol):
    """Θ(x, x) = (L + 1)·2|x|²/d, to the last digits: the correlation of an input with itself is exactly 1."""
    with jax.enable_x64(dtype == np.float64):
        for depth in (1, 5):
            kernel = infinite_width(network(Activation("relu"), depth, 2.0, 0.0))
            expected = (depth + 1) * 2 * (X**2).sum(1) / 3
            np.testing.assert_allclose(np.diag(kernel(X.astype(dtype))), expected, rtol=rtol)


def test_pixels_of_an_image_with_itself_have_correlation_one():
    """Bias-free convolutions over circular images of one colour: a ReLU network of that colour, in float32."""
    colour = np.array([0.3, -1.2], np.float32)
    images = np.broadcast_to(colour, (1, 3, 3, 2))
    stds = math.sqrt(2)
    conv = [Conv(1, padding="CIRCULAR", weight_std=stds), Activation("relu")] * 2
    kernel = infinite_width([*conv, Flatten(), Dense(1, stds)])
    np.testing.assert_allclose(kernel(images), 3 * (colour**2).sum(keepdims=True)[None], rtol=2e-6)


@pytest.mark.parametrize("read_out", [Flatten(), GlobalAverage()], ids=["flatten", "pooled"])
def test_kernels_are_symmetric_to_the_last_bit_and_equal_in_chunks(read_out, monkeypatch):
    layers = (Conv(1, (2, 3), weight_std=1.3), Activation("relu"), Conv(1), Activation("erf"), read_out, Dense(1))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3, 2)), jnp.float32)
    kernel = _infinite_width._plain_evaluator(layers, "ntk", False)
    whole, rectangle = np.asarray(kernel(x, None, "ntk")), np.asarray(kernel(x[:2], x[2:], "ntk"))
    monkeypatch.setattr(_infinite_width, "_CHUNK_ENTRIES", {"cpu": 1})
    monkeypatch.setattr(_infinite_width, "_MIN_CHUNK", 4)
    np.testing.assert_array_equal(whole, whole.T)
    np.testing.assert_allclose(kernel(x, None, "ntk"), whole, rtol=1e-6)
    np.testing.assert_allclose(rectangle, whole[:2, 2:], rtol=1e-5)
    np.testing.assert_allclose(kernel(x[:2], x[2:], "ntk"), rectangle, rtol=1e-6)


def test_tiles_of_a_kernel_of_vectors_fit_together(monkeypatch):
    layers = (Dense(1, 1.3, 0.2), Activation("relu"), Dense(1), Activation("tanh", num_nodes=2), Dense(1))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)
    kernel = _infinite_width._plain_evaluator(layers, "ntk", False)
    whole = np.asarray(kernel(x, None, "ntk"))
    monkeypatch.setattr(_infinite_width, "_TILE", 3)
    tiled = np.asarray(kernel(x, None, "ntk"))
    np.testing.assert_array_equal(tiled, tiled.T)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-6 * whole.max())
    # Between x and a copy of it, as between different inputs, ReLU's derivative has half of float32's digits.
    np.testing.assert_allclose(kernel(x[:3], x, "ntk"), whole[:3], rtol=0, atol=1e-4 * whole.max())


@pytest.mark.parametrize(("name", "slope", "at_zero"), [("relu", 0.0, 0.0), ("leaky_relu", 0.2, 1.0)])
def test_derivative_at_a_preactivation_of_zero_is_that_of_automatic_differentiation(name, slope, at_zero):
    """x = 0 without bias variance, but with biases that are trained: Θ = σ_w² φ′(0) E φ′(v) behind the activation."""
    layers = [Dense(7, 1.5, 0.0), Activation(name, slope), Dense(1, 1.2)]
    kernel = infinite_width(layers, parameterization="standard")
    x = jnp.array([[0.0, 0.0], [1.0, 2.0]])
    expected = 1.2**2 * at_zero * np.array([at_zero, (1 + slope) / 2])
    np.testing.assert_allclose(kernel(x)[0], expected, rtol=1e-6)


def test_pooling_is_linear_in_the_pixels():
    """Of a linear network: K of pooled images. Sums are means times the pixels of a window."""
    images = np.random.default_rng(0).normal(size=(3, 4, 6, 2))
    pooled = images.reshape(3, 2, 2, 2, 3, 2).mean((2, 4))
    with jax.enable_x64(True):
        for pool, factor in ((AveragePool, 1), (SumPool, 6**2)):
            kernel = infinite_width([pool((2, 3)), Flatten(), Dense(1)])
            expected = factor * np.einsum("ihwc,jhwc->ij", pooled, pooled) / 8
            np.testing.assert_allclose(kernel(images, get="nngp"), expected, rtol=1e-12)
        for pool, pixel in ((GlobalAverage(), images.mean((1, 2))), (GlobalSum(), images.sum((1, 2)))):
            np.testing.assert_allclose(infinite_width([pool, Dense(1)])(images), pixel @ pixel.T / 2, rtol=1e-12)


def test_lenet_has_the_kernel_of_its_layers():
    model = dm.models.lenet5(activation="relu", parameterization="ntk", bias_std=0.1)
    x = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype(np.float32)
    pool = AveragePool((2, 2))
    conv = lambda channels: (Conv(channels, (5, 5), padding="VALID", bias_std=0.1), Activation("relu"), pool)
    dense = lambda width: (Dense(width, 1.0, 0.1), Activation("relu"))
    expected = infinite_width([*conv(6), *conv(16), Flatten(), *dense(120), *dense(84), Dense(10, 1.0, 0.1)])
    padded = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)])
    np.testing.assert_allclose(model.kernel(x), expected(padded), rtol=1e-6)


def test_linear_network_of_standard_parameterization_has_the_ntk_of_its_widths():
    """d, n inputs a layer: Θ = x·x' (1 + W-term): n E hh' + 1 + σ_w² (x·x' + 1) with biases of variance 0."""
    with jax.enable_x64(True):
        layers = [Dense(7, 1.5, 0.0), Activation("identity"), Dense(1, 1.2, 0.0)]
        product = X @ X.T
        expected = 7 * 1.5**2 * product / 3 + 1 + 1.2**2 * (product + 1)
        np.testing.assert_allclose(infinite_width(layers, parameterization="standard")(X), expected, rtol=1e-12)


def test_layer_norm_makes_every_diagonal_entry_one():
    with jax.enable_x64(True):
        kernel = infinite_width([Dense(1, 1.3, 0.2), LayerNorm(0.0)])
        np.testing.assert_allclose(np.diag(kernel(X, get="nngp")), 1.0, rtol=1e-12)


def test_residual_of_a_branch_adds_its_kernel_to_that_of_the_input():
    with jax.enable_x64(True):
        base = [Dense(1, 1.0, 0.3)]
        branch = (Activation("relu"), Dense(1, 1.4))
        whole, straight, turned = (
            infinite_width(layers)(X, get="nngp") for layers in ([*base, Residual(branch)], base, [*base, *branch])
        )
        np.testing.assert_allclose(whole, straight + turned, rtol=1e-12)


def test_cyclic_shifts_of_both_images_leave_a_circular_kernel_unchanged():
    with jax.enable_x64(True):
        images = np.random.default_rng(0).normal(size=(2, 4, 4, 2))
        kernel = infinite_width([Conv(1, padding="CIRCULAR", weight_std=1.4), Activation("erf"), Flatten(), Dense(1)])
        shifted = np.roll(images, (1, 2), axis=(1, 2))
        np.testing.assert_allclose(kernel(shifted), kernel(images), rtol=1e-10)


MODELS = {
    "mlp tanh": lambda n, p: (dm.models.mlp([n, n], 1, activation="tanh", parameterization=p, bias_std=0.3), (3,)),
    "mlp without bias": lambda n, p: (
        dm.models.mlp([n, n], 1, parameterization=p, weight_std=[1.5, 1.2, 1.0], bias_std=None),
        (3,),
    ),
    "cnn pooled": lambda n, p: (
        dm.models.cnn([n, n], 1, kernel_size=(3, 2), strides=2, parameterization=p, bias_std=[0.1, 0.2, 0.3]),
        (5, 5, 2),
    ),
    "cnn circular flattened": lambda n, p: (
        dm.models.cnn([n, n], 1, strides=(2, 1), padding="CIRCULAR", pool="flatten", parameterization=p),
        (4, 3, 2),
    ),
    "resnet": lambda n, p: (
        dm.models.resnet(6, n, 1, norm=None, stages=(1, 2), parameterization=p, bias_std=0.1),
        (4, 4, 2),
    ),
    "resnet layer norm": lambda n, p: (
        dm.models.resnet(6, n, 1, norm="layer", affine=False, stages=(1, 2), parameterization=p, final_norm=False),
        (4, 4, 2),
    ),
}


@pytest.mark.parametrize(
    ("name", "parameterization"),
    [
        *((name, p) for name in MODELS if not name.startswith("resnet") for p in ("ntk", "standard")),
        ("resnet", "standard"),
        ("resnet layer norm", "ntk"),
    ],
)
def test_mean_kernel_of_finite_networks_is_that_of_infinite_width(name, parameterization):
    """Width n, s draws: the bias is of order 1/n and the standard error known, so |mean - limit| < 4 s.e. + c/n."""
    width, draws = (32, 16) if name.startswith("resnet") else (64, 24)
    model, shape = MODELS[name](width, parameterization)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(3, *shape)), jnp.float32)

    def finite(key):
        params = model.init(key, x)
        jacobian = jax.tree.leaves(jax.jacobian(model.apply)(params, x))
        rows = [entry.reshape(3, -1) for entry in jacobian]
        return sum(row @ row.T for row in rows)

    kernels = jax.lax.map(finite, jax.random.split(jax.random.key(0), draws))
    mean, error = kernels.mean(0), kernels.std(0, ddof=1) / math.sqrt(draws)
    limit = model.kernel(x)
    bound = 4 * error + 3 / width * jnp.abs(limit).max()
    assert jnp.all(jnp.abs(mean - limit) < bound), (mean / limit, error / limit)
    assert jnp.all(error < 0.15 * jnp.abs(limit).max())


def test_models_refuse_kernels_that_do_not_exist():
    x = jnp.ones((2, 4, 4, 1))
    for model, reason in (
        (dm.models.mlp([4], 1, parameterization="mup"), "learns features"),
        (dm.models.resnet(4, 2, 1, norm="batch", stages=(1,)), "batch"),
        (dm.models.lenet5(original=True), "C3"),
    ):
        with pytest.raises(ValueError, match=reason):
            model.kernel(x)


def test_strided_kernel_of_double_precision_agrees_with_single_precision():
    layers = [Conv(1), Activation("relu"), Conv(1, strides=(2, 2)), GlobalAverage(), Dense(1)]
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2))
    single = infinite_width(layers)(jnp.asarray(x, jnp.float32))
    with jax.enable_x64(True):
        double = infinite_width(layers)(jnp.asarray(x))
    assert double.dtype == jnp.float64
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_single_precision_agrees_with_double_precision():
    kernel = infinite_width(network(Activation("tanh"), 2, 1.5, 0.1))
    single = kernel(jnp.asarray(X, jnp.float32))
    assert single.dtype == jnp.float32
    with jax.enable_x64(True):
        double = kernel(jnp.asarray(X))
    assert double.dtype == jnp.float64
    np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", ["relu", "tanh", "elu"])
def test_kernel_is_differentiable_in_its_inputs_on_the_diagonal_too(function):
    with jax.enable_x64(True):
        kernel = infinite_width([Dense(1), Activation(function, num_nodes=10), Dense(1)])
        total = jax.jit(lambda x: kernel(x).sum())
        gradient = np.asarray(jax.jit(jax.grad(total))(X))
        direction = np.random.default_rng(0).normal(size=X.shape)
        slope = (total(X + 1e-6 * direction) - total(X - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)


def test_kernel_of_images_is_differentiable_in_its_inputs():
    with jax.enable_x64(True):
        kernel = infinite_width([Conv(1, strides=(2, 1)), Activation("relu"), Conv(1), GlobalAverage(), Dense(1)])
        x, direction = np.random.default_rng(0).normal(size=(2, 2, 4, 3, 2))
        total = jax.jit(lambda x: kernel(x).sum())
        gradient = np.asarray(jax.jit(jax.grad(total))(x))
        slope = (total(x + 1e-6 * direction) - total(x - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6)


def test_kernel_is_differentiable_in_the_weight_standard_deviation():
    with jax.enable_x64(True):
        relu = Activation("relu")
        ntk = lambda s: infinite_width([Dense(1, s), relu, Dense(1, s)])(X[:2])[0, 1]
        value, slope = jax.jit(jax.value_and_grad(ntk))(1.3)
        np.testing.assert_allclose(slope, 4 * value / 1.3, rtol=1e-10)  # homogeneous of degree 4


def test_records_with_equal_fields_are_different_layers():
    """As tuples Flatten() and GlobalAverage() are equal, and so are pools."""
    x = np.random.default_rng(0).normal(size=(2, 2, 2, 1))
    found = [
        infinite_width([Conv(1), Activation(), read_out, Dense(1)])(x)[0, 1]
        for read_out in (Flatten(), GlobalAverage(), GlobalSum())
    ]
    np.testing.assert_allclose(found[2], 16 * found[1], rtol=1e-5)
    assert abs(found[0] - found[1]) > 1e-3


def test_asking_twice_traces_the_activation_once():
    traces = []

    def activation(x):
        traces.append(x)
        return jnp.tanh(x)

    model = dm.models.mlp([5, 5], 1, activation=activation, parameterization="ntk")
    model.kernel(jnp.ones((2, 3)))
    first = len(traces)
    model.kernel(jnp.zeros((2, 3)))
    assert len(traces) == first > 0


@pytest.mark.parametrize("function", ["relu", "tanh"])
def test_kernel_lowers_for_cuda_and_tpu(function):
    kernel = infinite_width([Conv(1), Activation(function), Conv(1), LayerNorm(), GlobalAverage(), Dense(1)])
    lowered = jax.jit(kernel).trace(jnp.ones((2, 4, 4, 1))).lower(lowering_platforms=("cuda", "tpu"))
    assert "callback" not in lowered.as_text()
