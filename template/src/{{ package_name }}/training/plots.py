"""The drawings of a report: SVG whose colours are the page's, so that they follow light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from .rounds import Round

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib draws in these colours; the page says what they stand for.
INK, MUTED, LINE, ACCENT = "#010101", "#020202", "#030303", "#040404"
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent"}
STYLE = {
    "axes.edgecolor": LINE, "axes.grid": True, "axes.grid.axis": "x", "axes.axisbelow": True,
    "axes.labelcolor": MUTED, "axes.labelsize": 11, "axes.spines.left": False,
    "axes.spines.right": False, "axes.spines.top": False, "figure.constrained_layout.use": True,
    "font.family": "sans-serif", "font.size": 11, "grid.color": LINE, "grid.linewidth": 0.8,
    "svg.fonttype": "none", "svg.hashsalt": "report", "text.color": INK, "text.parse_math": False,
    "xtick.color": MUTED, "xtick.major.size": 0, "ytick.color": INK, "ytick.major.size": 0,
}  # fmt: skip
MOST = 12  # bars or slices that a drawing shows
Span = tuple[str, float, float | None, float | None]  # label, value, low, high


def draw(record: Round) -> dict[str, str]:
    """Each drawing that the record has something for, by name, as an <svg> element."""
    drawings: dict[str, tuple[int, Callable[[Axes], None]]] = {}
    if (spans := _scores(record))[0][1:]:
        drawings["scores"] = 44 + 30 * len(spans), lambda axes: intervals(axes, spans)
    if record.comparison:
        compared = _comparison(record.comparison)
        height = 60 + 34 * len(compared)
        drawings["comparison"] = height, lambda axes: compare(axes, compared, record.smallest_gain)
    if record.slices:
        whole = record.scores[record.metric]["value"]
        worst = [
            (f"{s['column']} = {s['value']}"[:40], s["score"], s["low"], s["high"])
            for s in sorted(record.slices, key=lambda s: s["score"])[:MOST]
        ]
        drawings["slices"] = 44 + 24 * len(worst), lambda axes: intervals(axes, worst, whole)
    if record.importance:
        height = 44 + 24 * min(MOST, len(record.importance))
        drawings["importance"] = height, lambda axes: importance(axes, record.importance[:MOST])
    if record.calibration:
        drawings["calibration"] = 320, lambda axes: calibration(axes, record.calibration)
    if counts := record.confusion:
        drawings["confusion"] = 320, lambda axes: confusion(axes, **counts)
    if points := record.residuals:
        drawings["residuals"] = 320, lambda axes: residuals(axes, **points)
    return {name: _svg(name, *drawing) for name, drawing in drawings.items()}


def intervals(axes: Axes, spans: Sequence[Span], reference: float | None = None) -> None:
    """A dot for each value and a line for its interval, the first on top."""
    if reference is not None:
        axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    for place, (_, value, low, high) in enumerate(spans):
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=ACCENT, linewidth=3, alpha=0.45)
        axes.plot(value, place, "o", color=ACCENT if low is not None else MUTED, markersize=7)
    axes.set_yticks(range(len(spans)), [span[0] for span in spans])
    axes.set_ylim(len(spans) - 0.4, -0.6)


def compare(axes: Axes, spans: Sequence[Span], smallest_gain: float) -> None:
    """The gain over the champion; left of the line is worse, and in the band too small to be seen."""
    axes.axvspan(-smallest_gain, smallest_gain, color=MUTED, alpha=0.12, linewidth=0)
    intervals(axes, spans, 0.0)
    axes.set_xlabel("worse than the champion  ←   0   →  better")


def importance(axes: Axes, features: Sequence[dict[str, float | str]]) -> None:
    means = [float(feature["mean"]) for feature in features]
    names = [str(feature["feature"])[:40] for feature in features]
    axes.barh(range(len(means)), means, color=ACCENT, height=0.55, alpha=0.85)
    errors = [float(feature["std"]) for feature in features]
    axes.errorbar(means, range(len(means)), xerr=errors, fmt="none", ecolor=INK, elinewidth=1)
    axes.set_yticks(range(len(means)), names)
    axes.set_ylim(len(means) - 0.4, -0.6)
    axes.set_xlabel("what the score loses without it")


def calibration(axes: Axes, bins: Sequence[dict[str, float]]) -> None:
    predicted, observed = [b["predicted"] for b in bins], [b["observed"] for b in bins]
    ends = [min(predicted + observed), max(predicted + observed)]
    axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    axes.plot(predicted, observed, "o-", color=ACCENT, markersize=6, linewidth=1.5)
    axes.grid(axis="y")
    axes.set_xlabel("predicted")
    axes.set_ylabel("observed")


def confusion(axes: Axes, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    """Rows are what was, columns what was predicted; the shade is the share of the row."""
    axes.grid(visible=False)
    few = len(labels) <= MOST
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            share = count / (sum(row) or 1)
            box: Any = {"facecolor": ACCENT, "alpha": 0.06 + 0.74 * share, "linewidth": 0}
            axes.bar(x, 0.94, width=0.94, bottom=y - 0.47, **box)
            if few:
                axes.text(x, y, f"{count:,}", ha="center", va="center", color=INK)
    names = [label[:14] for label in labels] if few else []
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel("predicted")
    axes.set_ylabel("observed")


def residuals(axes: Axes, predicted: Sequence[float], observed: Sequence[float]) -> None:
    errors = [was - said for said, was in zip(predicted, observed, strict=True)]
    axes.axhline(0, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    axes.plot(predicted, errors, "o", color=ACCENT, markersize=4.5, alpha=0.45, markeredgewidth=0)
    axes.grid(axis="y")
    axes.set_xlabel("predicted")
    axes.set_ylabel("observed minus predicted")


def _scores(record: Round) -> list[Span]:
    score = record.scores[record.metric]
    own = [("this model", score["value"], score["low"], score["high"])]
    return own + [(name, value, None, None) for name, value in record.baselines.items()]


def _comparison(comparison: dict[str, dict[str, float] | None]) -> list[Span]:
    return [
        (name, found["difference"], found["low"], found["high"])
        for name, found in comparison.items()
        if found
    ]


def _svg(name: str, height: int, paint: Callable[[Axes], None]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(420 / 72, height / 72))
        paint(figure.add_subplot())
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
