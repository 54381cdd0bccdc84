"""Loads neural-tangents on the JAX of today."""
