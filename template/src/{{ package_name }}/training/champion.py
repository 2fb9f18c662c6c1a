"""The champions: in each environment's folder a pointer, champion.json, and the model under DVC beside it.

deployment/code holds, for each of them, the modules that people edit as they were when it was fitted.
The loop makes dev's. `advance` copies the one before: dev's to stage, stage's to prod.
"""

import json
import re
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import persistence
from ..settings import COMMAND, ProjectError, Settings, flatten, put
from . import rounds, signing, versions

FOLDERS = {
    "dev": Path("deployment"),
    "stage": Path("deployment/stage"),
    "prod": Path("deployment/prod"),
}
SOURCE = {"stage": "dev", "prod": "stage"}
POINTER = FOLDERS["dev"] / "champion.json"
MODEL = FOLDERS["dev"] / "model.skops"
CODE = FOLDERS["dev"] / "code"
KEPT = ("id", "verdict", "metric", "scores", "data", "code", "lock", "params", "overrides")
MD5 = re.compile(r"[0-9a-f]{32}")
Pointer = dict[str, Any]


def code_folder(root: Path, id_: str) -> Path:
    """The folder of the modules that were kept when a model was fitted."""
    return root / CODE / rounds.checked_id(id_)


def load(root: Path, environment: str = "dev") -> Pointer | None:
    """An environment's pointer, None before its first champion."""
    path = FOLDERS[environment] / POINTER.name
    if environment != "dev" and not (root / path).exists():
        return None
    try:
        pointer: Pointer | None = json.loads((root / path).read_text(encoding="utf-8"))
        for named in (pointer, pointer and pointer["previous"]):
            if named is not None:
                _check_form(named)
    except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
        raise ProjectError(f"{path} cannot be read: {error!r}. Restore it with git.") from None
    except ProjectError as error:
        raise ProjectError(f"{path}: {error.message} Restore it with git.") from None
    return pointer


def _check_form(pointer: Pointer) -> None:
    """Refuses a pointer whose id or digest is no such thing: both become paths."""
    rounds.checked_id(pointer["id"])
    _ = pointer["previous"]
    digest = pointer["model"]["md5"]
    if not (isinstance(digest, str) and MD5.fullmatch(digest)):
        raise ProjectError(f"{str(digest)[:40]!r} is no digest of a model.")


def required(root: Path, environment: str) -> Pointer:
    """An environment's pointer; ProjectError says how to come by the first."""
    if pointer := load(root, environment):
        return pointer
    first = "retrain" if environment == "dev" else f"promote --to {environment}"
    raise ProjectError(f"{environment} has no champion: type {COMMAND} {first}")


def content(root: Path, pointer: Pointer, environment: str = "dev") -> bytes:
    """The bytes of an environment's model; ProjectError when the file is not the one that was promoted."""
    path = FOLDERS[environment] / MODEL.name
    found = (root / path).read_bytes() if (root / path).is_file() else b""
    if persistence.md5(found) != pointer["model"]["md5"]:
        raise ProjectError(
            f"{path} is not the file of champion {pointer['id']}: type {COMMAND} restore; was a promotion cut short, git restore deployment first"
        )
    return found


def load_model(root: Path, pointer: Pointer, environment: str = "dev") -> Any:
    """The champion's estimator, once its file is found to be the one promoted, and signed where that is asked for."""
    code = code_folder(root, pointer["id"])
    signing.check(root, pointer, content(root, pointer, environment), code)
    return persistence.load(root / FOLDERS[environment] / MODEL.name, root=root, code=code)


