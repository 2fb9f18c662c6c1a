"""The champion as it goes live: what it reads, its answers, and a whole file predicted at once."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..data import contract as contracts
from ..data import sources
from ..features import as_input
from ..persistence import write
from ..settings import ContractError, ProjectError, Settings, closest
from ..training import champion

ENDINGS = (".csv", ".parquet", ".jsonl")


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
    if sorted(estimator.feature_names_in_) != sorted(contracts.features(contract)):
        raise ProjectError(f"Champion {pointer['id']} reads other columns than {contracts.FILE} has: run retrain.")
    return Champion(pointer, estimator, contract)


def to_features(frame: pd.DataFrame, contract: contracts.Contract, name: str) -> pd.DataFrame:
    """The columns that a model reads, in the contract's types; ProjectError names a wrong cell."""
    needed = contracts.features(contract)
    for column in needed:
        if column not in frame:
            raise ProjectError(f"{name} has no column {closest(column, list(map(str, frame)))}")
    typed, breaches = contracts.coerce(frame[needed], contract)
    if breaches:
        raise ProjectError(f"{name}: {breaches[0]}.")
    for column in needed:
        empty = typed[column].isna() & (not contract["columns"][column]["nullable"])
        if (bad := empty | typed[column].isin([math.inf, -math.inf])).any():
            raise ProjectError(f"{name}: {column}: missing or infinite in row {int(bad.argmax()) + 1}.")
    return as_input(typed, needed)


def predict(estimator: Any, X: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame | None]:
    """The predictions and, for classes, the probability of each in a column of its own."""
    if not hasattr(estimator, "predict_proba"):
        return pd.Series(estimator.predict(X), index=X.index, name="prediction"), None
    scores = pd.DataFrame(estimator.predict_proba(X), X.index, [str(label) for label in estimator.classes_])
    predicted = estimator.classes_[scores.to_numpy().argmax(axis=1)]
    return pd.Series(predicted, index=X.index, name="prediction"), scores


def predict_file(settings: Settings, source: Path, destination: Path) -> int:
    """Writes the rows of `source` with their predictions to `destination`; returns how many."""
    if destination.suffix not in ENDINGS:
        raise ProjectError(f"{destination}: the name must end in {', '.join(ENDINGS)}.")
    if not destination.parent.is_dir():
        raise ProjectError(f"{destination.parent} is not a folder: make it first.")
    if not source.is_file():
        raise ProjectError(f"{source} is not a file.")
    live = load(settings.root)
    try:
        frame = sources.read_batch(source, contracts.texts(live.contract))
    except ContractError as error:
        raise ProjectError(error.message) from None
    predicted, scores = predict(live.estimator, to_features(frame, live.contract, source.name))
    result = predicted.to_frame() if scores is None else predicted.to_frame().join(scores.add_prefix("probability_"))
    if taken := [name for name in result if name in frame]:
        raise ProjectError(f"{source.name} already has a column {taken[0]!r}: rename it.")
    _write(frame.join(result), destination)
    return len(frame)


def _write(frame: pd.DataFrame, path: Path) -> None:
    try:
        if path.suffix == ".csv":
            write(path, frame.to_csv(index=False))
        elif path.suffix == ".parquet":
            write(path, frame.to_parquet(index=False))
        else:
            write(path, frame.to_json(orient="records", lines=True, date_format="iso", force_ascii=False))
    except OSError as error:
        raise ProjectError(f"{path} cannot be written: {error.strerror or error}") from None
