"""Networks as pure functions."""

from dlmath.models import activations, initializers
from dlmath.models._adapters import from_equinox, from_linen, from_nnx, from_stax
from dlmath.models._cnn import cnn
from dlmath.models._coordinate_check import coordinate_check
from dlmath.models._describe import Description, LayerSummary, count_parameters, describe
from dlmath.models._lenet import lenet5
from dlmath.models._mlp import mlp
from dlmath.models._model import Layer, Model, freeze, frozen_apply, preactivations
from dlmath.models._parameterization import learning_rates, scale_by_learning_rates
from dlmath.models._pooled_cnn import pooled_cnn
from dlmath.models._random_features import random_features
from dlmath.models._resnet import resnet
from dlmath.models._rnn import rnn
from dlmath.models._transformer import transformer

__all__ = [
    "Description",
    "Layer",
    "LayerSummary",
    "Model",
    "activations",
    "cnn",
    "coordinate_check",
    "count_parameters",
    "describe",
    "freeze",
    "frozen_apply",
    "from_equinox",
    "from_linen",
    "from_nnx",
    "from_stax",
    "initializers",
    "learning_rates",
    "lenet5",
    "mlp",
    "pooled_cnn",
    "preactivations",
    "random_features",
    "resnet",
    "rnn",
    "scale_by_learning_rates",
    "transformer",
]