def promote(settings: Settings, id_: str) -> rounds.Round:
    """Makes the model of a round the champion; of the champion itself, signs it anew.

    A round that the gates did not let through is refused.
    """
    record, root = rounds.load(settings, id_), settings.root
    if record.verdict != "promote":
        raise ProjectError(f"Round {id_} may not be promoted, its verdict is {record.verdict}: {record.reason}")
    before = load(root)
    if before and before["id"] == id_:
        before = before["previous"]
    elif (before or {}).get("id") != record.champion:
        raise ProjectError(f"Round {id_} was judged against {record.champion}, no longer the champion. Run it again.")
    source = rounds.folder(root, id_) / "model.skops"
    if not source.exists() or persistence.md5(source.read_bytes()) != record.model["md5"]:
        raise ProjectError(f"{source} is gone or another: `reproduce {id_}` makes it again.")
    signature = signing.sign(root, id_, record.verdict, source.read_bytes(), source.parent / "code")
    for path in source.parent.glob("code/*.py"):
        persistence.write(code_folder(root, id_) / path.name, path.read_bytes())
    _point(root, _pointer(record, root, before) | signature, source.read_bytes())
    _write_params(root, record.overrides)
    return record


def advance(root: Path, environment: str) -> Pointer:
    """Makes the champion of the environment before this one's champion too, or brings its new signature; returns its pointer."""
    source, now = SOURCE[environment], load(root, environment)
    coming = required(root, source)
    is_here = now is not None and now["id"] == coming["id"]
    if now and is_here and now.get("signature") == coming.get("signature"):
        raise ProjectError(f"{now['id']} is the champion of {environment} already: nothing was changed.")
    pointer = {**coming, "promoted": _now(), "previous": now["previous"] if now and is_here else _last(now)}
    _point(root, pointer, content(root, coming, source), environment)
    return pointer


def rollback(settings: Settings, environment: str = "dev") -> Pointer:
    """Puts the champion before this one back, its bytes from DVC's cache or remote; returns its pointer.

    In dev the parameters that it had otherwise come back too, unless params.yaml has changed since.
    """
    now = load(settings.root, environment)
    before: Pointer | None = now and now["previous"]
    if not now or not before:
        raise ProjectError(f"There is no champion before this one in {environment}: nothing was changed.")
    _point(settings.root, before, versions.fetch(settings.root, before["model"]["md5"]), environment)
    if environment == "dev":
        old, new, here = (flatten(params) for params in (before["params"], now["params"], settings.params.model_dump()))
        changed = [key for key in {**old, **new} if old.get(key, ...) != new.get(key, ...)]
        _write_params(settings.root, {k: old.get(k, ...) for k in changed if here.get(k, ...) == new.get(k, ...)})
    return before


def overview(root: Path) -> str:
    """Which round's model is in which environment, in one line."""
    live = {name: load(root, name) for name in FOLDERS}
    return ", ".join(f"{name} {pointer['id'] if pointer else '–'}" for name, pointer in live.items())


def _point(root: Path, pointer: Pointer, content: bytes, environment: str = "dev") -> None:
    folder = FOLDERS[environment]
    persistence.write(root / folder / MODEL.name, content)
    versions.add(root, folder / MODEL.name)
    persistence.write(root / folder / POINTER.name, json.dumps(pointer, indent=2) + "\n")
    _forget_code(root)


def _forget_code(root: Path) -> None:
    """Removes the code of models that no pointer names, nor the one before it."""
    live = [pointer for name in FOLDERS if (pointer := load(root, name))]
    named = {item["id"] for pointer in live for item in (pointer, pointer["previous"]) if item}
    for path in (root / CODE).glob("*/"):
        if path.name not in named and path.is_dir():
            shutil.rmtree(path)


def _pointer(record: rounds.Round, root: Path, before: Pointer | None) -> Pointer:
    content = asdict(record)
    return {
        **{name: content[name] for name in KEPT},
        "model": {"md5": record.model["md5"], "size": record.model["size"]},
        "commit": versions.commit(root),
        "promoted": _now(),
        "previous": _last(before),
    }


def _last(pointer: Pointer | None) -> Pointer | None:
    """One step back is kept in a pointer; those before it are in git's history of the file."""
    return pointer and {**pointer, "previous": None}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
