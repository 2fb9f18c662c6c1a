"""Forecasts of the champion: the newest rows of each series come in, a row for each series and horizon goes out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel
from threadpoolctl import threadpool_limits

from ..data import contract as contracts
from ..data import rolling, sources
from ..data.contract import as_input
from ..settings import ForecastParams, ProjectError, Settings, load
from ..training import champion
from . import app, batch
from . import predict as live


class Forecasts(BaseModel):
    """What each series will be on the dates after its newest row: names of the series, time, horizon, prediction."""

    model: str
    forecasts: list[dict[str, Any]]


def history(contract: contracts.Contract) -> contracts.Contract:
    """The contract of the rows that are sent: what the target was, and in which series, is read like a feature."""
    read = {"target", "series"}
    columns = contract["columns"].items()
    return contract | {"columns": {n: r | ({"role": "feature"} if r["role"] in read else {}) for n, r in columns}}


def forecast(asked: live.Champion, settings: Settings, rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """A row for each series and horizon; ProjectError names a wrong cell, or a series with too short a history."""
    own = ForecastParams(**asked.pointer["params"]["forecast"])  # the champion's, whatever params.yaml says now
    settings = replace(settings, params=settings.params.model_copy(update={"forecast": own}))
    typed = live.to_features(rows, history(asked.contract), name)
    table = rolling.latest(typed, settings, settings.root / champion.CODE / asked.pointer["id"])
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
    champion_, name = live.load(settings.root), sources.masked(source).rpartition("/")[2]
    chunks = sources.chunks(source, root=Path.cwd(), texts=contracts.texts(champion_.contract), rows=batch.ROWS)
    made = forecast(champion_, settings, pd.concat(chunks, ignore_index=True), name)
    return [batch.Result(sources.masked(destination), batch.write(iter([made]), destination))]


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application of `app`, whose /predict takes the newest rows and answers with forecasts."""
    settings = settings or load()
    made, contract = app.create_app(settings), contracts.load(settings.root)
    made.router.routes = [route for route in made.router.routes if getattr(route, "path", "") != "/predict"]
    request_model: Any = app.request_model(history(contract))
    try:
        known, problem = live.load(settings.root), ""
    except ProjectError as error:
        known, problem = None, error.message

    @made.post("/predict", responses=app.REFUSALS)
    def forecasts(body: request_model, request: Request) -> Forecasts:
        """Forecasts each series from its newest rows, at most a thousand together."""
        if known is None:
            raise HTTPException(503, problem)
        rows = pd.DataFrame([row.model_dump(by_alias=True) for row in body.rows])
        request.state.rows, request.state.model = len(rows), known.pointer["id"]
        try:
            with threadpool_limits(1):
                found = forecast(known, settings, rows, "rows")
        except ProjectError as error:
            raise HTTPException(422, [{"field": "rows", "problem": error.message}]) from None
        return Forecasts(model=known.pointer["id"], forecasts=found.to_dict("records"))

    return made
