"""The reviews of the repository."""

from pathlib import Path

import pytest

from dlmath import review

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("key", review.reviewed(ROOT))
def test_it_has_the_form_of_a_review_and_every_number_a_recorded_run(key, tmp_path):
    # A clean clone holds recorded claims but no stored figures.
    found = review.check(ROOT, key, results=tmp_path)
    assert [review.describe(problem, ROOT) for problem in found if "stored result" not in problem.message] == []
