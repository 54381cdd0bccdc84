import io

import matplotlib
import numpy as np
import pytest

import dlmath as dm


def _linear(rgb):
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def test_style_restores_every_setting_even_after_an_exception():
    before = dict(matplotlib.rcParams)

    def fail():
        with dm.plot.style({"font.size": 20}):
            assert matplotlib.rcParams["font.size"] == 20
            assert matplotlib.rcParams["svg.hashsalt"] == "dlmath"
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert dict(matplotlib.rcParams) == before


def test_style_decorates_a_function_that_draws():
    @dm.plot.style()
    def draw():
        return dm.plot.figure().subplots().plot([0, 1])[0].get_color()

    assert draw() == dm.plot.COLORS[0]
    assert draw() == dm.plot.COLORS[0]


def test_figures_are_one_or_two_columns_wide_and_unknown_to_pyplot():
    import matplotlib.pyplot as plt

    assert dm.plot.figure().get_figwidth() == 3.4
    assert dm.plot.figure("page", height=3.0).get_size_inches().tolist() == [6.75, 3.0]
    assert dm.plot.figure(5.0).get_figwidth() == 5.0
    assert plt.get_fignums() == []


# Viénot, Brettel & Mollon (1999): the projections that simulate protanopia and deuteranopia in linear RGB.
@pytest.mark.parametrize(
    "projection",
    [
        np.eye(3),
        [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    ],
    ids=["normal", "protanopia", "deuteranopia"],
)
def test_colours_of_the_cycle_stay_distinct_under_colour_blindness(projection):
    from matplotlib.colors import to_rgb

    seen = _linear(np.array([to_rgb(color) for color in dm.plot.COLORS])) @ np.asarray(projection).T
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
    # Matplotlib's default cycle comes to .026 under protanopia and .068 under deuteranopia.
    assert distances.min() > 0.08


def test_saved_figures_are_vector_files_of_equal_bytes(tmp_path):
    def draw():
        with dm.plot.style():
            figure = dm.plot.figure()
            ax = figure.subplots()
            ax.plot([0, 1], [0, 1], label="a")
            ax.set(xlabel="time [τ]", ylabel="loss")
            ax.legend()
        return figure

    for suffix, opening in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
        first = dm.plot.save(draw(), tmp_path / "deep" / f"first.{suffix}").read_bytes()
        second = dm.plot.save(draw(), tmp_path / f"second.{suffix}").read_bytes()
        assert first.startswith(opening)
        assert first == second
    svg = (tmp_path / "second.svg").read_text()
    assert "<image" not in svg, "lines are vectors"
    assert "<text" not in svg, "text is outlines, independent of the fonts of the reader"


def test_a_figure_is_drawn_in_the_style_it_was_made_in():
    def draw(exponent):
        with dm.plot.style({"axes.formatter.min_exponent": exponent}):
            figure = dm.plot.figure()
            figure.subplots().set(xscale="log", xlim=(1e-3, 1e3))
        return figure

    def svg(figure):
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()

    plain, scientific = draw(4), draw(0)
    outside = svg(plain)
    with dm.plot.style({"axes.formatter.min_exponent": 0, "svg.fonttype": "none"}):
        assert svg(plain) == outside
    assert svg(scientific) != outside
    assert b"<text" not in outside


def test_a_failed_save_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"suffix must be one of .*did you mean 'svg'"):
        dm.plot.save(dm.plot.figure(), tmp_path / "a.svgz")
    assert list(tmp_path.iterdir()) == []
