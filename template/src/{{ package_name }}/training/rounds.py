"""The record of a round: what went in, what came out, and what the gates said."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import ProjectError
from ..settings import Settings, closest


@dataclass(frozen=True)
class Round:
    """reports/<id>/round.json; scores are higher-is-better, intervals are [low, high] with `value` between."""

    id: str
    when: str
    seconds: float
    task: str
    target: str
    metric: str
    overrides: dict[str, Any]
    changed: dict[str, list[str]]
    rows: dict[str, int]
    batches: list[str]
    scores: dict[str, dict[str, float]]
    baselines: dict[str, float]
    champion: str | None
    comparison: dict[str, Any] | None
    smallest_gain: float
    gates: list[dict[str, Any]]
    verdict: str
    exit_code: int
    reason: str
    slices: list[dict[str, Any]]
    calibration: list[dict[str, float]]
    confusion: dict[str, Any] | None
    residuals: dict[str, list[float]] | None
    importance: list[dict[str, Any]]
    data: dict[str, Any]
    code: str
    lock: str
    params: dict[str, Any]
    model: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)


def folder(root: Path, id_: str) -> Path:
    return root / "reports" / id_


def save(settings: Settings, record: Round) -> Path:
    path = folder(settings.root, record.id) / "round.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def load(settings: Settings, id_: str) -> Round:
    """The record of a round; ProjectError names the closest when there is none of that id."""
    path = folder(settings.root, id_) / "round.json"
    if not path.exists():
        known = [record.id for record in all_rounds(settings)]
        raise ProjectError(
            f"There is no round {closest(id_, known)} `leaderboard` lists those here."
        )
    return _read(path)


def all_rounds(settings: Settings) -> list[Round]:
    """Every round in reports/, the newest first."""
    records = [_read(path) for path in (settings.root / "reports").glob("*/round.json")]
    return sorted(records, key=lambda record: record.when, reverse=True)


def _read(path: Path) -> Round:
    content = json.loads(path.read_text(encoding="utf-8"))
    return Round(**{item.name: content[item.name] for item in fields(Round)})
