"""Where the public data sets are, for the tests that read them."""

import os

import pytest


@pytest.fixture
def public_data():
    """The folder named by DLMATH_DATA; the test is skipped where there is none."""
    folder = os.environ.get("DLMATH_DATA")
    if not folder:
        pytest.skip("DLMATH_DATA is not set: the public data sets are not on this machine")
    return folder
