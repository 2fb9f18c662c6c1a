"""The champion: a pointer in deployment/champion.json, and the model under DVC beside it."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import persistence
from ..settings import COMMAND, ProjectError, Settings, flatten, put
from . import rounds, versions

POINTER = Path("deployment/champion.json")
MODEL = Path("deployment/model.skops")
KEPT = ("id", "verdict", "metric", "scores", "data", "code", "lock", "params", "overrides")
Pointer = dict[str, Any]


def load(root: Path) -> Pointer | None:
    """The pointer, None before the first champion."""
    try:
        pointer: Pointer | None = json.loads((root / POINTER).read_text(encoding="utf-8"))
        if pointer is not None:
            _ = pointer["id"], pointer["model"]["md5"], pointer["previous"]
    except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
        raise ProjectError(f"{POINTER} cannot be read: {error!r}. Restore it with git.") from None
    return pointer


def load_model(root: Path, pointer: Pointer) -> Any:
    """The champion's estimator; ProjectError when the file is not the one that was promoted."""
    path = root / MODEL
    if not path.is_file() or persistence.md5(path.read_bytes()) != pointer["model"]["md5"]:
        raise ProjectError(
            f"{MODEL} is not the file of champion {pointer['id']}: type {COMMAND} restore; was a promotion cut short, git restore deployment first"
        )
    return persistence.load(path, root=root)


def promote(settings: Settings, id_: str) -> rounds.Round:
    """Makes the model of a round the champion. A round that the gates did not let through is refused."""
    record, root = rounds.load(settings, id_), settings.root
    if record.verdict != "promote":
        raise ProjectError(f"Round {id_} may not be promoted, its verdict is {record.verdict}: {record.reason}")
    before = load(root)
    if (before or {}).get("id") != record.champion:
        rival = f"Round {id_} was judged against champion {record.champion}"
        raise ProjectError(f"{rival}, which is no longer the champion. Run it again.")
    source = rounds.folder(root, id_) / "model.skops"
    if not source.exists() or persistence.md5(source.read_bytes()) != record.model["md5"]:
        raise ProjectError(f"{source} is gone or another: `reproduce {id_}` makes it again.")
    _point(root, _pointer(record, root, before), source.read_bytes())
    _write_params(root, record.overrides)
    return record


def rollback(settings: Settings) -> Pointer:
    """Puts the champion before this one back, its bytes from DVC's cache; returns its pointer.

    The parameters that it had otherwise come back too, unless params.yaml has changed since.
    """
    now = load(settings.root)
    before: Pointer | None = now and now["previous"]
    if not now or not before:
        raise ProjectError("There is no champion before this one: nothing was changed.")
    _point(settings.root, before, versions.cached(settings.root, before["model"]["md5"]))
    old, new, here = (flatten(params) for params in (before["params"], now["params"], settings.params.model_dump()))
    changed = [key for key in {**old, **new} if old.get(key, ...) != new.get(key, ...)]
    _write_params(settings.root, {k: old.get(k, ...) for k in changed if here.get(k, ...) == new.get(k, ...)})
    return before


def _point(root: Path, pointer: Pointer, content: bytes) -> None:
    persistence.write(root / MODEL, content)
    versions.add(root, MODEL)
    persistence.write(root / POINTER, json.dumps(pointer, indent=2) + "\n")


def _pointer(record: rounds.Round, root: Path, before: Pointer | None) -> Pointer:
    content = asdict(record)
    return {
        **{name: content[name] for name in KEPT},
        "model": {"path": MODEL.as_posix(), "md5": record.model["md5"], "size": record.model["size"]},
        "commit": versions.commit(root),
        "promoted": datetime.now(UTC).isoformat(timespec="seconds"),
        # One step back is kept here; those before it are in git's history of this file.
        "previous": before and {**before, "previous": None},
    }


def _write_params(root: Path, values: dict[str, Any]) -> None:
    """New values for keys of params.yaml; its comments stay."""
    if not values:
        return
    from io import BytesIO

    from ruamel.yaml import YAML

    yaml, text = YAML(), BytesIO()
    yaml.width = 4096
    yaml.preserve_quotes = True
    content = yaml.load(root / "params.yaml")
    for key, value in values.items():
        put(content, key, value)
    yaml.dump(content, text)
    persistence.write(root / "params.yaml", text.getvalue())
