"""Reports: a static site of all papers and claims, and two runs of a paper side by side.

Everything is read from stored runs, byte by byte against their manifests; nothing is measured here. The pages hold
their styles and figures, and load nothing.
"""

from dlmath.report._compare import Comparison, Difference, Shift, compare, find_run, spread
from dlmath.report._pages import comparison_page
from dlmath.report._site import Site, site

__all__ = [
    "Comparison",
    "Difference",
    "Shift",
    "Site",
    "compare",
    "comparison_page",
    "find_run",
    "site",
    "spread",
]
