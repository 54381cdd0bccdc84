import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize("frequency", [0, 1, 2, 3, 8])
def test_the_closed_form_is_the_integral_of_the_kernel(paper, frequency):
    kernel = lambda t: (np.sin(t) + 2 * (np.pi - t) * np.cos(t)) / np.pi
    integral = quad(lambda t: kernel(t) * np.cos(frequency * t), 0, np.pi, epsabs=1e-13)[0] / np.pi
    assert paper.theory(None, frequency) == pytest.approx(integral, abs=1e-12)


def test_the_spectrum_is_that_of_the_gram_matrix_of_evenly_spaced_points(paper):
    x = paper.circle(2 * np.pi * np.arange(16) / 16)
    values = np.linalg.eigvalsh(np.asarray(paper.network(1, 0.5).kernel(x)) / 16)[::-1]
    found = paper.eigenvalues(0.5, 16)
    expected = np.sort(np.concatenate([found, found[1:-1]]))[::-1]  # sine and cosine of all but the first and last
    np.testing.assert_allclose(expected, values, atol=1e-12)


def test_the_kink_is_the_slope_of_the_kernel_at_angle_zero(paper):
    # A kernel of the form K(0) − a|θ| + … has the Fourier coefficients a/(πk²) + …
    step = 1e-5
    row = np.asarray(paper.network(1, 0.7).kernel(paper.circle(np.zeros(1)), paper.circle(np.array([0.0, step])))[0])
    assert paper.kink(0.7) == pytest.approx((row[0] - row[1]) / step / np.pi, rel=1e-4)


def test_coefficients_are_amplitudes(paper):
    t = 2 * np.pi * np.arange(32) / 32
    found = paper.coefficients(3 * np.sin(2 * t + 0.4) - 0.5 * np.cos(5 * t), (2, 4, 5))
    np.testing.assert_allclose(np.abs(found), [3, 0, 0.5], atol=1e-12)


def test_a_time_is_where_a_decay_crosses_the_level(paper):
    steps = np.array([0, 1, 10, 20])
    errors = np.stack([np.exp(-0.2 * steps), np.exp(-0.01 * steps), 0.3 * np.exp(-steps)], axis=1)
    found = paper.first_at(errors, steps, 0.4)
    np.testing.assert_allclose(found, [-np.log(0.4) / 0.2, np.inf, 0.0])


def test_the_delay_is_the_smallest_ratio_of_neighbours(paper):
    times = xr.DataArray([[12.0, 3.0, 6.0], [5.0, 10.0, 2.0]], {"sine": [4, 1, 2]}, ("seed", "sine"))
    np.testing.assert_allclose(paper._delay(times, "sine"), [2.0, 0.2])
