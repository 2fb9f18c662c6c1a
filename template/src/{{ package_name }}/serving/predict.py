"""The champion as it goes live: what it reads, and its answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data import contract as contracts
from ..data.contract import as_input
from ..settings import ContractError, ProjectError, closest
from ..training import champion


@dataclass(frozen=True)
class Champion:
    """A loaded model, the pointer that names it, and the contract of what it reads."""

    pointer: champion.Pointer
    estimator: Any
    contract: contracts.Contract


def load(root: Path, environment: str = "dev") -> Champion:
    """The champion, ready to predict; ProjectError when its file is not the one promoted."""
    pointer = champion.load(root, environment)
    if pointer is None:
        raise ProjectError("There is no champion yet: retrain makes the first.")
    estimator, contract = champion.load_model(root, pointer, environment), contracts.load(root)
    is_known = set(estimator.feature_names_in_) <= set(contracts.features(contract))
    if not is_known and not contracts.is_forecast(contract):
        raise ProjectError(f"Champion {pointer['id']} reads other columns than {contracts.FILE} has: run retrain.")
    return Champion(pointer, estimator, contract)


def to_features(frame: pd.DataFrame, contract: contracts.Contract, name: str, before: int = 0) -> pd.DataFrame:
    """The columns that a model reads, in its types; ContractError names the first cell that breaks the contract.

    `before` are the rows of the table that came in earlier chunks.
    """
    needed = contracts.features(contract)
    for column in needed:
        if column not in frame:
            raise ContractError(f"{name} has no column {closest(column, list(map(str, frame)))}")
    typed = contracts.coerce(frame[needed], contract)[0]
    for column in needed:
        for bad, problem in _breaches(frame[column], typed[column], contract["columns"][column]):
            if bad.any():
                row = before + int(bad.to_numpy().argmax()) + 1
                raise ContractError(f"{name}: {column}: {problem} in row {row:,}.")
    return as_input(typed, needed)


def _breaches(column: pd.Series, typed: pd.Series, rules: contracts.Contract) -> Iterator[tuple[pd.Series, str]]:
    """The cells that break each rule, and what is to be said of them. Without pandera, which the image does not have."""
    yield typed.isna() & column.notna(), f"not {contracts.KINDS[rules['dtype']]}"
    if not rules["nullable"]:
        yield typed.isna(), "missing"
    if rules["dtype"] == "float64":
        yield np.isinf(typed), "infinite"
    if "isin" in rules:
        yield typed.notna() & ~typed.isin(rules["isin"]), "a value that the contract does not have"
    if "in_range" in rules:
        low, high = rules["in_range"]["min_value"], rules["in_range"]["max_value"]
        yield typed < low, f"below {low:g}"
        yield typed > high, f"above {high:g}"


def predict(estimator: Any, X: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame | None]:
    """The predictions and, for classes, the probability of each in a column of its own.

    A column that had no value when the model was trained is none of its features.
    """
    X = X[list(getattr(estimator, "feature_names_in_", X.columns))]
    if not hasattr(estimator, "predict_proba"):
        return pd.Series(estimator.predict(X), index=X.index, name="prediction"), None
    scores = pd.DataFrame(estimator.predict_proba(X), X.index, [str(label) for label in estimator.classes_])
    predicted = estimator.classes_[scores.to_numpy().argmax(axis=1)]
    return pd.Series(predicted, index=X.index, name="prediction"), scores
