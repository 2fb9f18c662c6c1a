"""Holds each window of what was served against the past, and rings when a column is off in k of the last n.

A column has moved when it is beyond the limit of deployment/monitoring.yaml and beyond what past windows of the
champion's own data show: seasons move columns too, and few rows look far away by chance.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from ..data import contract as contracts
from ..data import sources
from ..data.contract import as_input
from ..data.split import HOLDOUT
from ..serving import predict
from ..settings import ContractError, ProjectError, Settings
from ..training import evaluate, judging
from . import drift
from .windows import FILE, PREDICTION, TIME, Limits, Past, cut, load_limits, load_past, served, watched

EXIT_CODES = {"quiet": 0, "alarm": 1, "unknown": 2}
SCORE = "performance"
RUNS = 20  # of the self-test
P_VALUE = 0.01  # of Smirnov's test, times the number of columns (Bonferroni)


@dataclass(frozen=True)
class Look:
    """One column in one window: how far it moved, how far it may, and in words what is wrong, if anything is."""

    window: str
    column: str
    problems: list[str]
    psi: float | None = None
    limit: float | None = None
    p_value: float | None = None
    missing: float | None = None
    score: dict[str, float] | None = None


@dataclass(frozen=True)
class Alarm:
    """A column that is off in at least k of the newest n windows, these from the oldest on, and the newest reason."""

    column: str
    windows: list[str]
    why: str


@dataclass(frozen=True)
class Window:
    """`until` is when its newest row was seen; a window that is not judged has too few rows."""

    name: str
    rows: int
    until: str | None
    judged: bool


@dataclass(frozen=True)
class Watch:
    """What monitoring saw, and the verdict: quiet, alarm, or unknown."""

    champion: str
    verdict: str
    reason: str
    alarms: list[Alarm]
    windows: list[Window]
    looks: list[Look]
    metric: str
    holdout: float | None

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


@dataclass(frozen=True)
class SelfTest:
    """How many runs of n windows the alarm was tried on, how many of them it rang in, and for which columns."""

    runs: int
    rung: int
    columns: dict[str, int]


@dataclass(frozen=True)
class Scene:
    """All that a look needs: the champion, the limits, the past, and how predictions are scored.

    `holdout` is the champion's score on the holdout, `floor` what a window's may not fall below, beyond chance.
    """

    live: predict.Champion
    limits: Limits
    past: Past
    judge: evaluate.Judge
    holdout: float | None = None
    floor: float = -np.inf


def watch(
    settings: Settings, address: str | None = None, environment: str = "dev"
) -> tuple[Watch, Scene, dict[str, pd.DataFrame]]:
    """The newest windows behind an address, judged; beside it what it was judged by, and the rows."""
    _refuse_forecasts(settings)
    live, limits = predict.load(settings.root, environment), load_limits(settings.root)
    try:
        rows = served(address or limits.uri, live.contract, limits, settings.root)
    except ContractError as error:
        raise ProjectError(f"Nothing to look at: {error.message}") from None
    scene = make_scene(settings, live, limits, rows)
    truth = labels(settings, live.contract, rows)
    looks = [look for window in rows for look in look_at(scene, window, rows[window], truth)]
    return conclude(scene, rows, looks), scene, rows


def _refuse_forecasts(settings: Settings) -> None:
    if settings.forecasts:
        raise ProjectError("monitor does not watch forecasts: what they miss shows in the next round's newest window.")


def make_scene(settings: Settings, live: predict.Champion, limits: Limits, rows: dict[str, pd.DataFrame]) -> Scene:
    """The past is cut into windows that are as large as those that were served, if it has so many rows."""
    sizes = [len(frame) for frame in rows.values() if len(frame) >= limits.min_rows] or [limits.min_rows]
    past = load_past(settings, live, limits, int(np.median(sizes)))
    judge = judging.judge_of(settings, live.contract)
    if judge.metric not in live.pointer["scores"]:
        return Scene(live, limits, past, judge)
    holdout = live.pointer["scores"][judge.metric]["value"]
    lowest = min([holdout - limits.performance_drop, *_scores(settings, live, limits, past.size, judge)])
    return Scene(live, limits, past, judge, holdout, lowest)


def _scores(
    settings: Settings, live: predict.Champion, limits: Limits, size: int, judge: evaluate.Judge
) -> Iterator[float]:
    """What the champion scored in the holdout's own windows: a season may be hard, or all alike, which lowers an R²."""
    frame = contracts.coerce(sources.read_batch(settings.root / HOLDOUT), live.contract)[0]
    [target] = contracts.columns(live.contract, "target")
    y = judge.truth(frame[target])
    said = judge.predict(live.estimator, as_input(frame, contracts.features(live.contract)))
    windows, _ = cut(frame, "", limits.window, contracts.columns(live.contract, "time"))
    windows = windows if windows.any() else pd.Series(np.arange(len(frame)) // size)
    for mine in (windows == name for name in windows.unique()):
        score = judge.point(y[mine], said[mine]) if mine.sum() >= limits.min_rows else np.nan
        if not np.isnan(score):
            yield score


def conclude(scene: Scene, rows: dict[str, pd.DataFrame], looks: list[Look]) -> Watch:
    """The verdict: alarm when a column is off in k of the newest n windows; unknown when fewer than k say anything."""
    limits = scene.limits
    windows = [Window(name, len(frame), _until(frame), len(frame) >= limits.min_rows) for name, frame in rows.items()]
    judged = sum(window.judged for window in windows)
    off: dict[str, list[Look]] = {}
    for look in looks:
        if look.problems:
            off.setdefault(look.column, []).append(look)
    alarms = [
        Alarm(column, [look.window for look in found], "; ".join(found[-1].problems))
        for column, found in sorted(off.items(), key=lambda item: -len(item[1]))
        if len(found) >= limits.k
    ]
    if judged < limits.k:
        found = f"{judged} of {len(windows)} windows have {limits.min_rows} rows; {limits.k} are needed"
        verdict, reason = "unknown", f"{found} ({FILE})"
    elif alarms:
        names = ", ".join(alarm.column for alarm in alarms[:3]) + (", …" if len(alarms) > 3 else "")
        since = min(alarm.windows[0] for alarm in alarms)
        verdict, reason = (
            "alarm",
            f"{names} off in {limits.k} or more of the last {len(windows)} windows, since {since}",
        )
    else:
        verdict, reason = "quiet", f"nothing is off in {limits.k} of the last {len(windows)} windows"
    id_, metric = scene.live.pointer["id"], scene.judge.metric
    return Watch(id_, verdict, reason, alarms, windows, looks, metric, scene.holdout)


def self_test(settings: Settings) -> SelfTest:
    """How often the alarm rings on n neighbouring windows of the past, held against the rest of it."""
    _refuse_forecasts(settings)
    live, limits = predict.load(settings.root), load_limits(settings.root)
    past = load_past(settings, live, limits, limits.min_rows)
    past = replace(past, size=int(past.windows.value_counts().median()))
    names = past.full()
    starts = np.random.default_rng(0).permutation(max(0, len(names) - limits.n + 1))[:RUNS]
    rung: list[list[str]] = []
    for chosen in (names[start : start + limits.n] for start in starts):
        scene = Scene(live, limits, past.without(chosen), judging.judge_of(settings, live.contract))
        off = [column for name in chosen for column in _off(scene, past, name)]
        rung += [[column for column in past.frame if off.count(column) >= limits.k]]
    return SelfTest(len(rung), sum(map(bool, rung)), dict(Counter(chain.from_iterable(rung))))


def _off(scene: Scene, past: Past, window: Any) -> Iterator[str]:
    mine = past.windows == window
    rest = scene.past.like(None if past.times is None else past.times[mine])
    for column in past.frame:
        if _look(scene, str(window), column, rest[column], past.frame[column][mine], []).problems:
            yield column


def look_at(scene: Scene, window: str, rows: pd.DataFrame, truth: pd.Series | None = None) -> Iterator[Look]:
    """Every column of a window with enough rows."""
    limits, live = scene.limits, scene.live
    if len(rows) < limits.min_rows:
        return
    if "model" in rows:  # what another champion said is no sign of this one
        rows = rows.assign(**{PREDICTION: rows[PREDICTION].where(rows["model"] == live.pointer["id"])})
    features = contracts.columns(live.contract, "feature")
    broken = breaches(rows, live.contract)
    now = watched(rows, live)
    past = scene.past.like(season_of(rows, live.contract))
    for column in [*features, *([PREDICTION] if PREDICTION in now and now[PREDICTION].notna().any() else [])]:
        if column in now:
            yield _look(scene, window, column, past[column], now[column], broken.get(column, []))
        else:
            yield Look(window, column, broken[column])
    if score := performance(scene, rows, truth):
        problem = (
            f"{scene.judge.metric} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}], at least {scene.floor:.3f}"
        )
        yield Look(window, SCORE, [problem] if score.high < scene.floor else [], score=asdict(score))


def _look(scene: Scene, window: str, column: str, past: pd.Series, now: pd.Series, problems: list[str]) -> Look:
    limits, usual = scene.limits, scene.past.usual[column]
    # As many rows as a past window has: the more there are, the more an empty bin counts.
    found = drift.measure(past, now.sample(min(len(now), scene.past.size), random_state=0))
    limit, missing, values = (max(getattr(limits, name), getattr(usual, name)) for name in ("psi", "missing", "values"))
    p_value = drift.smirnov(past, now)
    p_value = None if p_value is None else min(1.0, p_value * len(scene.past.frame.columns))
    if found.psi > limit and (p_value is None or p_value < P_VALUE):
        problems = [*problems, f"PSI {found.psi:.2f}, limit {limits.psi:g}, past windows {usual.psi:.2f}"]
    if found.missing > missing:
        problems = [*problems, f"{now.isna().mean():.0%} missing, {past.isna().mean():.0%} in the past"]
    if found.values > values:
        problems = [*problems, f"new or vanished values: {found.values:.0%} of rows"]
    return Look(window, column, problems, found.psi, limit, p_value, float(now.isna().mean()))


def breaches(rows: pd.DataFrame, contract: contracts.Contract) -> dict[str, list[str]]:
    """How the window breaks the contract, by feature."""
    wanted = contracts.features(contract)
    asked = contract | {"columns": {name: contract["columns"][name] for name in wanted}, "unique": None}
    found: dict[str, list[str]] = {}
    for breach in contracts.check(rows[[name for name in wanted if name in rows]], asked)[1]:
        found.setdefault(breach.column, []).append(f"contract: {breach.problem}")
    return found


def labels(settings: Settings, contract: contracts.Contract, rows: dict[str, pd.DataFrame]) -> pd.Series | None:
    """The target by key, for the keys of the served rows that the data's address knows by now."""
    keys, [target] = contract["unique"], contracts.columns(contract, "target")
    if not keys or not all(set(keys) <= set(frame) for frame in rows.values()):
        return None
    wanted = pd.concat([_keys(frame, contract) for frame in rows.values()])
    found = []
    for _, frame in sources.named_chunks(settings.params.data.uri, root=settings.root, texts=contracts.texts(contract)):
        known = contracts.coerce(frame[[*keys, target]], contract)[0].dropna()
        hashes = _keys(known, contract)
        found.append(known.set_axis(hashes)[target][hashes.isin(wanted).to_numpy()])
    truth = pd.concat(found)
    return truth[~truth.index.duplicated(keep="last")]


def performance(scene: Scene, rows: pd.DataFrame, truth: pd.Series | None) -> evaluate.Interval | None:
    """The metric on the rows whose target is known by now, if they are enough and it can be computed."""
    if truth is None or PREDICTION not in rows:
        return None
    known = rows[_keys(rows, scene.live.contract).isin(truth.index).to_numpy() & rows[PREDICTION].notna()]
    if len(known) < scene.limits.min_rows:
        return None
    y = scene.judge.truth(truth.loc[_keys(known, scene.live.contract)])
    with np.errstate(all="ignore"):
        score = evaluate.bootstrap(scene.judge, y, _said(scene, known))
    return None if np.isnan([score.value, score.high]).any() else score


def _said(scene: Scene, rows: pd.DataFrame) -> np.ndarray:
    """What was predicted, as the judge takes it; probabilities that were not kept are asked for again."""
    if scene.judge.task == "regression":
        return pd.to_numeric(rows[PREDICTION]).to_numpy(float)
    names = [f"probability_{label}" for label in scene.judge.classes]
    if set(names) <= set(rows):
        return rows[names].to_numpy(float)
    typed = contracts.coerce(rows, scene.live.contract)[0]
    return scene.judge.predict(scene.live.estimator, as_input(typed, contracts.features(scene.live.contract)))


def _keys(frame: pd.DataFrame, contract: contracts.Contract) -> pd.Series:
    typed = contracts.coerce(frame[contract["unique"]], contract)[0]
    return pd.util.hash_pandas_object(typed, index=False)


def season_of(rows: pd.DataFrame, contract: contracts.Contract) -> pd.Series:
    """When the rows are of: the contract's time where it is there, else when they were served."""
    for name in contracts.columns(contract, "time"):
        if name in rows:
            return sources.to_dates(rows[name])
    return rows[TIME]


def _until(rows: pd.DataFrame) -> str | None:
    return None if rows[TIME].isna().all() else rows[TIME].max().isoformat()
