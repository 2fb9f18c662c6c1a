"""The model card: docs/model_card.md, written anew for every champion."""

from __future__ import annotations

from pathlib import Path

from ..data import contract as contracts
from ..settings import Settings
from . import report
from .judging import intended_use
from .rounds import Round

FILE = Path("docs/model_card.md")


def write(settings: Settings, record: Round) -> Path:
    """Writes the card of a round's model; what it is for is taken from docs/intended_use.md."""
    path = settings.root / FILE
    path.parent.mkdir(exist_ok=True)
    columns = contracts.load(settings.root)["columns"]
    text = report.render(
        "card.md.j2",
        settings,
        record=record,
        purpose=intended_use(settings.root),
        importance={item["feature"]: item["mean"] for item in record.importance},
        features={n: c for n, c in columns.items() if c["role"] in {"feature", "time"}},
        left_out={n: c.get("why", "") for n, c in columns.items() if c["role"] == "left out"},
    )
    path.write_text(text, encoding="utf-8")
    return path
