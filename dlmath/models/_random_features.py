"""Random features: a two-layer network whose first layer is not trained."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dlmath import check
from dlmath.models import activations
from dlmath.models._layers import batch_shape, dense, expect_layers, init_weights
from dlmath.models._model import Layer, Model
from dlmath.models._parameterization import scalings
from dlmath.typing import Key


def random_features(
    key: Key,
    num_inputs: int,
    num_features: int,
    outputs: int,
    *,
    activation: str | Callable[[Any], Any] = "relu",
    parameterization: str = "standard",
    weight_std: ArrayLike | Sequence[Any] | None = None,
    bias_std: ArrayLike | Sequence[Any] | None = None,
    initializer: Any = None,
) -> Model:
    """Random-feature model y = φ(W x + b) A, with W and b drawn once and A to be trained.

    The features are those of the first hidden layer of `mlp([num_features], outputs)`, drawn here by `key` and held
    fixed; they are not parameters. The only parameters are the read-out, ({"weight": A [num_features, outputs]},),
    so the model is linear in them. In the NTK parameterization y = σ_w/√num_features · φ(σ_w/√d W x) A.

    Args:
        key: draws W and b.
        num_inputs: dimension d of the inputs.
        num_features: number of features.
        outputs: number of outputs.
        activation: a name from `models.activations` or any function of an array.
        parameterization: "standard" or "ntk", see `mlp`.
        weight_std: σ_w ≥ 0, one number or one each for W and A; None means √2.
        bias_std: σ_b ≥ 0, one number or one each for b and the bias of the read-out; None for none.
        initializer: as for `mlp`.

    Returns:
        A Model on x[batch, num_inputs] with outputs [batch, outputs]. `apply` is a `jax.tree_util.Partial` over W and
        b; the features themselves are `layers(params, x)[0].output`. `kernel(x1, x2)` is exact, the kernel of these features: the NTK m² φ(x1)·φ(x2) (+ σ² or 1 for a bias), or
        with get="nngp" the covariance of the outputs over the draw of A.

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    Cost of `apply`: batch · num_inputs · num_features multiply-adds. Rahimi & Recht 2007; Mei & Montanari 2019
    (1908.05355), eq. 1.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = random_features(jax.random.key(0), 3, 100, 1)
    >>> dm.models.count_parameters(model.init(jax.random.key(1), jnp.ones((2, 3))))
    100
    """
    check.key("key", key)
    num_inputs = check.positive_int("num_inputs", num_inputs)
    num_features = check.positive_int("num_features", num_features)
    outputs = check.positive_int("outputs", outputs)
    phi = activations.get(activation)
    check.one_of("parameterization", parameterization, ("standard", "ntk"))
    first, last = scalings(2, parameterization, weight_std, bias_std, initializer)
    frozen = init_weights(key, first, (num_inputs, num_features))

    def init(key: Any, x: Any) -> Any:
        check.key("key", key)
        batch_shape(x, 2, "[batch, features]")
        return (init_weights(key, last, (num_features, outputs)),)

    def features(frozen: Any, x: Any) -> Any:
        batch_shape(x, 2, "[batch, features]")
        return phi(dense(frozen, first, x))

    def layers_at(frozen: Any, params: Any, x: Any) -> tuple[Layer, ...]:
        expect_layers(params, 1)
        z = features(frozen, x)
        return Layer("features", {}, z), Layer("dense", params[0], dense(params[0], last, z))

    def apply_at(frozen: Any, params: Any, x: Any) -> Any:
        return layers_at(frozen, params, x)[-1].output

    def kernel_at(frozen: Any, x1: Any, x2: Any = None, *, get: str = "ntk") -> Any:
        check.one_of("get", get, ("ntk", "nngp"))
        if get == "nngp" and last.weight is not None:
            raise ValueError("initializer must be None for get='nngp', which is the covariance under weight_std")
        # A linear map of the features: its kernel is that of the one-layer network on top of them.
        ntk = parameterization == "ntk"
        weight = last.weight_std**2 / num_features if ntk or get == "nngp" else 1.0
        bias = 0.0 if last.bias_std is None else (last.bias_std**2 if ntk or get == "nngp" else 1.0)
        left = features(frozen, x1)
        right = left if x2 is None else features(frozen, x2)
        return weight * jnp.matmul(left, right.T, precision="highest") + bias

    apply, kernel, layers = (jax.tree_util.Partial(f, frozen) for f in (apply_at, kernel_at, layers_at))
    return Model(init, apply, kernel, layers)
