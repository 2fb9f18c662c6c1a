"""The champion over HTTP; what a row must hold comes from the data contract."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from ..data import contract as contracts
from ..settings import ProjectError, Settings, load
from . import predict as live
from .guard import Guard
from .worker import Row, Worker

MAX_ROWS = 1000
PREDICT_SECONDS = 10.0
PATHS = {"/health", "/ready", "/model", "/metrics", "/predict"}
CARD = ("id", "promoted", "metric", "scores", "verdict", "data", "code", "commit")


def _only_text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("a date is text such as 2026-11-24")
    return value


def _without_zone(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    except OverflowError:
        raise ValueError("no such date") from None


TYPES: dict[str, Any] = {
    "float64": Annotated[float, Field(allow_inf_nan=False)],
    "Int64": Annotated[int, Field(ge=-(2**63), lt=2**63)],
    "boolean": bool,
    "str": str,
    "datetime64[us]": Annotated[
        datetime, Field(strict=False), BeforeValidator(_only_text), AfterValidator(_without_zone)
    ],
}


class Prediction(BaseModel):
    """One prediction for each row; for classes also the probability of each."""

    model: str
    predictions: list[bool | float | str]
    probabilities: list[dict[str, float]] | None


class Forecasts(BaseModel):
    """What each series will be on the dates after its newest row: names of the series, time, horizon, prediction."""

    model: str
    forecasts: list[dict[str, Any]]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class WrongField(BaseModel):
    """Where a value is wrong, and why; never the value."""

    field: str
    problem: str


class WrongFields(BaseModel):
    """The first wrong fields of a body."""

    detail: list[WrongField]


NOT_READY: Any = {503: {"model": Problem, "description": "No champion, or no answer in time"}}
REFUSALS: Any = NOT_READY | {
    400: {"model": Problem, "description": "Not JSON"},
    408: {"model": Problem, "description": "The body came too slowly"},
    413: {"model": Problem, "description": "The body is too large"},
    415: {"model": Problem, "description": "Another content type, or compressed"},
    422: {"model": WrongFields, "description": "Wrong fields"},
}


def request_model(contract: contracts.Contract) -> type[BaseModel]:
    """Rows as the contract has them: every feature, in its type and limits, null only where it may be.

    A row may name its key too, which is kept beside what was served; no model sees it.
    """
    fields: dict[str, Any] = {}
    for name, column in field_names(contract).items():
        rules = contract["columns"][column]
        kind, is_key = _kind(rules), rules["role"] == "key"
        default = None if is_key else ...
        fields[name] = (kind | None if is_key or rules["nullable"] else kind, Field(default, alias=column))
    strict = ConfigDict(extra="forbid", strict=True)
    row: Any = create_model("Row", __config__=strict, **fields)
    rows = (list[row], Field(min_length=1, max_length=MAX_ROWS))
    return create_model("Rows", __config__=strict, rows=rows)


def field_names(contract: contracts.Contract) -> dict[str, str]:
    """A Python name for each column of a row: columns are called as people like."""
    columns = [*contracts.features(contract), *contracts.columns(contract, "key")]
    return {f"field_{number}": column for number, column in enumerate(columns)}


def _kind(rules: contracts.Contract) -> Any:
    """The type of a column's values, within its limits."""
    kind = TYPES[rules["dtype"]]
    if "in_range" in rules:
        kind = Annotated[kind, Field(ge=rules["in_range"]["min_value"], le=rules["in_range"]["max_value"])]
    if "isin" in rules:
        known = set(rules["isin"])

        def check(value: Any) -> Any:
            if value not in known:
                raise ValueError("the contract does not have this value")
            return value

        kind = Annotated[kind, AfterValidator(check), Field(json_schema_extra={"enum": rules["isin"]})]
    return kind


