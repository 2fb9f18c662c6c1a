"""Which rows train a model and which judge it: a frozen holdout, and the newest window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ..persistence import write
from ..settings import COMMAND, ProjectError, Settings
from . import contract as contracts
from . import sources

HOLDOUT = Path("data/holdout.parquet")


@dataclass(frozen=True)
class Split:
    """Typed rows for training, the frozen holdout, and newer rows that no model has seen, if any.

    `features` are the columns to learn from, `empty` those that have no value in the rows for training; `rows` is
    what the table of a forecast was made from.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    window: pd.DataFrame
    features: list[str]
    rows: Split | None = None
    empty: tuple[str, ...] = ()


def freeze(frame: pd.DataFrame, settings: Settings) -> None:
    """Writes data/holdout.parquet if it is not there: it stays the same as long as the project.

    With a time column it is the newest share of the rows, cut between two days; else a hash of the
    key decides.
    """
    path = settings.root / HOLDOUT
    if path.with_suffix(".parquet.dvc").exists() and not path.exists():
        raise ProjectError(f"{HOLDOUT} is not here: type {COMMAND} restore")
    if not path.exists():
        write(path, frame[_is_held(frame, settings)].reset_index(level=0).to_parquet(index=False))


def split(frame: pd.DataFrame, settings: Settings) -> Split:
    """The frame of `contract.check_batches` in three parts that share no row."""
    holdout = sources.read_batch(settings.root / HOLDOUT)
    known = set(holdout[contracts.BATCH])
    contract = contracts.load(settings.root)
    holdout = contracts.coerce(holdout.reindex(columns=frame.columns), contract)[0]
    key = contract["unique"]
    held = contracts.row_hashes(frame, key).isin(contracts.row_hashes(holdout, key))
    window = _window(frame, held, holdout, known, settings)
    train = frame[~held & ~window]
    check_overlap(train, holdout, key)
    newest = frame[window].reset_index(drop=True)
    parts = Split(train.reset_index(drop=True), holdout, newest, contracts.features(contract))
    return _without_empty(settings.rolling.tables(parts, settings) if settings.rolling else parts)


def _without_empty(parts: Split) -> Split:
    """The parts without the features that nothing can be learnt of, as a column that came only lately."""
    empty = tuple(name for name in parts.features if parts.train[name].isna().all())
    features = [name for name in parts.features if name not in empty]
    if not features:
        raise ProjectError(f"No column is left to learn from: {', '.join(empty)} have no value in the training rows.")
    return replace(parts, features=features, empty=empty)


def check_overlap(train: pd.DataFrame, holdout: pd.DataFrame, key: list[str] | None = None) -> None:
    """ProjectError when a row of the holdout, told by its key, is among the training rows."""
    shared = contracts.row_hashes(train, key).isin(contracts.row_hashes(holdout, key)).sum()
    if shared:
        raise ProjectError(
            f"{shared:,} rows of the frozen holdout are among the training rows: the verdict would flatter the model."
        )


def _is_held(frame: pd.DataFrame, settings: Settings) -> pd.Series:
    data = settings.params.data
    if data.time:
        days = frame[data.time].dt.normalize()
        cut = days.sort_values().iloc[int(len(days) * (1 - data.holdout))]
        held = days >= cut
    else:
        held = contracts.row_hashes(frame, data.key) / 2.0**64 < data.holdout
    if not 0 < held.sum() < len(held):
        raise ProjectError(
            f"{len(frame):,} rows cannot be split: too few, or all on one day. Set data.time to '' in params.yaml."
        )
    return pd.Series(held, index=frame.index)


def _window(
    frame: pd.DataFrame, held: pd.Series, holdout: pd.DataFrame, known: set[str], settings: Settings
) -> pd.Series:
    """The newest whole batches after the freeze that together have enough rows, or none."""
    names = frame.index.get_level_values(contracts.BATCH)
    later = sorted(set(names) - known, reverse=True)
    if time := settings.params.data.time:
        last = frame[time].groupby(level=0).max()
        later = [name for name in later if last[name] > holdout[time].max()]
    for count in range(1, len(later) + 1):
        window = ~held & names.isin(later[:count])
        if window.sum() >= settings.params.data.window:
            return window
    return held & False
