"""What people read of a round: one HTML file that needs nothing else, Markdown for the pull request, the model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import persistence
from ..data import contract as contracts
from ..pages import ACCENT, DASHED, INK, MUTED, forecasts, label_rows, render, svg
from ..settings import Settings
from .judging import intended_use
from .rounds import Round, folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CARD = Path("docs/model_card.md")
MOST = 12  # bars or slices that a drawing shows
Span = tuple[str, float, float | None, float | None]  # label, value, low, high


def write(settings: Settings, record: Round) -> Path:
    """Writes reports/<id>/report.html and report.md, and returns the path of the first."""
    path, drawings = folder(settings.root, record.id), draw(record)
    for name in ("report.md", "report.html"):
        persistence.write(
            path / name, render(f"training/{name}.j2", settings.package, record=record, drawings=drawings)
        )
    return path / "report.html"


def markdown(settings: Settings, record: Round) -> str:
    """The report as it stands in docs/round.md and in the round's request."""
    return render("training/report.md.j2", settings.package, record=record)


def write_card(settings: Settings, record: Round) -> Path:
    """Writes the card of a champion anew; what it is for is taken from docs/intended_use.md."""
    contract = contracts.load(settings.root)
    rules = contract["columns"]
    made, names = {"dtype": "made by forecast.py", "nullable": True}, contracts.features(contract)
    if contracts.is_forecast(contract):
        names = [item["feature"] for item in record.importance]
    text = render(
        "training/card.md.j2",
        settings.package,
        record=record,
        purpose=intended_use(settings.root),
        importance={item["feature"]: item["mean"] for item in record.importance},
        features={name: rules.get(name, made) for name in names},
        left_out={name: rules[name].get("why", "") for name in contracts.columns(contract, "left out")},
    )
    persistence.write(settings.root / CARD, text)
    return settings.root / CARD


def draw(record: Round) -> dict[str, str]:
    """Each drawing that the record has something for, by name, as an <svg> element."""
    score, short = record.scores[record.metric], record.importance[:MOST]
    spans: list[Span] = [("this model", score["value"], score["low"], score["high"])]
    spans += [(name, value, None, None) for name, value in record.baselines.items()]
    gains: list[Span] = [(name, *gain.values()) for name, gain in (record.comparison or {}).items() if gain]
    worst: list[Span] = [
        (f"{item['column']} = {item['value']}"[:40], item["score"], item["low"], item["high"])
        for item in sorted(record.slices, key=lambda item: item["score"])[:MOST]
    ]
    drawings: dict[str, tuple[Any, int, Callable[[Axes], None]]] = {
        "scores": (record.baselines, 44 + 30 * len(spans), lambda axes: _intervals(axes, spans)),
        "comparison": (gains, 60 + 34 * len(gains), lambda axes: _compare(axes, gains, record.smallest_gain)),
        "slices": (worst, 44 + 24 * len(worst), lambda axes: _intervals(axes, worst, score["value"])),
        "importance": (short, 44 + 24 * len(short), lambda axes: _importance(axes, short)),
        "calibration": (record.calibration, 320, lambda axes: _calibration(axes, record.calibration)),
        "confusion": (record.confusion, 320, lambda axes: _confusion(axes, **(record.confusion or {}))),
        "forecast": (record.forecast, 320, lambda axes: _forecast(axes, **(record.forecast or {}))),
        "residuals": (record.residuals, 320, lambda axes: _residuals(axes, **(record.residuals or {}))),
    }
    return {name: svg(name, height, paint) for name, (shown, height, paint) in drawings.items() if shown}


def _intervals(axes: Axes, spans: Sequence[Span], reference: float | None = None) -> None:
    """A dot for each value and a line for its interval, the first on top."""
    if reference is not None:
        axes.axvline(reference, **DASHED)
    for place, (_, value, low, high) in enumerate(spans):
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=ACCENT, linewidth=3, alpha=0.45)
        axes.plot(value, place, "o", color=ACCENT if low is not None else MUTED, markersize=7)
    label_rows(axes, [span[0] for span in spans])


def _compare(axes: Axes, spans: Sequence[Span], smallest_gain: float) -> None:
    """The gain over the champion; left of the line is worse, and in the band too small to be seen."""
    axes.axvspan(-smallest_gain, smallest_gain, color=MUTED, alpha=0.12, linewidth=0)
    _intervals(axes, spans, 0.0)
    axes.set_xlabel("worse than the champion  ←   0   →  better")


def _importance(axes: Axes, features: Sequence[dict[str, Any]]) -> None:
    means, errors = [f["mean"] for f in features], [f["std"] for f in features]
    axes.barh(range(len(means)), means, color=ACCENT, height=0.55, alpha=0.85)
    axes.errorbar(means, range(len(means)), xerr=errors, fmt="none", ecolor=INK, elinewidth=1)
    label_rows(axes, [f["feature"][:40] for f in features])
    axes.set_xlabel("what the score loses without it")


def _calibration(axes: Axes, bins: Sequence[dict[str, float]]) -> None:
    predicted, observed = [b["predicted"] for b in bins], [b["observed"] for b in bins]
    ends = [min(predicted + observed), max(predicted + observed)]
    axes.plot(ends, ends, **DASHED)
    axes.plot(predicted, observed, "o-", color=ACCENT, markersize=6, linewidth=1.5)
    axes.grid(axis="y")
    axes.set(xlabel="predicted", ylabel="observed")


def _confusion(axes: Axes, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    """Rows are what was, columns what was predicted; the shade is the share of the row."""
    axes.grid(visible=False)
    few = len(labels) <= MOST
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            box: Any = {"facecolor": ACCENT, "alpha": 0.06 + 0.74 * count / (sum(row) or 1), "linewidth": 0}
            axes.bar(x, 0.94, width=0.94, bottom=y - 0.47, **box)
            if few:
                axes.text(x, y, f"{count:,}", ha="center", va="center", color=INK)
    names = [label[:14] for label in labels] if few else []
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlabel="predicted", ylabel="observed")


def _forecast(axes: Axes, dates: Sequence[str], observed: Sequence[float], **said: Sequence[float]) -> None:
    days = pd.to_datetime(list(dates))
    lines = [pd.Series(said[name], days) for name in ("longest", "shortest")]
    forecasts(axes, pd.Series(observed, days), lines)


def _residuals(axes: Axes, predicted: Sequence[float], observed: Sequence[float]) -> None:
    errors = [was - said for said, was in zip(predicted, observed, strict=True)]
    axes.axhline(0, **DASHED)
    axes.plot(predicted, errors, "o", color=ACCENT, markersize=4.5, alpha=0.45, markeredgewidth=0)
    axes.grid(axis="y")
    axes.set(xlabel="predicted", ylabel="observed minus predicted")
