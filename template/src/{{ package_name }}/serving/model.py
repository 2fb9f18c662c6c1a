"""The champion as it goes live: its file, the columns it reads, and its answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import persistence
from ..data import contract as contracts
from ..errors import ProjectError
from ..features import as_input
from ..settings import closest
from ..training import champion


@dataclass(frozen=True)
class Champion:
    """A loaded model, the pointer that names it, and the contract of what it reads."""

    pointer: dict[str, Any]
    estimator: Any
    contract: contracts.Contract

    @property
    def id(self) -> str:
        return str(self.pointer["id"])


def is_pointed_at(root: Path, pointer: dict[str, Any]) -> bool:
    """Whether the model's file is there, with the bytes that the pointer names."""
    path = root / champion.MODEL
    return path.is_file() and persistence.md5(path.read_bytes()) == pointer["model"]["md5"]


def load(root: Path) -> Champion:
    """The champion, ready to predict; ProjectError when its file is not the one promoted."""
    pointer = champion.load(root)
    if pointer is None:
        raise ProjectError("There is no champion yet: retrain makes the first.")
    if not is_pointed_at(root, pointer):
        raise ProjectError(
            f"{champion.MODEL} is not the file of champion {pointer['id']}: "
            f"type uv run dvc checkout --force {champion.MODEL}"
        )
    estimator = persistence.load(root / champion.MODEL, root=root)
    contract = contracts.load(root)
    if sorted(estimator.feature_names_in_) != sorted(contracts.features(contract)):
        raise ProjectError(
            f"Champion {pointer['id']} reads other columns than {contracts.FILE} has: run retrain."
        )
    return Champion(pointer, estimator, contract)


def to_features(frame: pd.DataFrame, contract: contracts.Contract, name: str) -> pd.DataFrame:
    """The columns that a model reads, in the contract's types; ProjectError names a wrong cell."""
    needed = contracts.features(contract)
    for column in needed:
        if column not in frame:
            near = closest(column, [str(known) for known in frame])
            raise ProjectError(f"{name} has no column {near}")
    typed, breaches = contracts.coerce(frame[needed], contract, name)
    if breaches:
        raise ProjectError(f"{name}: {breaches[0]}.")
    for column in needed:
        empty = typed[column].isna() & (not contract["columns"][column]["nullable"])
        if (bad := empty | typed[column].isin([math.inf, -math.inf])).any():
            row = int(bad.argmax()) + 1
            raise ProjectError(f"{name}: {column}: missing or infinite in row {row}.")
    return as_input(typed, needed)


def predict(estimator: Any, X: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame | None]:
    """The predictions and, for classes, the probability of each in a column of its own."""
    if not hasattr(estimator, "predict_proba"):
        return pd.Series(estimator.predict(X), index=X.index, name="prediction"), None
    scores = estimator.predict_proba(X)
    predicted = estimator.classes_[scores.argmax(axis=1)]
    columns = [str(label) for label in estimator.classes_]
    scores = pd.DataFrame(scores, X.index, columns)
    return pd.Series(predicted, index=X.index, name="prediction"), scores
