"""Classifiers: decision regions in the plane, confusion matrices."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from dlmath import check
from dlmath.plot._statistics import values_of
from dlmath.plot._style import COLORS


def decision_boundary(
    ax: Axes,
    scores: Callable[[Any], Any],
    x: Any,
    labels: Any,
    *,
    resolution: int = 200,
    margin: float = 0.1,
) -> Int[np.ndarray, "resolution resolution"]:
    """The regions where a classifier of the plane answers each class, and the labelled points.

    Args:
        ax: where to draw.
        scores: points[n, 2] -> [n] or [n, 1] (class 1 where positive, the boundary is the zero level),
            or [n, k] (the largest wins). Called once, with resolution² float32 points.
        x: [point, 2], finite.
        labels: [point] integers 0, ..., k-1; or -1 and 1.
        resolution: grid points along each axis.
        margin: how far the picture reaches beyond the points, as a fraction of their range.

    Returns:
        The predicted class at each grid point, [row, column], row 0 at the bottom.

    >>> from matplotlib.figure import Figure
    >>> decision_boundary(
    ...     Figure().subplots(), lambda p: p[:, 0], [[-1.0, 0.0], [1.0, 1.0]], [0, 1], resolution=4
    ... )[0].tolist()
    [0, 0, 1, 1]
    """
    check.callable_("scores", scores)
    resolution = check.integer("resolution", resolution, at_least=2)
    margin = check.real("margin", margin, at_least=0.0)
    points = values_of("x", x, ndim=2, finite=True)
    if points.shape[1] != 2:
        raise ValueError(f"x must be [point, 2], got shape {points.shape}; project it to a plane first")
    classes = _classes("labels", labels)
    check.same_length("x", points, "labels", classes)
    classes = np.where(classes == -1, 0, classes)
    low, high = points.min(axis=0), points.max(axis=0)
    reach = np.where(high > low, (high - low) * margin, 1.0)
    horizontal, vertical = (np.linspace(low[i] - reach[i], high[i] + reach[i], resolution) for i in (0, 1))
    grid = np.stack(np.meshgrid(horizontal, vertical), axis=-1).reshape(-1, 2).astype(np.float32)
    answers = values_of("scores(x)", scores(grid), ndim=(1, 2), finite=True)
    if len(answers) != len(grid):
        raise ValueError(f"scores must return one row per point, got {len(answers)} rows for {len(grid)} points")
    if answers.ndim == 1 or answers.shape[1] == 1:
        predicted = (answers.reshape(-1) > 0).astype(np.int64)
    else:
        predicted = answers.argmax(axis=1)
    num_classes = max(int(classes.max()), int(predicted.max())) + 1
    if num_classes > len(COLORS):
        raise ValueError(f"labels must have at most {len(COLORS)} classes, one per colour, got {num_classes}")
    predicted = predicted.reshape(resolution, resolution)
    cmap = ListedColormap(COLORS[:num_classes])
    ax.pcolormesh(
        horizontal, vertical, predicted, cmap=cmap, vmin=-0.5, vmax=num_classes - 0.5, alpha=0.25,
        shading="nearest", rasterized=True, linewidth=0,
    )  # fmt: skip
    for surface in _margins(answers):
        # A zero level that leaves the picture is not a boundary to draw (and Matplotlib would warn).
        if surface.min() < 0 < surface.max():
            surface = surface.reshape(resolution, resolution)
            ax.contour(horizontal, vertical, surface, levels=[0.0], colors="black", linewidths=0.6)
    for index in range(num_classes):
        chosen = points[classes == index]
        if len(chosen):
            marker = "os^Dv<>"[index]
            ax.plot(
                *chosen.T, marker, color=COLORS[index], markeredgecolor="white", markeredgewidth=0.4, markersize=4,
                label=f"class {index}",
            )  # fmt: skip
    return predicted


def confusion_matrix(
    ax: Axes,
    targets: Any,
    predictions: Any,
    *,
    names: Sequence[str] | None = None,
) -> Int[np.ndarray, "classes classes"]:
    """Counts of (target, prediction) pairs, written in the cells, coloured by the share of their row.

    Args:
        ax: where to draw.
        targets: [example] integers 0, ..., k-1.
        predictions: [example] integers 0, ..., k-1.
        names: of the classes; 0, 1, ... by default.

    Returns:
        counts[target, prediction].

    >>> from matplotlib.figure import Figure
    >>> confusion_matrix(Figure().subplots(), [0, 0, 1], [0, 1, 1]).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = [_classes("targets", targets), _classes("predictions", predictions)]
    check.same_length("targets", pairs[0], "predictions", pairs[1])
    for argument, given in zip(("targets", "predictions"), pairs, strict=True):
        if given.min() < 0:
            raise ValueError(f"{argument} must be integers from 0, got {given.min()}")
    num_classes = max(int(given.max()) for given in pairs) + 1
    names = [str(index) for index in range(num_classes)] if names is None else [str(name) for name in names]
    if len(names) < num_classes:
        raise ValueError(f"names must name all {num_classes} classes, got {len(names)}")
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, tuple(pairs), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    size = 7 if len(names) <= 6 else 5
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, column] > 0.5 else "black"
            ax.text(column, row, str(count), ha="center", va="center", color=color, fontsize=size)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=ax.get_xlabel() or "predicted class", ylabel=ax.get_ylabel() or "true class")
    return counts


def _margins(answers: np.ndarray) -> list[np.ndarray]:
    """Functions on the grid whose zero levels are the boundaries: s, or s_k - max of the others for each k."""
    if answers.ndim == 1 or answers.shape[1] == 1:
        return [answers.reshape(-1)]
    others = [np.delete(answers, k, axis=1).max(axis=1) for k in range(answers.shape[1])]
    return [answers[:, k] - other for k, other in enumerate(others)]


def _classes(argument: str, labels: Any) -> np.ndarray:
    values = values_of(argument, labels, ndim=1, finite=True)
    if not (values == np.round(values)).all() or values.min() < -1:
        raise ValueError(
            f"{argument} must be class numbers 0, 1, ..., got {np.unique(values)[:5]}; take the argmax first"
        )
    return values.astype(np.int64)
