"""Holds each window of what was served against the past, and rings when a column is off in k of the last n.

A column has moved when it is beyond the limit of deployment/monitoring.yaml and beyond what past windows of the
champion's own data show: seasons move columns too, and few rows look far away by chance.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, pairwise
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
from . import drift, windows
from .windows import FILE, PREDICTION, ROWS, TIME, Limits, Past

EXIT_CODES = {"quiet": 0, "alarm": 1, "unknown": 2}
SCORE = "performance"
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
    """How many runs of n windows the alarm was tried on, how many of them it rang in, and for which columns.

    Runs overlap, so a spell of odd rows may ring in several: `apart` is how many runs can share no window.
    """

    runs: int
    rung: int
    spells: int
    apart: int
    columns: dict[str, int]


@dataclass(frozen=True)
class Scene:
    """All that a look needs: the champion, the limits, the past, how predictions are scored, and the rows by window.

    `holdout` is the champion's score on the holdout, `floor` what a window's may not fall below, beyond chance.
    """

    settings: Settings
    live: predict.Champion
    limits: Limits
    past: Past
    judge: evaluate.Judge
    rows: dict[str, pd.DataFrame] = field(default_factory=dict)
    holdout: float | None = None
    floor: float = -np.inf


def watch(settings: Settings, address: str | None = None, environment: str = "dev") -> tuple[Watch, list[Scene]]:
    """The newest windows behind an address, judged; beside it what they were judged by."""
    live, limits = predict.load(settings.root, environment), windows.load_limits(settings.root)
    try:
        scenes = make_scenes(settings, live, limits, address or limits.uri)
    except ContractError as error:
        raise ProjectError(f"Nothing to look at: {error.message}") from None
    truth = labels(settings, live.contract, scenes[0].rows)
    looks = [look for scene in scenes for window in scene.rows for look in look_at(scene, window, truth)]
    return conclude(scenes[0], looks), scenes


def make_scenes(settings: Settings, live: predict.Champion, limits: Limits, address: str) -> list[Scene]:
    """What was served beside the past; of forecasts whose dates have come, and then what came, at the data's address."""
    root, uri = settings.root, settings.params.data.uri
    if not settings.forecasts:
        rows = [windows.served(address, live.contract, limits, root)]
    elif limits.window == "file":
        raise ProjectError(f"{FILE}: window: forecasts are cut by their dates: hour, day, week or month, not file.")
    else:
        chunks = sources.named_chunks(uri, root=root, texts=contracts.texts(live.contract))
        time = contracts.columns(live.contract, "time")
        come = {window for name, frame in chunks for window in windows.cut(frame, name, limits.window, time)[0]}
        told = windows.served(address, live.contract, limits, root, come)
        rows = [told, windows.served(uri, live.contract, limits, root, told)]
    pairs = zip(windows.sides(settings, live), rows, strict=True)
    return [make_scene(settings, *side, limits, mine) for side, mine in pairs]


def make_scene(
    settings: Settings, live: predict.Champion, known: pd.DataFrame, limits: Limits, rows: dict[str, pd.DataFrame]
) -> Scene:
    """The past is cut into windows that are as large as those that were served, if it has so many rows."""
    sizes = [len(frame) for frame in rows.values() if len(frame) >= limits.min_rows] or [limits.min_rows]
    past = windows.make_past(known, live, limits, int(np.median(sizes)))
    scene = Scene(settings, live, limits, past, judging.judge_of(settings, live.contract), rows)
    if PREDICTION not in known or scene.judge.metric not in live.pointer["scores"]:
        return scene
    holdout = live.pointer["scores"][scene.judge.metric]["value"]
    lowest = min([holdout - limits.performance_drop, *_scores(scene, known)])
    return replace(scene, holdout=holdout, floor=lowest)


