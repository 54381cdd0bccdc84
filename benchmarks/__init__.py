"""Benchmarks: each peer side by side in one run; results with their environment in `benchmarks/results/`."""
