"""Synthetic generators and real data sets."""
