"""The table of a forecast: one row for each origin (the last date that is known), series and horizon.

Its index is (origin, series, horizon), its columns are what forecast.py makes, the time and the target of the date
that is forecast, and the seasonal naive forecast of it. Origins roll over the whole data; a row belongs to the part,
training, holdout or window, to which its date belongs.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import forecast
from ..persistence import code_of
from ..settings import COMMAND, ContractError, DataParams, ProjectError, Settings
from . import contract as contracts
from .contract import as_input
from .split import Split

NAIVE = "seasonal naive"  # the column of the value one season before, which any model has to beat
PART = "part of the data"
SECONDS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
SEASONS = {"30 minutes": 48, "1 hours": 24, "1 days": 7, "7 days": 52, "1 months": 12, "3 months": 4}
ORIGINS = 5  # at which look-ahead is looked for
DRAWN = 500  # dates, at most, of which a report shows what was forecast
BLOCKS = 12  # into which the dates of a judgement fall, at least


@dataclass(frozen=True)
class Plan:
    """What decides the table; dates are `count` `unit`s apart and counted from `first`, None for the oldest row."""

    target: str
    time: str
    series: list[str]
    others: list[str]
    horizon: int
    season: int
    count: int
    unit: str
    maker: Any  # the module that has make_features
    first: Any = None

    def places(self, times: pd.Series) -> pd.Series:
        """Dates as numbers of steps; a month is no fixed time, the calendar counts it."""
        if self.unit == "months":
            since = 12 * (times.dt.year - self.first.year) + times.dt.month - self.first.month
            return since // self.count
        return ((times - self.first) / pd.Timedelta(**{self.unit: self.count})).round().astype(int)

    def dates(self, places: pd.Index) -> pd.DatetimeIndex:
        if self.unit == "months":
            steps = (pd.DateOffset(months=self.count * int(place)) for place in places)
            return pd.DatetimeIndex([self.first + step for step in steps]).astype("datetime64[us]")
        return self.first + pd.to_timedelta(places * self.count, unit=self.unit).astype("timedelta64[us]")


def plan(settings: Settings, code: Path | None = None) -> Plan:
    """The plan of params.yaml, the contract and forecast.py, or its copy in the folder `code` of a champion."""
    data, asked, contract = settings.params.data, settings.params.forecast, contracts.load(settings.root)
    if not (found := contract["columns"][data.time].get("spacing")):
        raise ProjectError(f"{contracts.FILE}: {data.time} has no spacing, as 1 day: type {COMMAND} data infer")
    assert asked
    count, unit = contracts.step(found)
    others = contracts.columns(contract, "feature")
    length = asked.season or SEASONS.get(f"{count} {unit}", 1)
    with code_of(code) if code else nullcontext():
        maker = import_module(forecast.__name__)
    return Plan(data.target, data.time, data.series, others, asked.horizon, length, count, unit, maker)


def spacing(rows: pd.DataFrame, data: DataParams) -> str:
    """The most frequent step between two rows of a series, as 1 day, 7 days, 1 month, 15 minutes."""
    steps = rows.sort_values(data.time).groupby(_label(rows, data.series), sort=False)[data.time].diff()
    if not (steps := steps[steps > pd.Timedelta(0)]).size:
        raise ProjectError("No series has two dates: data.key in params.yaml names the series, and the time.")
    seconds = max(1, round(steps.mode()[0].total_seconds()))
    count, unit = next((seconds // size, unit) for unit, size in SECONDS.items() if seconds % size == 0)
    if unit == "days" and count >= 28 and count % 7:
        count, unit = round(count / 30.44), "months"
    return f"{count} {unit if count > 1 else unit[:-1]}"


def tables(parts: Split, settings: Settings, code: Path | None = None) -> Split:
    """The same parts as tables, and the rows that they were made from; `code` is that of a champion."""
    named = {"train": parts.train, "holdout": parts.holdout, "window": parts.window}
    table = make_table(pd.concat(named, names=[PART]).reset_index(level=0), plan(settings, code))
    made = {name: table[table[PART] == name].drop(columns=PART) for name in named}
    for name in ("holdout", "window"):  # no training row's date may lie between a judged row's origin and its date
        first = _date(made[name]).min(initial=2**31)
        made[name] = made[name][_origin(made[name]) >= first - 1]
    if made["train"].empty or made["holdout"].empty:
        raise ProjectError("forecast.horizon: the data is too short for it, nothing is left to train or to judge.")
    features = [name for name in table if name not in (settings.params.data.target, NAIVE, PART)]
    return Split(**made, features=features, rows=parts)


def make_table(rows: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Typed rows as a table; the target is NaN where its date is not among them."""
    plan = replace(plan, first=plan.first or rows[plan.time].min())
    label = _label(rows, plan.series)
    index = pd.MultiIndex.from_arrays([plan.places(rows[plan.time]), label], names=["origin", "series"])
    if (twice := index.duplicated()).any():
        problem = f"{rows[plan.time][twice].iloc[0]}: two rows within {plan.count} {plan.unit}, the spacing"
        raise ContractError(f"{label[twice].iloc[0]}, {problem}.")
    columns = [plan.target, *plan.others, *([PART] if PART in rows else [])]
    history = as_input(rows, columns).set_index(index).unstack("series")
    # One step more, so that the steps show in what they differ, as in the hour, also where there is one row.
    history = history.reindex(range(history.index[0] - 1, history.index[-1] + 1))
    names = rows[plan.series].set_axis(label, axis=0).groupby(level=0).first()
    return pd.concat(_at(h, history, names, plan) for h in range(1, plan.horizon + 1)).sort_index()


