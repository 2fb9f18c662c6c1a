"""The windows that are compared: the newest of what was served, and those of the past that the champion knows."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pyarrow import parquet
from pydantic import Field

from ..data import contract as contracts
from ..data import sources
from ..data.contract import as_input
from ..serving.predict import Champion
from ..settings import Address, ProjectError, Section, Settings, read_yaml, validate
from . import drift

FILE = Path("deployment/monitoring.yaml")
FORMS = {"hour": ("h", "%Y-%m-%d %H:00"), "day": ("D", "%Y-%m-%d"), "week": ("W", "%Y-%m-%d"), "month": ("M", "%Y-%m")}
PREDICTION = "prediction"
TIME, ROWS = "window's time", "window's rows"  # beside the columns of the served rows
HORIZON = "horizon"  # of a forecast
MOST_ROWS = 100_000  # of the past, and of a window
FEWEST, MOST_WINDOWS = 8, 240  # windows of the past that say how far a column moves by itself
BESIDE = {"hour": 336, "day": 14, "week": 2}  # windows of two weeks, which odd weather may last
USUAL = 0.975  # of them stay below the limit


class Limits(Section):
    """deployment/monitoring.yaml."""

    uri: Address
    window: Literal["hour", "day", "week", "month", "file"]
    k: int = Field(ge=1)
    n: int = Field(ge=1)
    min_rows: int = Field(ge=2)
    psi: float = Field(gt=0)
    missing: float = Field(gt=0)
    values: float = Field(gt=0)
    performance_drop: float = Field(ge=0)
    max_age_days: float = Field(gt=0)


@dataclass(frozen=True)
class Past:
    """What the champion knows, cut into windows of `size` rows or so; `places` is None where they are of any time.

    An alarm looks at `n` of them, and at no index below `psi`; `beside` are those on either side of one that are odd
    when it is.
    """

    frame: pd.DataFrame
    windows: pd.Series
    places: pd.DataFrame | None
    size: int
    n: int
    psi: float
    beside: int = 0

    def like(self, places: pd.DataFrame | None, without: Collection[Any] = ()) -> pd.DataFrame:
        """The rows that a window is held against: of its time of the year and its horizons, if there are enough."""
        rest = ~self.windows.isin(without)
        if self.places is None or places is None or places[TIME].isna().all():
            return self.frame[rest]
        near = rest & drift.season(self.places[TIME], places[TIME])
        near &= self.places[HORIZON].isin(places[HORIZON].unique())
        return self.frame[near if near.sum() >= self.size else rest]

    @cached_property
    def moves(self) -> dict[Any, dict[str, drift.Measures]]:
        """How far the columns of each of the past's own windows are from the rest, those beside it left out."""
        names, found = self.full(), {}
        reach = min(self.beside, len(names) // 6)  # of few windows a rest has to be left
        measured = names if len(names) <= MOST_WINDOWS else sorted({name for run in self.runs for name in run})
        for window in measured:
            mine, number = np.flatnonzero(self.windows == window), names.index(window)
            mine = np.random.default_rng(0).permutation(mine)[: self.size]
            places = None if self.places is None else self.places.iloc[mine]
            rest = self.like(places, names[max(0, number - reach) : number + reach + 1])
            here = self.frame.iloc[mine]
            found[window] = {name: drift.measure(rest[name], here[name], beyond=self.psi) for name in here}
        return found

    @cached_property
    def runs(self) -> list[list[Any]]:
        """Every n windows that stand beside each other; of many windows a random choice of such runs."""
        names = self.full()
        starts = np.arange(len(names) - self.n + 1)
        if len(names) > MOST_WINDOWS:
            starts = np.sort(np.random.default_rng(0).permutation(starts)[: MOST_WINDOWS // self.n])
        return [names[start : start + self.n] for start in starts]

    def usual(self, column: str, without: Collection[Any] = ()) -> drift.Measures:
        """What all but one in forty of the past's own windows stay below."""
        found = [moves[column] for window, moves in self.moves.items() if window not in without]
        spread = [[item.psi, item.missing, item.values] for item in found]
        return drift.Measures(*map(float, np.quantile(spread, USUAL, axis=0)))

    def full(self) -> list[Any]:
        """The windows with enough rows, oldest first."""
        rows = self.windows.value_counts().sort_index()
        return rows[rows >= self.size / 2].index.tolist()


def load_limits(root: Path) -> Limits:
    limits = validate(Limits, read_yaml(root / FILE), str(FILE))
    if limits.k > limits.n:
        raise ProjectError(f"{FILE}: k is {limits.k} and n {limits.n}: that alarm can never ring.")
    return limits


def served(
    address: str, contract: contracts.Contract, limits: Limits, root: Path, among: Collection[str] | None = None
) -> dict[str, pd.DataFrame]:
    """The rows of the newest n windows by name, of `among` only, or random ones of many.

    TIME says when a row was, ROWS how many rows its window has. A forecast is of the window of its date.
    """
    newest: dict[str, contracts.Sample] = {}
    counts = Counter[str]()
    times_of_rows = contracts.columns(contract, "time")
    columns = [*([] if contracts.is_forecast(contract) else [contracts.beside("served_at", contract)]), *times_of_rows]
    for name, frame in sources.named_chunks(address, root=root, texts=contracts.texts(contract)):
        known = [column for column in times_of_rows if column in frame]
        frame[known] = contracts.coerce(frame[known], contract)[0]
        names, times = cut(frame, name, limits.window, columns)
        for window, rows in frame.assign(**{TIME: times}).groupby(names):
            if among is None or window in among:
                newest.setdefault(str(window), contracts.Sample(MOST_ROWS)).add(rows)
                counts[str(window)] += len(rows)
        for window in sorted(newest)[: -limits.n]:
            del newest[window]
    frames = {window: newest[window].frame.reset_index(drop=True) for window in sorted(newest)}
    return {window: frame.assign(**{ROWS: counts[window]}) for window, frame in frames.items()}


def cut(frame: pd.DataFrame, name: str, window: str, columns: list[str]) -> tuple[pd.Series, pd.Series]:
    """The window of each row and its time, from the first of the columns that is there; else all are of one."""
    known = [column for column in columns if column in frame]
    times = sources.to_dates(frame[known[0]] if known else pd.Series(None, frame.index, dtype=object))
    if window == "file" or not known:
        return pd.Series(name, frame.index), times
    period, form = FORMS[window]
    return times.dt.to_period(period).dt.start_time.dt.strftime(form), times


def place(rows: pd.DataFrame, contract: contracts.Contract) -> pd.DataFrame:
    """When the rows are of, by the contract's time, else when they were served; and the horizon of a forecast."""
    time = next((sources.to_dates(rows[name]) for name in contracts.columns(contract, "time") if name in rows), None)
    time = rows.get(TIME, pd.Series(pd.NaT, rows.index)) if time is None else time
    return pd.DataFrame({TIME: time, HORIZON: rows[HORIZON] if is_told(rows, contract) else 0})


def is_told(rows: pd.DataFrame, contract: contracts.Contract) -> bool:
    """Whether they are forecasts, not the rows that forecasts are made from."""
    return contracts.is_forecast(contract) and PREDICTION in rows


def sides(settings: Settings, live: Champion) -> list[tuple[Champion, pd.DataFrame]]:
    """What the champion knows, with its predictions; of a forecast what it said of each date, then what it knows."""
    rows, task = known(settings, live), settings.forecasts
    if not task:
        said = live.estimator.predict(as_input(rows, list(live.estimator.feature_names_in_)))
        return [(live, rows.assign(**{PREDICTION: said}))]
    told, asked = (replace(live, contract=part(live.contract)) for part in (task.answers, task.history))
    return [(told, task.told(live, settings, rows)), (asked, rows)]


def known(settings: Settings, live: Champion) -> pd.DataFrame:
    """The batches of the champion's round, at most some rows of each; a forecast needs all."""
    paths = sources.batch_paths(settings.root)[: live.pointer["data"]["batches"]]
    share = min(1.0, MOST_ROWS / sum(parquet.read_metadata(path).num_rows for path in paths))
    share = 1.0 if settings.forecasts else share
    frames = {}
    for path in paths:
        rows = contracts.Sample(round(share * parquet.read_metadata(path).num_rows))
        for chunk in sources.batch_chunks(path):
            rows.add(chunk)
        frames[path.stem] = contracts.coerce(rows.frame, live.contract)[0]
    return pd.concat(frames, names=[contracts.BATCH]).reset_index(level=0).reset_index(drop=True)


def make_past(frame: pd.DataFrame, live: Champion, limits: Limits, size: int) -> Past:
    """One side of what the champion knows, in windows."""
    frame = frame.sample(min(len(frame), MOST_ROWS), random_state=0).sort_index()
    time = contracts.columns(live.contract, "time")
    windows, _ = cut(frame, "", limits.window, time)
    if not windows.any():
        windows = frame[contracts.BATCH]
    size = min(size, int(windows.value_counts().median()))  # more may be served in a window than was learnt from
    places, beside = place(frame, live.contract) if time else None, BESIDE.get(limits.window, 0)
    past = Past(watched(frame, live), windows, places, size, limits.n, limits.psi, beside)
    return past if len(past.full()) >= FEWEST else _shuffled(past)


def watched(frame: pd.DataFrame, live: Champion) -> pd.DataFrame:
    """The columns that can drift, in their types: the features that are there, and the prediction; not the time."""
    features = [name for name in contracts.columns(live.contract, "feature") if name in frame]
    typed = contracts.coerce(frame[features], live.contract)[0]
    for name in features:
        if typed[name].dtype.kind == "M":
            typed[name] = typed[name].astype("int64").where(typed[name].notna(), np.nan)
    if PREDICTION in frame:
        [target] = contracts.columns(live.contract, "target")
        said = contracts.coerce(frame[[PREDICTION]].set_axis([target], axis=1), live.contract)[0][target]
        typed[PREDICTION] = said if not hasattr(live.estimator, "classes_") else said.astype("str")
    return typed


def _shuffled(past: Past) -> Past:
    """Windows made of random rows, where there are too few real ones."""
    size = max(1, min(past.size, len(past.frame) // FEWEST))
    places = np.random.default_rng(0).permutation(len(past.frame))
    return Past(past.frame, pd.Series(places // size, past.frame.index), None, size, past.n, past.psi)
