"""Holds single files against the contract, and the contract against its bad batches."""

from __future__ import annotations

from pathlib import Path

from ..errors import ContractError, ProjectError
from ..settings import Settings
from . import contract as contracts
from . import must_fail, sources


def check_file(settings: Settings, path: Path) -> None:
    """Raises ContractError with all that is wrong with one file."""
    breaches = contracts.check(
        sources.read_batch(path), contracts.load(settings.root), name=path.stem
    )
    if breaches:
        raise ContractError(
            "\n".join([f"contract ✗ {path}", *(f"  {breach}" for breach in breaches)])
        )


def check_must_fail(settings: Settings) -> str:
    """Says that each bad batch is refused for its own reason; ProjectError names the others."""
    if wrong := must_fail.survivors(settings):
        raise ProjectError("The contract lets bad data through. " + "; ".join(wrong))
    return "Every batch in data/must_fail is refused for its own reason, and the good one passes."
