"""Malformed keys, authors, documents, scales and folders of reviews."""

import tempfile

from dlmath import review
from dlmath.cli import _new, _review


def scaffolded(key="gauss1809theoria", **options):
    with tempfile.TemporaryDirectory() as folder:
        return review.scaffold(folder, key, **options)


def twice():
    with tempfile.TemporaryDirectory() as folder:
        review.scaffold(folder, "gauss1809theoria")
        review.scaffold(folder, "gauss1809theoria")


def reviewed(function, *arguments, key="gauss1809theoria", **options):
    with tempfile.TemporaryDirectory() as folder:
        review.scaffold(folder, "gauss1809theoria")
        return function(folder, key, *arguments, **options)


CASES = [
    ("key in capitals", lambda: scaffolded("Gauss1809"), ValueError, r"key must be first author.*; did you mean 'gauss1809'"),
    ("key with a dash", lambda: scaffolded("gauss-1809"), ValueError, "key must be first author, year.*did you mean 'gauss1809'"),
    ("key that is a path", lambda: scaffolded("../gauss"), ValueError, "key must be first author, year and a word"),
    ("empty key", lambda: scaffolded(""), ValueError, "key must be first author"),
    ("key that is a keyword", lambda: scaffolded("lambda"), ValueError, "key must be first author"),
    ("number for a key", lambda: scaffolded(1809), TypeError, "key must be text such as hastie2022surprises, got 1809"),
    ("arXiv number", lambda: scaffolded(arxiv="19.03"), ValueError, "arxiv must be a number such as 1903.08560"),
    ("year", lambda: scaffolded(year=22), ValueError, "year must be at least 1600, got 22"),
    ("year as text", lambda: scaffolded(year="2022"), TypeError, "year must be an integer, got '2022'"),
    ("empty author", lambda: scaffolded(authors=[""]), ValueError, "authors must be text, got ''"),
    ("scaffold twice", twice, ValueError, r"gauss1809theoria exists already: experiments/gauss1809theoria\.py"),
    ("unknown paper", lambda: reviewed(review.check, key="gaus1809theoria"), ValueError, "no review 'gaus1809theoria'.*did you mean 'gauss1809theoria'"),
    ("unknown document", lambda: reviewed(review.check, documents=["slide"]), ValueError, "documents must be one of .*did you mean 'slides'"),
    ("unknown scale", lambda: reviewed(review.check, scale="big"), ValueError, "scale must be one of 'smoke', 'laptop', 'paper', got 'big'"),
    ("unknown paper to build", lambda: reviewed(review.build, key="x"), ValueError, "no review 'x'.*dlmath new x writes a scaffold"),
    ("unknown scale to build", lambda: reviewed(review.build, scale="smok"), ValueError, "scale must be .*did you mean 'smoke'"),
    ("unknown document to render", lambda: reviewed(review.render, "reviews"), ValueError, "document must be .*did you mean 'review'"),
    ("review without results", lambda: reviewed(review.render, "review"), review.ReviewError, "'run' has no result behind it .*dlmath run gauss1809theoria"),
    ("unknown action", lambda: _review.main(["chek"]), ValueError, "review command must be .*'check'"),
    ("no key to check", lambda: _review.main(["check"]), ValueError, "review check needs a paper's key or --all"),
    ("no key to scaffold", lambda: _new.main([]), SystemExit, "2"),
]  # fmt: skip
