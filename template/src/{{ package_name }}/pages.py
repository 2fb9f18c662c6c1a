"""What every page shares: its layout and filters, and drawings as SVG in the page's own colours, light and dark."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from . import credentials
from .training.rounds import metric_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# matplotlib draws in these colours; the page says what they stand for.
INK, MUTED, LINE, ACCENT, BAD = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent", BAD: "--bad"}
STYLE = {
    "axes.edgecolor": LINE, "axes.grid": True, "axes.grid.axis": "x", "axes.axisbelow": True,
    "axes.labelcolor": MUTED, "axes.labelsize": 11, "axes.spines.left": False,
    "axes.spines.right": False, "axes.spines.top": False, "figure.constrained_layout.use": True,
    "font.family": "sans-serif", "font.size": 11, "grid.color": LINE, "grid.linewidth": 0.8,
    "svg.fonttype": "none", "svg.hashsalt": "report", "text.color": INK, "text.parse_math": False,
    "xtick.color": MUTED, "xtick.major.size": 0, "ytick.color": INK, "ytick.major.size": 0,
}  # fmt: skip
DASHED: Any = {"color": MUTED, "linewidth": 1, "linestyle": (0, (3, 3))}


def render(template: str, package: str, **values: Any) -> str:
    """A template of the package, with the filters that all of them use."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: Any = {"number": number, "signed": "{:+.3f}".format, "cell": cell, "name": metric_name}
    environment.filters |= filters
    return credentials.mask(environment.get_template(template).render(package=package, **values))


def number(value: float | None) -> str:
    """Three decimals, or three digits of what is larger."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def cell(value: Any) -> str:
    """Text that stays in its cell of a Markdown table and calls nobody."""
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;").replace("@", "&#64;")


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def forecasts(axes: Axes, came: pd.Series, said: Sequence[pd.Series]) -> None:
    """What came on each date over what was forecast of it, at the longest horizon first."""
    from matplotlib.dates import AutoDateLocator

    for line, alpha in zip(said, (0.35, 1.0), strict=True):
        axes.plot(line.index, line, color=ACCENT, alpha=alpha, linewidth=1.5)
    axes.plot(came.index, came, ".", color=INK, markersize=4)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=6))


def svg(name: str, height: int, paint: Callable[[Axes], None]) -> str:
    """A drawing as an <svg> element, 420 points wide."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(420 / 72, height / 72))
        paint(figure.add_subplot())
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = text.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        drawn = drawn.replace(colour, f"var({variable})")
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
