"""The champion as it goes live: its pointer, its file, and the columns it reads."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..data import contract as contracts
from ..errors import ProjectError
from ..settings import closest

POINTER = Path("deployment/champion.json")
TRUSTED = Path("deployment/trusted_types.yaml")


@dataclass(frozen=True)
class Champion:
    """A loaded model, the pointer that names it, and the contract of what it reads."""

    pointer: dict[str, Any]
    estimator: Any
    contract: contracts.Contract

    @property
    def id(self) -> str:
        return str(self.pointer["id"])


def read_pointer(root: Path) -> dict[str, Any] | None:
    """deployment/champion.json, or None as long as no model was promoted."""
    try:
        pointer = json.loads((root / POINTER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise ProjectError(f"{POINTER} is not JSON: restore it from git.") from None
    return pointer if pointer and pointer.get("id") else None


def trusted_types(root: Path) -> list[str]:
    """The types that a model file may hold; the file itself has no say in it."""
    try:
        types = yaml.safe_load((root / TRUSTED).read_text(encoding="utf-8")) or []
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ProjectError(f"{TRUSTED} cannot be read: {error}") from None
    if not isinstance(types, list) or not all(isinstance(name, str) for name in types):
        raise ProjectError(f"{TRUSTED} is not a list of the names of types.")
    return types


def is_pointed_at(root: Path, pointer: dict[str, Any]) -> bool:
    """Whether the model's file is there, with the bytes that the pointer names."""
    path = root / pointer["model"]["path"]
    if not path.is_file():
        return False
    return (
        hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == pointer["model"]["md5"]
    )


def load(root: Path) -> Champion:
    """The champion, ready to predict; ProjectError when its file is not the one promoted."""
    pointer = read_pointer(root)
    if pointer is None:
        raise ProjectError("There is no champion yet: run retrain first.")
    path = pointer["model"]["path"]
    if not is_pointed_at(root, pointer):
        raise ProjectError(
            f"{path} is not the file of champion {pointer['id']}: run dvc pull {path}"
        )
    champion = Champion(
        pointer, load_estimator(root / path, trusted_types(root)), contracts.load(root)
    )
    _check_features(champion)
    return champion


def load_estimator(path: Path, trusted: list[str]) -> Any:
    """The estimator in a skops file that holds nothing but `trusted` types."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=trusted)
    except UntrustedTypesFoundException as error:
        names = " ".join(str(error).split())
        raise ProjectError(f"{path.name} was not loaded: {names} See {TRUSTED}.") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProjectError(f"{path.name} was not loaded: no skops file ({error}).") from None


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
    return typed


def predict(estimator: Any, X: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame | None]:
    """The predictions and, for classes, the probability of each in a column of its own."""
    if not hasattr(estimator, "predict_proba"):
        return pd.Series(estimator.predict(X), index=X.index, name="prediction"), None
    scores = estimator.predict_proba(X)
    predicted = estimator.classes_[scores.argmax(axis=1)]
    columns = [str(label) for label in estimator.classes_]
    return pd.Series(predicted, index=X.index, name="prediction"), pd.DataFrame(
        scores, X.index, columns
    )


def _check_features(champion: Champion) -> None:
    trained = getattr(champion.estimator, "feature_names_in_", None)
    if trained is not None and sorted(trained) != sorted(contracts.features(champion.contract)):
        raise ProjectError(
            f"Champion {champion.id} reads other columns than {contracts.FILE} has: run retrain."
        )