def _scores(scene: Scene, known: pd.DataFrame) -> Iterator[float]:
    """What the champion scored in the holdout's own windows: a season may be hard, or all alike, which lowers an R²."""
    live, limits, judge = scene.live, scene.limits, scene.judge
    frame = contracts.coerce(sources.read_batch(scene.settings.root / HOLDOUT), live.contract)[0]
    [target] = contracts.columns(live.contract, "target")
    if keys := windows.is_told(known, live.contract) and live.contract["unique"]:
        frame = frame.merge(known[[*keys, PREDICTION]], on=keys)
    y, said = judge.truth(frame[target]), _said(scene, frame)
    names, _ = windows.cut(frame, "", limits.window, contracts.columns(live.contract, "time"))
    names = names if names.any() else pd.Series(np.arange(len(frame)) // scene.past.size)
    for mine in (names == name for name in names.unique()):
        score = judge.point(y[mine], said[mine]) if mine.sum() >= limits.min_rows else np.nan
        if not np.isnan(score):
            yield score


def conclude(scene: Scene, looks: list[Look]) -> Watch:
    """The verdict: alarm when a column is off in k of the newest n windows; unknown when fewer than k say anything."""
    limits, rows = scene.limits, scene.rows
    sizes = {name: int(frame[ROWS].iloc[0]) for name, frame in rows.items()}
    cuts = [Window(name, size, _until(rows[name]), size >= limits.min_rows) for name, size in sizes.items()]
    judged = sum(window.judged for window in cuts)
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
        found = f"{judged} of {len(cuts)} windows have {limits.min_rows} rows; {limits.k} are needed"
        verdict, reason = "unknown", f"{found} ({FILE})"
    elif alarms:
        names = ", ".join(alarm.column for alarm in alarms[:3]) + (", …" if len(alarms) > 3 else "")
        since = min(alarm.windows[0] for alarm in alarms)
        found = f"{names} off in {limits.k} or more of the last {len(cuts)} windows"
        verdict, reason = "alarm", f"{found}, since {since}"
    else:
        verdict, reason = "quiet", f"nothing is off in {limits.k} of the last {len(cuts)} windows"
    id_, metric = scene.live.pointer["id"], scene.judge.metric
    return Watch(id_, verdict, reason, alarms, cuts, looks, metric, scene.holdout)


def self_test(settings: Settings) -> SelfTest:
    """How often the alarm rings on n neighbouring windows of the past, held against the rest of it."""
    limits, sides = windows.load_limits(settings.root), windows.sides(settings, predict.load(settings.root))
    pasts = [windows.make_past(known, live, limits, windows.MOST_ROWS) for live, known in sides]
    runs = [run for run in pasts[0].runs if all(set(run) <= past.moves.keys() for past in pasts)]
    rung = [[column for past in pasts for column in past.frame if _rings(past, column, run, limits)] for run in runs]
    spells = sum(bool(now) and not before for before, now in pairwise([[], *rung]))
    apart = len({name for run in runs for name in run}) // limits.n
    return SelfTest(len(runs), sum(map(bool, rung)), spells, apart, dict(Counter(chain.from_iterable(rung))))


def _rings(past: Past, column: str, run: list[Any], limits: Limits) -> bool:
    usual = past.usual(column, without=run)
    found = (past.moves[window][column] for window in run)
    return sum(any(_problems(each, usual, limits, len(past.frame.columns))) for each in found) >= limits.k


def look_at(scene: Scene, window: str, truth: pd.Series | None = None) -> Iterator[Look]:
    """Every column of a window with enough rows."""
    limits, live, rows = scene.limits, scene.live, scene.rows[window]
    if len(rows) < limits.min_rows:
        return
    if (model := contracts.beside("model", live.contract)) in rows:  # what another champion said is no sign of this one
        rows = rows.assign(**{PREDICTION: rows[PREDICTION].where(rows[model] == live.pointer["id"])})
    features = contracts.columns(live.contract, "feature")
    broken = breaches(rows, live.contract)
    now = windows.watched(rows, live)
    past = scene.past.like(windows.place(rows, live.contract))
    for column in [*features, *([PREDICTION] if PREDICTION in now and now[PREDICTION].notna().any() else [])]:
        if column in now:
            yield _look(scene, window, column, past[column], now[column], broken.get(column, []))
        else:
            yield Look(window, column, broken[column])
    if score := performance(scene, rows, truth):
        span = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        problem = f"{scene.judge.metric} {span}, at least {scene.floor:.3f}"
        yield Look(window, SCORE, [problem] if score.high < scene.floor else [], score=asdict(score))


def _look(scene: Scene, window: str, column: str, past: pd.Series, now: pd.Series, problems: list[str]) -> Look:
    usual, limits, tests = scene.past.usual(column), scene.limits, len(scene.past.frame.columns)
    # As many rows as a past window has: the more there are, the more an empty bin counts.
    found = drift.measure(past, now.sample(min(len(now), scene.past.size), random_state=0))
    problems = [*problems, *_problems(found, usual, limits, tests)]
    p_value = None if found.p_value is None else min(1.0, found.p_value * tests)
    return Look(window, column, problems, found.psi, max(limits.psi, usual.psi), p_value, float(now.isna().mean()))


def _problems(found: drift.Measures, usual: drift.Measures, limits: Limits, tests: int) -> Iterator[str]:
    """What of a column is beyond both the limits of the file and what the past's own windows show."""
    is_chance = found.p_value is not None and found.p_value * tests >= P_VALUE
    if found.psi > max(limits.psi, usual.psi) and not is_chance:
        yield f"PSI {found.psi:.2f}, limit {limits.psi:g}, past windows {usual.psi:.2f}"
    if found.missing > max(limits.missing, usual.missing):
        yield f"{found.missing:.0%} more missing than in the past"
    if found.values > max(limits.values, usual.values):
        yield f"new or vanished values: {found.values:.0%} of rows"


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
    if not keys or not rows or not all(set(keys) <= set(frame) for frame in rows.values()):
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
        score = evaluate.bootstrap(scene.judge, y, _said(scene, known), blocks=_blocks(scene, known))
    return None if np.isnan([score.value, score.high]).any() else score


def _blocks(scene: Scene, rows: pd.DataFrame) -> np.ndarray | None:
    """The blocks of dates of forecasts, whose errors go together."""
    if not windows.is_told(rows, scene.live.contract):
        return None
    return np.asarray(scene.settings.rolling.blocks(windows.place(rows, scene.live.contract)[TIME], scene.settings))


def _said(scene: Scene, rows: pd.DataFrame) -> np.ndarray:
    """What was predicted, as the judge takes it; what was not kept is asked for again."""
    if scene.judge.task == "regression" and PREDICTION in rows:
        return pd.to_numeric(rows[PREDICTION]).to_numpy(float)
    names = [contracts.beside(f"probability_{label}", scene.live.contract) for label in scene.judge.classes]
    if set(names) <= set(rows):
        return rows[names].to_numpy(float)
    typed = contracts.coerce(rows, scene.live.contract)[0]
    return scene.judge.predict(scene.live.estimator, as_input(typed, list(scene.live.estimator.feature_names_in_)))


def _keys(frame: pd.DataFrame, contract: contracts.Contract) -> pd.Series:
    typed = contracts.coerce(frame[contract["unique"]], contract)[0]
    return pd.util.hash_pandas_object(typed, index=False)


def _until(rows: pd.DataFrame) -> str | None:
    return None if rows[TIME].isna().all() else rows[TIME].max().isoformat()
