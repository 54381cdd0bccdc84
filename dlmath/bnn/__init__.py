"""Bayesian neural networks as pure functions, judged against exact posteriors.

`posterior` makes the density, an inference draws from it or approximates it, `predict` averages predictions, `metrics` score
them, and `exact` holds the posteriors that are known.

>>> import dlmath as dm
>>> sorted(dm.bnn.exact.__all__)[-4:]
['finite_width', 'last_layer', 'linear_gaussian', 'nngp']
"""

from dlmath.bnn import exact, likelihoods, metrics, priors
from dlmath.bnn._augmentation import augment, invariant
from dlmath.bnn._ensemble import ensemble
from dlmath.bnn._evidence import Evidence, maximize_evidence
from dlmath.bnn._gaussian_process import nngp, ntk_gp
from dlmath.bnn._hmc import hmc, nuts
from dlmath.bnn._langevin import sghmc, sgld
from dlmath.bnn._laplace import Laplace, laplace
from dlmath.bnn._mc_dropout import mc_dropout
from dlmath.bnn._mode import Mode, mode
from dlmath.bnn._numpyro import numpyro_model, to_arviz
from dlmath.bnn._posterior import Posterior, posterior, sample_prior
from dlmath.bnn._predict import Predictive, predict
from dlmath.bnn._samples import Diagnostics, Samples, concatenate, diagnose
from dlmath.bnn._svgd import svgd
from dlmath.bnn._swag import swag
from dlmath.bnn._variational import Variational, mean_field

RESULTS_VERSION = 1
"""Raised when the numbers this subpackage returns change: stored results are then computed again."""

__all__ = [
    "Diagnostics",
    "Evidence",
    "Laplace",
    "Mode",
    "Posterior",
    "Predictive",
    "RESULTS_VERSION",
    "Samples",
    "Variational",
    "augment",
    "concatenate",
    "diagnose",
    "ensemble",
    "exact",
    "hmc",
    "invariant",
    "laplace",
    "likelihoods",
    "maximize_evidence",
    "mc_dropout",
    "mean_field",
    "metrics",
    "mode",
    "nngp",
    "ntk_gp",
    "numpyro_model",
    "nuts",
    "posterior",
    "predict",
    "priors",
    "sample_prior",
    "sghmc",
    "sgld",
    "svgd",
    "swag",
    "to_arviz",
]
