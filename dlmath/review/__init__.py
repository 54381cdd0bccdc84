"""Reviews of papers whose numbers cannot go stale: written in Markdown, filled from stored runs, checked, built.

A paper under review has a folder `paper_reviews/<key>/` with `proposal.md`, `review.md` and `slides.md`, and an
entry in `paper_reviews/refs.bib`. What was measured is never typed: `{{ claim("peak").ours }}` and
`{{ figure("risk") }}` are filled from the results of `experiments/<key>.py`.
"""

from dlmath.review._build import build, render
from dlmath.review._check import check
from dlmath.review._layout import DOCUMENTS, SECTIONS, reviewed
from dlmath.review._problem import Problem, ReviewError, describe
from dlmath.review._scaffold import Scaffold, scaffold

__all__ = [
    "DOCUMENTS",
    "Problem",
    "ReviewError",
    "SECTIONS",
    "Scaffold",
    "build",
    "check",
    "describe",
    "render",
    "reviewed",
    "scaffold",
]
