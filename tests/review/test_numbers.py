"""Which digits may be typed where results are told."""

import pytest

from dlmath.review._numbers import numbers_in_formula, numbers_in_text


@pytest.mark.parametrize(
    "text",
    [
        "as in Fig. 2, Figs. 1 and 3, Figure 4a, Table 1, Section 3.1, Sec. 5, Theorem 1, Lemma 2, Appendix A.2",
        "by eq. (9), Eq. (2.7), equations (3)–(5), eqs. (1), (2) and (4), p. 12, pp. 3–7, § 4",
        "on CIFAR-10, CIFAR-10's test set, MNIST-1D, in float64, with ResNet-18, ℓ2 penalties, W1 and x86_64, in 2D",
        "“Fig. 2”, (Theorem 1) and *Section 3*; Fig. 2(b)",
        "on arXiv:1903.08560 and in Fig.\u00a02",
        "no digits at all",
    ],
)
def test_references_and_names_are_no_numbers(text):
    assert numbers_in_text(text) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("an error of 2.5 at n = 20", ["2.5", "20"]),
        ("at n=200, or (0.5), or 3%", ["n=200", "0.5", "3%"]),
        ("a 3-layer network with 1e-3 and 10k steps", ["3-layer", "1e-3", "10k"]),
        ("Fig. 2 shows 7 points", ["7"]),
        ("the figure is 7", ["7"]),
        ("γ≈1.8 and ±0.1 and −3", ["γ≈1.8", "±0.1", "−3"]),
        ("1,000 seeds in 2026", ["1,000", "2026"]),
    ],
)
def test_numbers_are_found_in_text(text, numbers):
    assert numbers_in_text(text) == numbers


@pytest.mark.parametrize(
    ("formula", "numbers"),
    [
        (r"W_1 x^2 + a_{10}^{2k+1} \ell_2 \|w\|_2^2", []),
        (r"x_{a_{1}} \\[2pt] y \tag{9}", []),
        (r"n = 200", ["200"]),
        (r"\gamma = 0.5", ["0.5"]),
        (r"\frac12 x^{2}", ["12"]),
        (r"10^{-3}", ["10"]),
    ],
)
def test_numbers_are_found_in_formulas_but_not_in_scripts(formula, numbers):
    assert numbers_in_formula(formula) == numbers
