"""The champion over HTTP; what a row must hold comes from the data contract."""

from datetime import UTC, datetime
from typing import Annotated, Any

import pandas as pd
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model
from threadpoolctl import ThreadpoolController

from ..data import contract as contracts
from ..settings import ProjectError, Settings, load
from . import predict as live

MAX_ROWS = 1000


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


def request_model(contract: contracts.Contract) -> type[BaseModel]:
    """Rows as the contract has them: every feature, in its type, null only where it may be."""
    fields: dict[str, Any] = {}
    for number, column in enumerate(contracts.features(contract)):
        rules = contract["columns"][column]
        kind = TYPES[rules["dtype"]]
        known = {"examples": rules["isin"]} if "isin" in rules else None
        field = Field(alias=column, json_schema_extra=known)
        fields[f"field_{number}"] = (kind | None if rules["nullable"] else kind, field)
    strict = ConfigDict(extra="forbid", strict=True)
    row: Any = create_model("Row", __config__=strict, **fields)
    rows = (list[row], Field(min_length=1, max_length=MAX_ROWS))
    return create_model("Rows", __config__=strict, rows=rows)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; without a champion it starts too, and answers 503 with the reason."""
    root = (settings or load()).root
    contract = contracts.load(root)
    try:
        champion, problem = live.load(root), ""
    except ProjectError as error:
        champion, problem = None, error.message
    request: Any = request_model(contract)
    threads = ThreadpoolController()  # several would only wait for each other over a few rows
    registry = CollectorRegistry()
    rows = Counter("predicted_rows", "Rows predicted", registry=registry)
    seconds = Histogram("predict_seconds", "Seconds for each request", registry=registry)
    app = FastAPI(title=root.name, exception_handlers=HANDLERS)

    def ask() -> live.Champion:
        if champion is None:
            raise HTTPException(503, problem)
        return champion

    @app.get("/health")
    def health() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @app.get("/ready")
    def ready() -> dict[str, str]:
        """The champion is loaded."""
        return {"status": "ok", "model": ask().pointer["id"]}

    @app.get("/model")
    def describe() -> dict[str, Any]:
        """Which model answers, how it was judged, and what it reads."""
        return ask().pointer | {"features": contracts.features(contract)}

    @app.get("/metrics")
    def metrics() -> Response:
        """How much was predicted, and how fast, for Prometheus."""
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    @app.post("/predict")
    def predict(body: request) -> Prediction:
        """Predicts up to a thousand rows."""
        with seconds.time(), threads.limit(limits=1):
            frame = pd.DataFrame([row.model_dump(by_alias=True) for row in body.rows])
            X = live.to_features(frame, contract, "rows")
            predicted, scores = live.predict(ask().estimator, X)
        rows.inc(len(frame))
        probabilities = None if scores is None else scores.to_dict("records")
        return Prediction(model=ask().pointer["id"], predictions=predicted.tolist(), probabilities=probabilities)

    return app


def _refuse(_: Request, error: Exception) -> JSONResponse:
    """422: which fields are wrong, and why; never the values that were sent."""
    wrong = error.errors()[:20] if isinstance(error, RequestValidationError) else []
    detail = [
        {"field": ".".join(map(str, item["loc"][1:])), "problem": item["msg"].removeprefix("Value error, ")}
        for item in wrong
    ]
    return JSONResponse({"detail": detail or [{"field": "rows", "problem": str(error)}]}, 422)


def _fail(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "This went wrong here; the log says why."}, 500)


HANDLERS: Any = {RequestValidationError: _refuse, ProjectError: _refuse, Exception: _fail}
