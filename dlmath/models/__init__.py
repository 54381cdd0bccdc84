"""Networks as pure functions."""

from dlmath.models._model import Layer, Model, freeze, preactivations

__all__ = [
    "Layer",
    "Model",
    "freeze",
    "preactivations",
]
