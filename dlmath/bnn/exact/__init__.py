"""Exact posteriors, against which approximate ones are judged.

| network                             | posterior                                                                 |
|-------------------------------------|---------------------------------------------------------------------------|
| linear                              | `linear_gaussian`: mean, covariance, evidence, predictive                 |
| any, its last layer alone           | `last_layer`: the same                                                    |
| one hidden layer of width H         | `finite_width`: exact up to Monte Carlo errors that it states             |
| infinitely wide                     | `nngp`                                                                    |
"""

from dlmath.bnn._gaussian_process import nngp
from dlmath.bnn.exact._finite_width import FiniteWidth, finite_width
from dlmath.bnn.exact._linear_gaussian import LastLayer, LinearGaussian, last_layer, linear_gaussian

__all__ = ["FiniteWidth", "LastLayer", "LinearGaussian", "finite_width", "last_layer", "linear_gaussian", "nngp"]
