"""Forecasts of the champion: the newest rows of each series come in, a row for each series and horizon goes out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from .. import credentials
from ..data import contract as contracts
from ..data import rolling, sources
from ..data.contract import as_input
from ..settings import ForecastParams, ProjectError, Settings
from ..training import champion
from . import batch
from . import predict as live


def history(contract: contracts.Contract) -> contracts.Contract:
    """The contract of the rows that are sent: what the target was, and in which series, is read like a feature."""
    read = {"target", "series"}
    columns = contract["columns"].items()
    return contract | {"columns": {n: r | ({"role": "feature"} if r["role"] in read else {}) for n, r in columns}}


def answers(contract: contracts.Contract) -> contracts.Contract:
    """The contract of what is answered, which has no feature."""
    return contract | {"columns": {n: r for n, r in contract["columns"].items() if r["role"] != "feature"}}


def forecast(asked: live.Champion, settings: Settings, rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """A row for each series and horizon; ProjectError names a wrong cell, or a series with too short a history."""
    return _say(asked, settings, rolling.latest, live.to_features(rows, history(asked.contract), name))


def told(asked: live.Champion, settings: Settings, rows: pd.DataFrame) -> pd.DataFrame:
    """What the champion says of each date from every origin among typed rows."""
    return _say(asked, settings, rolling.every, rows)


def _say(asked: live.Champion, settings: Settings, make: Callable[..., pd.DataFrame], rows: pd.DataFrame) -> Any:
    """The champion's answers to the table that is made of the rows."""
    own = ForecastParams(**asked.pointer["params"]["forecast"])  # the champion's, whatever params.yaml says now
    settings = replace(settings, params=settings.params.model_copy(update={"forecast": own}))
    table = make(rows, settings, champion.code_folder(settings.root, asked.pointer["id"]))
    known = list(asked.estimator.feature_names_in_)
    if lost := [column for column in known if column not in table]:
        raise ProjectError(f"Champion {asked.pointer['id']} reads {lost[0]!r}, which is not there: run retrain.")
    answer = table[[*settings.params.data.series, settings.params.data.time]].assign(
        horizon=table["horizon"].astype(int), prediction=asked.estimator.predict(as_input(table, known))
    )
    return answer.sort_index(level=["series", "horizon"]).reset_index(drop=True)


def predict(settings: Settings, source: str, destination: str, _: Callable[[str], None]) -> list[batch.Result]:
    """Writes the forecasts that follow the rows of `source`, all its files together, to one file or table."""
    if not (sources.is_sql(destination) or destination.endswith(sources.ENDINGS)):
        raise ProjectError(f"{destination}: the name must end in {', '.join(sources.ENDINGS)}.")
    champion_, name = live.load(settings.root), batch.name_of(source)
    chunks = sources.chunks(source, root=Path.cwd(), texts=contracts.texts(champion_.contract), rows=batch.ROWS)
    made = forecast(champion_, settings, pd.concat(chunks, ignore_index=True), name)
    return [batch.Result(credentials.mask(destination), batch.write(iter([made]), destination))]
