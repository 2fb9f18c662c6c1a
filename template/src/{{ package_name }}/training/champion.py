"""The champion: a pointer in deployment/champion.json, and the model under DVC beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ProjectError
from ..settings import Settings
from . import rounds, versions

POINTER = Path("deployment/champion.json")
MODEL = Path("deployment/model.skops")


def load(root: Path) -> dict[str, Any] | None:
    """The pointer, None before the first champion."""
    try:
        pointer: dict[str, Any] | None = json.loads((root / POINTER).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise ProjectError(f"{POINTER} cannot be read: {error}. Restore it with git.") from None
    return pointer


def promote(settings: Settings, id_: str) -> rounds.Round:
    """Makes the model of a round the champion. A round that the gates did not let through is refused."""
    record = rounds.load(settings, id_)
    if record.verdict != "promote":
        raise ProjectError(
            f"Round {id_} may not be promoted, its verdict is {record.verdict}: {record.reason}"
        )
    before = load(settings.root)
    if (before or {}).get("id") != record.champion:
        raise ProjectError(
            f"Round {id_} was judged against champion {record.champion}, which is no longer the champion. Run it again."
        )
    source = rounds.folder(settings.root, id_) / "model.skops"
    if not source.exists():
        raise ProjectError(f"{source} is gone: `reproduce {id_}` makes it again.")
    _place(settings.root, source.read_bytes())
    _point(settings.root, _pointer(record, settings, before))
    if record.overrides:
        _write_params(settings.root, record.overrides)
    return record


def rollback(settings: Settings) -> dict[str, Any]:
    """Puts the champion before this one back, its bytes from DVC's cache; returns its pointer."""
    now = load(settings.root)
    before = now and now["previous"]
    if not before:
        raise ProjectError("There is no champion before this one: nothing was changed.")
    _place(settings.root, versions.cached(settings.root, before["model"]["md5"]))
    _point(settings.root, before)
    return dict(before)


def _place(root: Path, content: bytes) -> None:
    temporary = (root / MODEL).with_suffix(".partial")
    temporary.write_bytes(content)
    temporary.replace(root / MODEL)
    versions.add(root, MODEL)


def _point(root: Path, pointer: dict[str, Any]) -> None:
    temporary = (root / POINTER).with_suffix(".partial")
    temporary.write_text(json.dumps(pointer, indent=2) + "\n", encoding="utf-8")
    temporary.replace(root / POINTER)


def _pointer(
    record: rounds.Round, settings: Settings, before: dict[str, Any] | None
) -> dict[str, Any]:
    content = asdict(record)
    kept = ("id", "verdict", "metric", "scores", "data", "code", "lock", "params", "overrides")
    return {
        **{name: content[name] for name in kept},
        "model": {
            "path": MODEL.as_posix(),
            "md5": record.model["md5"],
            "size": record.model["size"],
        },
        "commit": versions.commit(settings.root),
        "promoted": datetime.now(UTC).isoformat(timespec="seconds"),
        # One step back is kept here; those before it are in git's history of this file.
        "previous": before and {**before, "previous": None},
    }


def _write_params(root: Path, overrides: dict[str, Any]) -> None:
    """The idea that won becomes the default; comments in params.yaml stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    content = yaml.load(root / "params.yaml")
    for key, value in overrides.items():
        *folders, last = key.split(".")
        section = content
        for folder in folders:
            section = section[folder]
        section[last] = value
    yaml.dump(content, root / "params.yaml")
