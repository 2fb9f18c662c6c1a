"""What helped so far: every round in a line, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..settings import Settings
from . import champion, rounds
from .names import metric_name


def table(settings: Settings) -> str:
    """The rounds of reports/ with their scores, intervals and seconds; the champion has a mark."""
    records = rounds.all_rounds(settings)
    if not records:
        return f"There is no round yet: type {settings.package} retrain"
    pointer = champion.load(settings.root) or {}
    metric = settings.params.training.metric
    head = ["", "round", "when", "changed", metric_name(metric), "against champion", "verdict", "s"]
    lines = [head, *(_line(record, metric, pointer.get("id")) for record in records)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*text, "", _summary(records)])


def _line(record: rounds.Round, metric: str, champion_id: str | None) -> list[str]:
    score = record.scores.get(metric)
    gain = (record.comparison or {}).get("holdout")
    return [
        "●" if record.id == champion_id else " ",
        record.id,
        _when(record.when),
        _changed(record),
        f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" if score else "–",
        f"{gain['difference']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" if gain else "",
        record.verdict,
        f"{record.seconds:.0f}",
    ]


def _changed(record: rounds.Round) -> str:
    if record.champion is None and not record.overrides:
        return "(first)"
    changes = [*record.changed["params"], *record.changed["code"], *record.changed["data"]]
    text = ", ".join(changes or [f"{key}={value}" for key, value in record.overrides.items()])
    return text if len(text) <= 48 else text[:47] + "…"


def _when(when: str) -> str:
    local = datetime.fromisoformat(when).astimezone()
    is_today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M}" if is_today else f"{local:%Y-%m-%d}"


def _summary(records: Sequence[rounds.Round]) -> str:
    today = [record for record in records if ":" in _when(record.when)]
    counted, day = (today, " today") if today else (records, "")
    seconds = sum(record.seconds for record in counted) / len(counted)
    noun = "round" if len(counted) == 1 else "rounds"
    return f"{len(counted)} {noun}{day}, {seconds:.0f} s each."
