"""Infinite-width kernels against closed forms and against ensembles of finite networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath.kernels import Activation, Conv, Dense, Flatten, GlobalAverage, LayerNorm, Residual, infinite_width

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


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "sin"])
def test_quadrature_agrees_with_the_closed_form_of_activations_that_have_one(name):
    with jax.enable_x64(True):
        function = dm.models.activations.get(name)
        closed, numerical = (infinite_width(network(Activation(f), 1, 2.0, 0.1)) for f in (name, lambda x: function(x)))
        for get in ("nngp", "ntk"):
            np.testing.assert_allclose(numerical(X, get=get), closed(X, get=get), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "elu"])
def test_kernels_by_quadrature_equal_gaussian_integrals_on_a_fine_grid(name):
    """One layer, E φ(u)φ(v) and E φ'(u)φ'(v) by the midpoint rule on 4000² points of [-9, 9]²."""
    z = -9 + 18 * (np.arange(4000) + 0.5) / 4000
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    phi = {
        "tanh": np.tanh,
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "softplus": lambda x: np.logaddexp(0, x),
        "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    }[name]
    slope = {
        "tanh": lambda x: 1 / np.cosh(x) ** 2,
        "sigmoid": lambda x: 1 / (2 + 2 * np.cosh(x)),
        "softplus": lambda x: 1 / (1 + np.exp(-x)),
        "elu": lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
    }[name]
    k11, k12, k22 = (2 * X[i] @ X[j] / 3 for i, j in ((0, 0), (0, 2), (2, 2)))
    u = math.sqrt(k11) * z
    rows = lambda f: sum(
        (weight[i : i + 400] * f(u[i : i + 400]))
        @ f(k12 / k11 * u[i : i + 400, None] + math.sqrt(k22 - k12**2 / k11) * z)
        @ weight
        for i in range(0, 4000, 400)
    )
    with jax.enable_x64(True):
        kernel = infinite_width([Dense(1, math.sqrt(2)), Activation(name), Dense(1)])
        nngp, ntk = (kernel(X[:1], X[2:], get=get)[0, 0] for get in ("nngp", "ntk"))
    np.testing.assert_allclose(nngp, rows(phi), rtol=1e-6)
    np.testing.assert_allclose(ntk, rows(phi) + k12 * rows(slope), rtol=1e-5)


def test_ntk_of_a_scaled_relu_network_grows_linearly_with_depth():
    with jax.enable_x64(True):
        for depth in (1, 2, 5):
            kernel = infinite_width(network(Activation("relu"), depth, 2.0, 0.0))
            np.testing.assert_allclose(np.diag(kernel(X)), (depth + 1) * 2 * (X**2).sum(1) / 3, rtol=1e-8)


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


def test_kernel_is_differentiable_in_its_inputs_on_the_diagonal_too():
    kernel = infinite_width([Dense(1), Activation("tanh"), Dense(1)])
    gradient = jax.jit(jax.grad(lambda x: kernel(x).sum()))(jnp.asarray(X, jnp.float32))
    assert jnp.isfinite(gradient).all()


def test_kernel_is_differentiable_in_the_weight_standard_deviation():
    with jax.enable_x64(True):
        relu = Activation("relu")
        ntk = lambda s: infinite_width([Dense(1, s), relu, Dense(1, s)])(X[:2])[0, 1]
        value, slope = jax.jit(jax.value_and_grad(ntk))(1.3)
        np.testing.assert_allclose(slope, 4 * value / 1.3, rtol=1e-10)  # homogeneous of degree 4


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
    jax.jit(kernel).trace(jnp.ones((2, 4, 4, 1))).lower(lowering_platforms=("cuda", "tpu"))
