"""The first look at a project's data: writes the contract and the batches that it must refuse."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..errors import ProjectError
from ..settings import Settings, closest
from . import contract as contracts
from . import leakage, must_fail, sources


@dataclass(frozen=True)
class Inferred:
    """What was found out: rows, and why each column that is left out is."""

    rows: int
    left_out: dict[str, str]
    must_fail: list[str]


def infer(settings: Settings) -> Inferred:
    """Reads the source, writes its contract and bad batches; columns that leak are left out."""
    data, training = settings.params.data, settings.params.training
    frame = pd.concat(dict(sources.batches(settings)), names=[contracts.BATCH])
    for name in filter(None, [data.target, data.time, *data.key]):
        if name not in frame:
            raise ProjectError(f"The table has no column {closest(name, list(map(str, frame)))}")
    contract = contracts.infer(frame, settings.params)
    typed, _ = contracts.coerce(frame, contract, "source")
    for leak in leakage.find(
        typed.dropna(subset=[data.target]),
        target=data.target,
        task=training.task,
        features=contracts.columns(contract, "feature"),
    ):
        measure = "R²" if training.task == "regression" else "AUC"
        rules = contract["columns"][leak.columns[-1]]
        alone = "alone" if len(leak.columns) == 1 else f"together with {leak.columns[0]}"
        rules["why"] = f"gives {data.target} away: {measure} {leak.score:.3f} {alone}"
        rules["role"] = "left out"
    if not contracts.features(contract):
        raise ProjectError("No column is left to learn from: all are keys, constant or leak.")
    contracts.save(settings.root, contract)
    left_out = contracts.columns(contract, "left out")
    why = {name: contract["columns"][name]["why"] for name in left_out}
    return Inferred(len(frame), why, must_fail.write(settings, frame))
