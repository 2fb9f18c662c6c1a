"""The record of a round: what went in, what came out, and what the gates said; and the board of all rounds."""

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from ..persistence import write
from ..settings import ProjectError, Settings, closest

ID = re.compile(r"[0-9a-f]{8}")  # what train.Inputs makes
# How metrics are called where people read them.
METRIC_NAMES = {
    "roc_auc": "AUC",
    "r2": "R²",
    "neg_log_loss": "−log loss",
    "neg_root_mean_squared_error": "−RMSE",
    "neg_mean_absolute_error": "−MAE",
    "neg_mean_absolute_scaled_error": "−MASE",
}


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
    environment: dict[str, Any]
    forecast: dict[str, list[Any]] | None = None
    modules: dict[str, str] | None = None  # the digest of each module that is kept with the model


def checked_id(value: Any) -> str:
    """Return the id of a round; ProjectError when the value does not have the form of one, for ids become paths."""
    if isinstance(value, str) and ID.fullmatch(value):
        return value
    raise ProjectError(f"{str(value)[:40]!r} is no id of a round: those are eight of the characters 0 to 9 and a to f.")


def folder(root: Path, id_: str) -> Path:
    return root / "reports" / checked_id(id_)


def path(root: Path, id_: str) -> Path:
    return folder(root, id_) / "round.json"


def save(settings: Settings, record: Round) -> None:
    write(path(settings.root, record.id), json.dumps(asdict(record), indent=1) + "\n")


def load(settings: Settings, id_: str) -> Round:
    """The record of a round; ProjectError names the closest when there is none of that id."""
    for record in (known := all_rounds(settings)):
        if record.id == id_:
            return record
    near = closest(id_, [record.id for record in known])
    raise ProjectError(f"There is no round {near} `leaderboard` lists those here.")


def all_rounds(settings: Settings) -> list[Round]:
    """Every round in reports/, the newest first."""
    records = [_read(found) for found in (settings.root / "reports").glob("*/round.json")]
    return sorted(records, key=lambda record: record.when, reverse=True)


def leaderboard(settings: Settings, champion: str | None) -> str:
    """The rounds with their scores, intervals and seconds; the champion has a mark."""
    records = all_rounds(settings)
    if not records:
        return f"There is no round yet: type {settings.package} retrain"
    metric = settings.params.training.metric
    head = ["", "round", "when", "changed", metric_name(metric), "against champion", "verdict", "s"]
    lines = [head, *(_line(record, metric, champion) for record in records)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    today = [record for record in records if ":" in _when(record)]
    counted = today or records
    seconds = sum(record.seconds for record in counted) / len(counted)
    noun = f"round{'s' if len(counted) > 1 else ''}{' today' if today else ''}"
    return "\n".join([*text, "", f"{len(counted)} {noun}, {seconds:.0f} s each."])


def metric_name(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def _read(path: Path) -> Round:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        record = Round(**{item.name: content[item.name] for item in fields(Round) if item.name in content})
    except (ValueError, TypeError) as error:
        raise ProjectError(f"{path} is no record of a round ({error!r}): delete it.") from None
    if not ID.fullmatch(str(record.id)) or record.id != path.parent.name:
        raise ProjectError(f"{path} is not the record of a round {path.parent.name}: delete it.")
    return record


def _line(record: Round, metric: str, champion: str | None) -> list[str]:
    score, gain = record.scores.get(metric), (record.comparison or {}).get("holdout")
    changes = [*record.changed["params"], *record.changed["code"], *record.changed["data"]]
    text = ", ".join(changes or [f"{key}={value}" for key, value in record.overrides.items()])
    return [
        "●" if record.id == champion else " ",
        record.id,
        _when(record),
        "(first)" if record.champion is None and not text else text if len(text) <= 48 else text[:47] + "…",
        f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" if score else "–",
        f"{gain['difference']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" if gain else "",
        record.verdict,
        f"{record.seconds:.0f}",
    ]


def _when(record: Round) -> str:
    local = datetime.fromisoformat(record.when).astimezone()
    return f"{local:%H:%M}" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d}"
