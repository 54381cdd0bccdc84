"""Axis labels from xarray's names and units, without importing xarray."""

from typing import Any

from matplotlib.axes import Axes


def label_of(array: Any, dimension: str | None = None) -> str:
    """The label of a DataArray, or of one of its dimensions: `long_name [units]`, else the name, else ""."""
    if not hasattr(array, "dims"):
        return ""
    if dimension is not None:
        if dimension not in array.coords:
            return str(dimension).replace("_", " ")
        array = array.coords[dimension]
    name = array.attrs.get("long_name") or str(array.name or "").replace("_", " ")
    units = array.attrs.get("units")
    return f"{name} [{units}]" if units else name


def label_axes(ax: Axes, x: str = "", y: str = "") -> None:
    """Sets the labels that are not yet set."""
    if x and not ax.get_xlabel():
        ax.set_xlabel(x)
    if y and not ax.get_ylabel():
        ax.set_ylabel(y)
