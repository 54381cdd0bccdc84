"""Malformed calls, one module for each part of dlmath.

Each module holds `CASES = [(name, call, exception type, regular expression for its message), ...]`. They run as
a user's would, without the type checks of the other tests: see `tests/test_bad_input.py`.
"""