class Metrics:
    """What Prometheus asks for."""

    def __init__(self, pointer: dict[str, Any]) -> None:
        self.registry = CollectorRegistry()
        to: Any = {"registry": self.registry}
        self.requests = Counter("http_requests", "Requests answered", ["path", "status"], **to)
        self.seconds = Histogram("predict_seconds", "Seconds for each request of predictions", **to)
        self.rows = Counter("predicted_rows", "Rows predicted", **to)
        self.refused = Counter("refused_rows", "Rows with a wrong value in a column", ["column"], **to)
        if pointer:
            Gauge("model_info", "The model that answers", ["id"], **to).labels(pointer["id"]).set(1)
        if "promoted" in pointer:
            promoted = Gauge("model_promoted_timestamp_seconds", "When the model became champion", **to)
            promoted.set(datetime.fromisoformat(pointer["promoted"]).timestamp())

    def see(self, path: str, status: int, seconds: float) -> None:
        self.requests.labels(path if path in PATHS else "other", status).inc()
        if path == "/predict":
            self.seconds.observe(seconds)

    def refuse(self, places: set[tuple[Any, ...]], columns: list[str]) -> None:
        """Counts the rows that are wrong in a column; a name that the contract does not have is "unknown"."""
        for _, _, column, *_ in filter(lambda place: len(place) > 2, places):
            self.refused.labels(column if column in columns else "unknown").inc()


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; without a champion it starts too, and answers 503 with the reason."""
    settings = settings or load()
    task, contract, served = settings.forecasts, contracts.load(settings.root), os.environ.get("SERVED_DIR")
    contract = task.history(contract) if task else contract
    if served and not Path(served).is_dir():
        raise ProjectError(f"SERVED_DIR: {served} is not a folder.")
    try:
        champion, problem = live.load(settings.root), ""
    except ProjectError as error:
        champion, problem = None, error.message
    forecast = partial(task.forecast, champion, settings, name="rows") if task else None
    known = replace(champion, contract=contract) if champion else None
    worker = Worker(known, Path(served) if served else None, forecast) if known else None
    metrics = Metrics(champion.pointer if champion else {})
    names = field_names(contract)
    rows: Any = request_model(contract)
    answer: Any = Forecasts if task else Prediction
    app = FastAPI(title=settings.package)
    app.state.is_draining = False  # server.py says so when it is about to end
    app.add_middleware(Guard, seen=metrics.see)

    def ask() -> Worker:
        if worker is None:
            raise HTTPException(503, problem)
        return worker

    @app.get("/health")
    def health() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @app.get("/ready", responses=NOT_READY)
    def ready() -> dict[str, str]:
        """The champion is loaded, and the server is not about to end."""
        if app.state.is_draining:
            raise HTTPException(503, "This server is about to end.")
        return {"status": "ok", "model": ask().id}

    @app.get("/model", responses=NOT_READY)
    def describe() -> dict[str, Any]:
        """Which model answers, what it is for, how it was judged, and what it reads."""
        pointer, use = ask().champion.pointer, settings.root / "docs/intended_use.md"
        card = {name: pointer[name] for name in CARD if name in pointer}
        text = use.read_text(encoding="utf-8") if use.is_file() else None
        return card | {"features": contracts.features(contract), "intended_use": text}

    @app.get("/metrics", response_class=PlainTextResponse)
    def show() -> Response:
        """How much was asked, answered and refused, and how fast, for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4")

    @app.post("/predict", responses=REFUSALS)
    async def predict(body: rows, request: Request) -> answer:
        """Predicts up to a thousand rows, or forecasts each series from its newest ones."""
        asked: list[Row] = [[getattr(row, name) for name in names] for row in body.rows]
        request.state.rows, request.state.model = len(asked), ask().id
        try:
            predicted, scores = await ask().ask(asked, PREDICT_SECONDS)
        except TimeoutError:
            raise HTTPException(503, f"The answer took longer than {PREDICT_SECONDS:g} seconds.") from None
        except ProjectError as error:
            raise HTTPException(422, [{"field": "rows", "problem": error.message}]) from None
        metrics.rows.inc(len(asked))
        if task:
            return Forecasts(model=ask().id, forecasts=predicted)
        return Prediction(model=ask().id, predictions=predicted, probabilities=scores)

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        """422: which fields are wrong, and why; never the values that were sent."""
        wrong = error.errors()
        metrics.refuse({item["loc"][1:4] for item in wrong}, [*names.values()])
        fields = [".".join(map(str, item["loc"][1:])) or "body" for item in wrong[:20]]
        said = [item["msg"].removeprefix("Value error, ") for item in wrong[:20]]
        detail = [{"field": field, "problem": problem} for field, problem in zip(fields, said, strict=True)]
        return JSONResponse({"detail": detail}, 422)

    return app
