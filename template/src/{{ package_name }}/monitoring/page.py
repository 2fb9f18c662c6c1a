"""What people and machines read of a watch: one HTML page, a few lines of text, and Prometheus' text format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from ..data import contract as contracts
from ..pages import ACCENT, BAD, DASHED, INK, MUTED, forecasts, label_rows, render, svg
from . import drift, windows
from .monitor import SCORE, Look, Scene, Watch
from .windows import HORIZON, PREDICTION, TIME

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 4  # columns whose values are drawn


def html(watch: Watch, scenes: list[Scene], package: str) -> str:
    """The page; it needs no other file."""
    scene = scenes[0]
    looks = {(look.column, look.window): look for look in watch.looks}
    worst = _worst(watch)
    drawings = {f"values {n}": _values(scenes, look) for n, look in enumerate(worst[:SHOWN])}
    names = [window.name for window in watch.windows if window.judged]
    judged = {name: windows.watched(scene.rows[name], scene.live) for name in names}
    said = {name: frame[PREDICTION].dropna() for name, frame in judged.items() if PREDICTION in frame}
    if said := {name: column for name, column in said.items() if len(column)}:
        past = scene.past.frame[PREDICTION]
        drawings["predictions"] = svg("predictions", 300, lambda axes: _predictions(axes, {"past": past} | said))
    if scores := [look for look in watch.looks if look.score]:
        drawings["performance"] = svg("performance", 300, lambda axes: _performance(axes, scores, scene))
    if len(scenes) > 1 and scenes[1].rows:
        drawings["forecast"] = svg("forecast", 300, lambda axes: _forecast(axes, *scenes))
    shown: Any = {"looks": looks, "worst": worst, "drawings": drawings}
    return render("monitoring/page.html.j2", package, watch=watch, limits=scene.limits, **shown)


def text(watch: Watch, package: str) -> str:
    """The verdict, what is off in which window, and what to do."""
    lines = [f"Verdict  {watch.verdict.upper():8} {watch.reason}"]
    for alarm in watch.alarms:
        lines += [f"{alarm.column:16} {alarm.why}", f"{'':16} off in {', '.join(alarm.windows)}"]
    for window in watch.windows:
        off = [look.column for look in watch.looks if look.window == window.name and look.problems]
        said = ", ".join(off) or "as ever" if window.judged else "too few rows"
        lines.append(f"{window.name:16} {window.rows:9,} rows  {said}")
    if watch.verdict == "alarm":
        lines.append(f"Is the data wrong, mend it at its source; has the world moved: uv run {package} retrain")
    return "\n".join(f"  {line}" for line in lines)


def prometheus(watch: Watch) -> str:
    """Of each column the newest look; for a file that a node exporter collects, or for a push gateway."""
    registry = CollectorRegistry()

    def gauge(name: str, what: str, values: dict[str, float | None]) -> None:
        found = Gauge(f"monitor_{name}", what, ["column"], registry=registry)
        for column, value in values.items():
            if value is not None:
                found.labels(column).set(value)

    newest = {look.column: look for look in watch.looks}
    off = {column: sum(bool(look.problems) for look in watch.looks if look.column == column) for column in newest}
    gauge("drift_psi", "Population stability index in the newest window", {c: look.psi for c, look in newest.items()})
    gauge("drift_psi_limit", "What it may be", {c: look.limit for c, look in newest.items()})
    gauge("missing_share", "Missing values in the newest window", {c: look.missing for c, look in newest.items()})
    gauge("windows_off", "Windows of the newest in which the column is off", dict(off))
    Gauge("monitor_alarm", "1 when the alarm rings", registry=registry).set(watch.verdict == "alarm")
    Gauge("monitor_unknown", "1 when too little was served", registry=registry).set(watch.verdict == "unknown")
    until = [pd.Timestamp(window.until, tz="UTC").timestamp() for window in watch.windows if window.until]
    if until:
        Gauge("monitor_last_row_timestamp_seconds", "When the newest row was seen", registry=registry).set(max(until))
    if score := newest.get(SCORE):
        assert score.score is not None
        Gauge("monitor_score", watch.metric, registry=registry).set(score.score["value"])
    return generate_latest(registry).decode()


def record(watch: Watch) -> dict[str, Any]:
    return asdict(watch) | {"exit_code": watch.exit_code}


def _worst(watch: Watch) -> list[Look]:
    """Of each column the look that is furthest beyond its limit, the furthest first; those that are off lead."""

    def far(look: Look) -> tuple[bool, float]:
        return bool(look.problems), (look.psi or 0.0) / (look.limit or 1.0)

    furthest: dict[str, Look] = {}
    for look in sorted(watch.looks, key=far):
        furthest[look.column] = look
    return sorted((look for look in furthest.values() if look.psi is not None), key=far, reverse=True)


def _values(scenes: list[Scene], look: Look) -> str:
    """How the rows of a window and of the past spread over the same bins."""
    scene = next(scene for scene in scenes if look.column in scene.past.frame)
    window = scene.rows[look.window]
    past = scene.past.like(windows.place(window, scene.live.contract))[look.column].dropna()
    names, before, here = drift.shares(past, windows.watched(window, scene.live)[look.column].dropna())
    kept = [place for place in range(len(names)) if before[place] or here[place]][:15]

    def paint(axes: Axes) -> None:
        places = np.arange(len(kept))
        axes.barh(places - 0.19, 100 * before[kept] / before.sum(), height=0.34, color=MUTED, alpha=0.45)
        colour = BAD if look.problems else ACCENT
        axes.barh(places + 0.19, 100 * here[kept] / max(1, here.sum()), height=0.34, color=colour, alpha=0.9)
        label_rows(axes, [names[place][:24] for place in kept])
        axes.set_xlabel("% of rows")

    return svg(f"values of {look.column}", 60 + 24 * len(kept), paint)


def _predictions(axes: Axes, said: dict[str, pd.Series]) -> None:
    """The median and the middle 80 % of numbers; of classes the share of each."""
    places = range(len(said))
    if drift.is_number(said["past"]):
        low, middle, high = np.array([np.quantile(column, [0.1, 0.5, 0.9]) for column in said.values()]).T
        axes.plot([0, 0], [low[0], high[0]], color=ACCENT, linewidth=6, alpha=0.2)
        axes.plot(0, middle[0], "D", color=ACCENT, markersize=6)
        axes.fill_between(places[1:], low[1:], high[1:], color=ACCENT, alpha=0.15, linewidth=0)
        axes.plot(places[1:], middle[1:], "o-", color=ACCENT, markersize=6)
        axes.axhline(middle[0], **DASHED)
    else:
        height = -np.inf
        shares = {name: [100 * float((column == name).mean()) for column in said.values()] for name in _common(said)}
        for rank, (name, line) in enumerate(sorted(shares.items(), key=lambda item: item[1][-1])):
            shade: Any = {"color": ACCENT, "alpha": 0.35 + 0.16 * rank, "markersize": 5}
            axes.plot(0, line[0], "D", **shade)
            axes.plot(places[1:], line[1:], "o-", **shade)
            height = max(line[-1], height + 6)  # names do not cover each other
            axes.text(len(said) - 0.8, height, name[:14], va="center", color=INK)
        axes.set_ylabel("% of rows")
    axes.grid(axis="y")
    _label_windows(axes, list(said))


def _forecast(axes: Axes, told: Scene, asked: Scene) -> None:
    """What was forecast for each date at the shortest and the longest horizon, and what came; of series the mean."""
    [target] = contracts.columns(told.live.contract, "target")
    said, came = (pd.concat(scene.rows.values()) for scene in (told, asked))
    places = windows.place(said, told.live.contract)
    lines = pd.to_numeric(said[PREDICTION]).groupby([places[HORIZON], places[TIME]]).mean()
    truth = pd.to_numeric(came[target], errors="coerce").groupby(windows.place(came, asked.live.contract)[TIME]).mean()
    forecasts(axes, truth, [lines[places[HORIZON].max()], lines[places[HORIZON].min()]])


def _common(said: dict[str, pd.Series]) -> list[str]:
    """The classes that are predicted most, then and now."""
    return list(pd.concat(list(said.values())).value_counts().index[:5])


def _performance(axes: Axes, looks: Sequence[Look], scene: Scene) -> None:
    for place, look in enumerate(looks):
        score, colour = look.score or {}, BAD if look.problems else ACCENT
        axes.plot([place, place], [score["low"], score["high"]], color=colour, linewidth=3, alpha=0.45)
        axes.plot(place, score["value"], "o", color=colour, markersize=7)
    if scene.holdout is not None:
        axes.axhline(scene.holdout, **DASHED)
        axes.axhline(scene.floor, color=BAD, linewidth=1)
    axes.grid(axis="y")
    _label_windows(axes, [look.window for look in looks])


def _label_windows(axes: Axes, names: Sequence[str]) -> None:
    """At most eight names fit, the newest among them."""
    step = 1 + (len(names) - 1) // 8
    places = range(len(names) - 1, -1, -step)
    axes.set_xticks(places, [names[place][-10:] for place in places])
    axes.margins(x=0.08)
