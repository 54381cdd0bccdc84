"""Langevin-family kernels for `numpyro.infer.MCMC`, each with its law on a Gaussian in closed form.

A target is given as a numpyro model, as a potential U = −log density, or as its score s = −∇U alone.
"""

__all__: list[str] = []
