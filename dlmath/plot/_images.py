"""Fields on a grid and tiled images."""

from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, LogNorm, Normalize

from dlmath import check
from dlmath.plot._labels import label_axes, label_of
from dlmath.plot._statistics import values_of

_MISSING = "0.75"


def heatmap(
    ax: Axes,
    values: Any,
    *,
    x: Any = None,
    y: Any = None,
    label: str | None = None,
    log: bool = False,
    center: float | None = None,
    contours: Any = None,
) -> ScalarMappable:
    """A matrix as coloured cells with a colour bar; entries that are not finite are grey and crossed.

    Args:
        ax: where to draw.
        values: [row, column] array or DataArray; row 0 is at the bottom.
        x: [column] centres of the cells; a DataArray's coordinate or 0, 1, ... by default.
        y: [row] centres of the cells.
        label: of the colour bar, with units.
        log: a logarithmic colour scale; finite values must be positive.
        center: a diverging colour map centred here, for signed quantities.
        contours: levels of contour lines drawn on top, or None.

    Returns:
        The colour scale.
    """
    if log and center is not None:
        raise ValueError("log and center exclude each other: a logarithmic scale has no centre; drop one")
    matrix = values_of("values", values, ndim=2)
    centers = []
    for dimension, given, axis in (("y", y, 0), ("x", x, 1)):
        if given is None and hasattr(values, "dims"):
            name = str(values.dims[axis])
            label_axes(ax, **{dimension: label_of(values, name)})
            given = values.coords.get(name)
        if given is None:
            given = np.arange(matrix.shape[axis])
        label_axes(ax, **{dimension: label_of(given)})
        given = values_of(dimension, given, ndim=1, finite=True)
        if len(given) != matrix.shape[axis]:
            raise ValueError(f"{dimension} must have {matrix.shape[axis]} entries as values has, got {len(given)}")
        centers.append(given)
    rows, columns = centers
    shown = np.ma.masked_invalid(matrix)
    if shown.mask.all():
        raise ValueError("values must have a finite entry, got only NaN or infinity")
    if log and shown.min() <= 0:
        raise ValueError(f"values must be positive when log is set, got a smallest value of {float(shown.min()):g}")
    cmap = mpl.colormaps["RdBu_r" if center is not None else mpl.rcParams["image.cmap"]].with_extremes(bad=_MISSING)
    norm = LogNorm() if log else Normalize() if center is None else CenteredNorm(check.real("center", center))
    # Rasterised: thousands of vector cells make slow pages and hairlines between them.
    mesh = ax.pcolormesh(columns, rows, shown, cmap=cmap, norm=norm, shading="nearest", rasterized=True)
    if np.ma.is_masked(shown):
        i, j = np.nonzero(np.ma.getmaskarray(shown))
        ax.plot(columns[j], rows[i], "x", color="black", markersize=3)
    if contours is not None:
        levels = np.sort(values_of("contours", contours, ndim=1, finite=True))
        drawn = ax.contour(columns, rows, shown, levels=levels, colors="white", linewidths=0.8)
        ax.clabel(drawn, fontsize=6)
    bar = ax.get_figure().colorbar(mesh, ax=ax)  # pyright: ignore[reportOptionalMemberAccess]
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.set_label(label if label is not None else label_of(values))
    return mesh


def image_grid(
    ax: Axes,
    images: Any,
    *,
    num_columns: int | None = None,
    value_range: tuple[float, float] | None = (0.0, 1.0),
) -> Float[np.ndarray, "height width *channels"]:
    """Images tiled row by row with a gap of one pixel, in one axes without ticks.

    Args:
        ax: where to draw.
        images: [image, height, width], [image, height, width, 1] or [image, height, width, 3], finite.
        num_columns: images per row; about √n by default.
        value_range: values shown as black and white; None for the images' own minimum and maximum.

    Returns:
        The tiled picture, scaled to [0, 1]; values outside the range are clipped.

    >>> from matplotlib.figure import Figure
    >>> image_grid(Figure().subplots(), [[[0.0]], [[0.5]], [[0.25]]], num_columns=2).tolist()
    [[0.0, 1.0, 0.5], [1.0, 1.0, 1.0], [0.25, 1.0, 1.0]]
    """
    values = values_of("images", images, ndim=(3, 4), finite=True)
    if values.ndim == 4:
        if values.shape[3] not in (1, 3):
            raise ValueError(f"images must have 1 or 3 channels last, got shape {values.shape}")
        values = values[..., 0] if values.shape[3] == 1 else values
    low, high = value_range if value_range is not None else (values.min(), values.max())
    if low > high or (value_range is not None and low == high):
        raise ValueError(f"value_range must be increasing, got {value_range}")
    values = np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)
    count, height, width = values.shape[:3]
    columns = int(np.ceil(np.sqrt(count))) if num_columns is None else check.positive_int("num_columns", num_columns)
    columns = min(columns, count)
    rows = -(-count // columns)
    picture = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, *values.shape[3:]))
    for index, image in enumerate(values):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        picture[top : top + height, left : left + width] = image
    ax.imshow(picture, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    ax.set_axis_off()
    return picture
