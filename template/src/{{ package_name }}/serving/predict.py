"""Predicts a whole file with the champion; the result is there whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ..data import sources
from ..errors import ContractError, ProjectError
from ..settings import Settings
from . import model

WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
    ".jsonl": lambda frame, path: frame.to_json(
        path, orient="records", lines=True, date_format="iso", force_ascii=False
    ),
}


def predict_file(settings: Settings, source: Path, destination: Path) -> int:
    """Writes the rows of `source` with their predictions to `destination`; returns how many."""
    source, destination = Path(source), Path(destination)
    if destination.suffix not in WRITERS:
        raise ProjectError(f"{destination}: the name must end in {', '.join(WRITERS)}.")
    if not destination.parent.is_dir():
        raise ProjectError(f"{destination.parent} is not a folder: make it first.")
    champion = model.load(settings.root)
    frame = _read(source)
    X = model.to_features(frame, champion.contract, source.name)
    predicted, scores = model.predict(champion.estimator, X)
    result = predicted.to_frame()
    if scores is not None:
        result = result.join(scores.add_prefix("probability_"))
    for column in result:
        if column in frame:
            raise ProjectError(f"{source.name} already has a column {column!r}: rename it.")
    _write(frame.join(result), destination)
    return len(frame)


def _read(source: Path) -> pd.DataFrame:
    if not source.is_file():
        raise ProjectError(f"{source} is not a file.")
    try:
        return sources.read_batch(source)
    except ContractError as error:
        raise ProjectError(error.message) from None


def _write(frame: pd.DataFrame, destination: Path) -> None:
    """A temporary file in the same folder, then a rename: nobody sees half a file."""
    temporary = destination.with_name(f".{destination.stem}.partial{destination.suffix}")
    try:
        WRITERS[destination.suffix](frame, temporary)
        temporary.replace(destination)
    except OSError as error:
        raise ProjectError(f"{destination} cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