def _at(horizon: int, history: pd.DataFrame, names: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The rows of one horizon, for all origins at which the series has a value."""
    y, dates = history[plan.target], plan.dates(history.index + horizon)
    made = plan.maker.make_features(history, dates, horizon, target=plan.target, others=plan.others, season=plan.season)
    made |= {name: names[name].reindex(y.columns).to_numpy(object)[None] for name in names}
    made |= {plan.time: dates, "horizon": np.full(len(y), float(horizon))}
    made |= {plan.target: y.shift(-horizon), NAIVE: y.shift(-horizon % plan.season)}
    made |= {PART: history[PART].shift(-horizon)} if PART in history else {}
    index = pd.MultiIndex.from_product([y.index, y.columns, [horizon]], names=["origin", "series", "horizon"])
    flat = {name: _flat(values, y.shape) for name, values in made.items()}
    return pd.DataFrame(flat, index)[y.notna().to_numpy().ravel()]


def _flat(values: Any, shape: tuple[int, int]) -> np.ndarray:
    """A value for each origin and series, or for each of one of them, as one column."""
    array = np.asarray(values)
    return np.broadcast_to(array if array.ndim == 2 else array[:, None], shape).ravel()


def _label(rows: pd.DataFrame, series: list[str]) -> pd.Series:
    """The name of each row's series."""
    label = pd.Series("series", rows.index, dtype=object)
    for name in series:
        label = label + " " + rows[name].astype(str)
    return label


def latest(rows: pd.DataFrame, settings: Settings, code: Path) -> pd.DataFrame:
    """The table of the newest origin of each series, from the steps that a forecast of the champion with `code` needs."""
    asked = plan(settings, code)
    rows = rows.dropna(subset=[asked.target])
    asked = replace(asked, first=rows[asked.time].min())
    place, label = asked.places(rows[asked.time]), _label(rows, asked.series)
    last, needed = place.groupby(label).max(), asked.maker.needed(asked.season)
    steps = last - place.groupby(label).min() + 1
    if (short := steps[steps < needed]).size:
        problem = f"history of {short.iloc[0]} steps, a forecast needs {needed}: send older rows too"
        raise ProjectError(f"{short.index[0]}: {problem}.")
    table = make_table(rows[place > label.map(last) - needed], asked)
    return table[_origin(table) == table.index.get_level_values("series").map(last)]


def every(rows: pd.DataFrame, settings: Settings, code: Path) -> pd.DataFrame:
    """The table of all origins that have the steps that a forecast of the champion with `code` needs."""
    asked = plan(settings, code)
    table = make_table(rows, asked)
    return table[_origin(table) >= min(asked.maker.needed(asked.season) - 1, _origin(table).max())]


def look_ahead(parts: Split, settings: Settings) -> list[str]:
    """The features that are not the same when rows are changed that no forecast knows of.

    At some origins all later rows are altered, then taken away together with those before the steps that
    `forecast.needed` names, as when the champion is asked.
    """
    assert parts.rows is not None
    asked, table = plan(settings), parts.train
    rows = pd.concat([parts.rows.train, parts.rows.holdout, parts.rows.window], ignore_index=True)
    asked = replace(asked, first=rows[asked.time].min())
    place, needed = asked.places(rows[asked.time]), asked.maker.needed(asked.season)
    chance, changed = np.random.default_rng(0), set[str]()
    origins = table.index.unique("origin")
    for origin in chance.choice(origins, min(ORIGINS, len(origins)), replace=False):
        near = (place > origin - needed) & (place <= origin + needed + asked.horizon)
        told = table.loc[[origin], parts.features]
        for other in (rows[near & (place <= origin)], _altered(rows[near], place[near] > origin, asked)):
            again = make_table(other, asked).loc[told.index]
            changed |= {name for name in parts.features if not _is_same(told[name], again[name])}
    return sorted(changed)


def _is_same(one: pd.Series, other: pd.Series) -> bool:
    """Equal but for rounding: pandas adds up a rolling mean from the first row on."""
    if one.dtype.kind == "f" == other.dtype.kind:
        return np.allclose(one, other, rtol=1e-6, atol=1e-6 * (one.abs().max() or 1), equal_nan=True)
    return one.equals(other)


def _altered(rows: pd.DataFrame, which: pd.Series, plan: Plan) -> pd.DataFrame:
    """Numbers far from what they were, and no more words, dates and truths, in some rows."""
    altered = as_input(rows, [plan.target, *plan.others])
    for name in altered:
        is_number = altered[name].dtype.kind == "f"
        altered[name] = altered[name].mask(which, -3 * altered[name] - 1000 if is_number else None)
    return rows.assign(**altered)


def changes(rows: pd.DataFrame, data: DataParams) -> pd.DataFrame:
    """The rows with the step that the target takes next in its place: what leaks are looked for in.

    A target that changes little from date to date is not given away by what goes with it; the next step is, by a
    column that knows the future.
    """
    rows = rows.sort_values(data.time)
    y = rows[data.target].astype(float)
    step = y.groupby(_label(rows, data.series)).shift(-1) - y
    return rows.assign(**{data.target: step}).dropna(subset=[data.target])


def blocks(dates: pd.Series, settings: Settings) -> np.ndarray:
    """The block of dates that each date is in, counted from 0.

    Errors of one date go together at all horizons, and those of dates within a horizon too (Diebold and Mariano,
    1995): a block of dates as long as the horizon is drawn as one (Carlstein, 1986).
    """
    assert settings.params.forecast
    date = np.unique(dates, return_inverse=True)[1]
    return date // max(1, min(settings.params.forecast.horizon, (date.max() + 1) // BLOCKS))


def folds(table: pd.DataFrame, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train and to test on: each fold's dates follow those that it was trained on, at least half of all."""
    from sklearn.model_selection import TimeSeriesSplit

    date = np.unique(_date(table), return_inverse=True)[1]
    dates = date.max() + 1
    days = TimeSeriesSplit(count, test_size=max(1, dates // (2 * count))).split(np.arange(dates))
    origin = date - table.index.get_level_values("horizon")
    return [
        (np.flatnonzero(date <= train[-1]), np.flatnonzero(np.isin(date, test) & (origin >= train[-1])))
        for train, test in days
    ]


def scale(table: pd.DataFrame, target: str) -> float:
    """What the seasonal naive forecast misses by one step ahead (the unit of MASE, Hyndman and Koehler, 2006)."""
    return float((table[target] - table[NAIVE]).abs().xs(1, level="horizon").mean())


def curve(table: pd.DataFrame, said: np.ndarray, data: DataParams) -> dict[str, list[Any]]:
    """Of the newest dates the mean over all series: what was observed, and forecast at both ends of the horizon."""
    horizon = table.index.get_level_values("horizon")
    ends = {"shortest": horizon == horizon.min(), "longest": horizon == horizon.max()}
    named = {name: pd.Series(said[at], table[data.time][at]) for name, at in ends.items()}
    named["observed"] = table.set_index(data.time)[data.target].astype(float)
    means = pd.DataFrame({name: column.groupby(level=0).mean() for name, column in named.items()})
    means = means.dropna().tail(DRAWN)
    return {"dates": means.index.astype(str).tolist()} | means.to_dict("list")


def _origin(table: pd.DataFrame) -> np.ndarray:
    return table.index.get_level_values("origin").to_numpy(int)


def _date(table: pd.DataFrame) -> np.ndarray:
    return _origin(table) + table.index.get_level_values("horizon").to_numpy(int)
