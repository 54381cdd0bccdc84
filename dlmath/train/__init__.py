"""Compiled training loops."""
