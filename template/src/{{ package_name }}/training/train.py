"""Fits the model, and names it by what it was made from."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from .. import model
from ..data import contract as contracts
from ..data.contract import as_input
from ..data.split import HOLDOUT, Split
from ..settings import ProjectError, Settings

# What a model is made by; a change in the report or in serving makes no other model.
CODE = (
    *("features.py", "model.py", "persistence.py", "settings.py", "training/train.py"),
    *("data/contract.py", "data/sources.py", "data/split.py"),
    *("forecast.py", "data/rolling.py"),  # which only a forecast has
)


@dataclass(frozen=True)
class Inputs:
    """Digests of all that decides a model's bytes."""

    code: str
    data: str
    lock: str
    params: dict[str, Any]

    @property
    def id(self) -> str:
        parts = [self.code, self.data, self.lock, json.dumps(self.params, sort_keys=True)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def inputs(settings: Settings) -> Inputs:
    """The digests of the project as it stands."""
    package, root = Path(__file__).resolve().parent.parent, settings.root
    raw = sorted((root / "data/raw").glob("*.parquet"))
    return Inputs(
        code=_digest(path for name in CODE if (path := package / name).exists()),
        data=_digest([*raw, root / HOLDOUT, root / contracts.FILE]),
        lock=_digest([root / "uv.lock"]),
        params=settings.params.model_dump(exclude={"compute"}),
    )


def fit(split: Split, settings: Settings) -> Any:
    """The fitted pipeline; the same inputs give the same bytes.

    One thread: several add up floats in an order that depends on the machine, and on few rows they only wait.
    """
    X = as_input(split.train, split.features)
    try:
        with threadpool_limits(1):
            return make_model(X, settings).fit(X, target_of(split.train, settings))
    except (ValueError, TypeError) as error:
        raise ProjectError(f"The model does not fit: {' '.join(str(error).split())[:300]}") from None


def make_model(X: Any, settings: Settings) -> Any:
    """The unfitted pipeline: model.py's, or what forecast.py makes of it."""
    maker = settings.rolling.forecast if settings.rolling else model
    return maker.make_model(X, settings.params)


def target_of(frame: Any, settings: Settings) -> Any:
    """The target as scikit-learn takes it: floats; for classes booleans too, or objects."""
    values = frame[settings.params.data.target]
    if settings.params.training.kind == "regression":
        return values.astype(float)
    if pd.api.types.is_bool_dtype(values):
        return values.astype(bool)  # of objects that are booleans it says that the labels are unknown
    return values if values.dtype.kind == "f" else values.astype(object)


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        if path.exists():
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:16]
