"""Double descent: exact asymptotics of the test error, and estimators whose curves are compared with them.

Theory is in the limit of many samples and many features at a fixed ratio, as a closed form or as the solution of one
scalar equation; everything can be compiled, mapped over and differentiated.
"""

from dlmath.double_descent._marchenko_pastur import (
    SpectralRule,
    marchenko_pastur_density,
    marchenko_pastur_rule,
    marchenko_pastur_support,
)

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "RESULTS_VERSION",
    "SpectralRule",
    "marchenko_pastur_density",
    "marchenko_pastur_rule",
    "marchenko_pastur_support",
]
