"""The champions: in each environment's folder a pointer, champion.json, and the model under DVC beside it.

deployment/code holds, for each of them, the modules that people edit as they were when it was fitted, and
deployment/rounds the record of its round.
The loop makes dev's. `advance` copies the one before: dev's to stage, stage's to prod.
"""

import json
import re
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import persistence
from ..settings import COMMAND, ProjectError, Settings, flatten, put
from . import records, rounds, signing, versions

FOLDERS = {
    "dev": Path("deployment"),
    "stage": Path("deployment/stage"),
    "prod": Path("deployment/prod"),
}
SOURCE = {"stage": "dev", "prod": "stage"}
POINTER = FOLDERS["dev"] / "champion.json"
MODEL = FOLDERS["dev"] / "model.skops"
CODE = FOLDERS["dev"] / "code"
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


def verified(root: Path, pointer: Pointer, environment: str = "dev") -> bytes:
    """The bytes of an environment's model, once all that is kept of it is found to be of one round.

    ProjectError when model, pointer, record or code are not as that round left them, those of the champion before
    included; and when keys are trusted and none of them signed it. Whatever uses a champion asks here first.
    """
    model = content(root, pointer, environment)
    _check_round(root, pointer, model)
    if pointer["previous"]:
        _check_round(root, pointer["previous"], None)
    signing.check(root, pointer, model, code_folder(root, pointer["id"]))
    return model


def _check_round(root: Path, pointer: Pointer, model: bytes | None) -> None:
    records.check(root, pointer, model, code_folder(root, pointer["id"]))


def load_model(root: Path, pointer: Pointer, environment: str = "dev") -> Any:
    """The champion's estimator, once it is verified."""
    verified(root, pointer, environment)
    code = code_folder(root, pointer["id"])
    return persistence.load(root / FOLDERS[environment] / MODEL.name, root=root, code=code)


def promote(settings: Settings, id_: str) -> rounds.Round:
    """Makes the model of a round the champion; of the champion itself, signs it anew and puts its round on record.

    A round that the gates did not let through is refused.
    """
    root, now = settings.root, load(settings.root)
    if now and now["id"] == id_:
        return _renew(settings, now)
    record = _let_through(rounds.load(settings, id_), id_)
    if (now or {}).get("id") != record.champion:
        raise ProjectError(f"Round {id_} was judged against {record.champion}, no longer the champion. Run it again.")
    folder = rounds.folder(root, id_)
    source = folder / "model.skops"
    model = source.read_bytes() if source.exists() else b""
    modules = records.module_digests(folder / "code")
    if persistence.md5(model) != record.model["md5"] or (record.modules or modules) != modules:
        raise ProjectError(f"{source} or the code beside it is gone or another: `reproduce {id_}` makes it again.")
    _crown(root, record, model, folder / "code", _last(now))
    _write_params(root, record.overrides)
    return record


def _renew(settings: Settings, now: Pointer) -> rounds.Round:
    """Signs dev's champion anew, and puts its round on record if it is not."""
    root, id_ = settings.root, now["id"]
    model = content(root, now)
    _check_round(root, now, model)
    record = _let_through(records.load(root, now) or rounds.load(settings, id_), id_)
    if persistence.md5(model) != record.model["md5"]:
        raise ProjectError(f"{MODEL} is not the model of round {id_}: {COMMAND} reproduce {id_} says which is right.")
    _crown(root, record, model, code_folder(root, id_), now["previous"])
    return record


def _let_through(record: rounds.Round, id_: str) -> rounds.Round:
    if record.verdict != "promote":
        raise ProjectError(f"Round {id_} may not be promoted, its verdict is {record.verdict}: {record.reason}")
    return record


def _crown(root: Path, record: rounds.Round, model: bytes, code: Path, before: Pointer | None) -> None:
    """Writes code, record, model and pointer of dev's champion; nothing, where its signature cannot be made."""
    text = records.text(replace(record, modules=records.module_digests(code)))
    digest = records.digest(text)
    signature = signing.sign(root, record.id, digest, model, code)
    content = asdict(record)
    pointer = {
        **{name: content[name] for name in records.REPEATED},
        "model": {name: record.model[name] for name in records.SIZES},
        "record": digest,
        "commit": versions.commit(root),
        "promoted": _now(),
        "previous": before,
        **signature,
    }
    for path in code.glob("*.py"):
        persistence.write(code_folder(root, record.id) / path.name, path.read_bytes())
    persistence.write(records.path(root, record.id), text)
    _point(root, pointer, model)


def advance(root: Path, environment: str) -> Pointer:
    """Makes the champion of the environment before this one's champion too, or brings what was renewed; returns its pointer."""
    source, now = SOURCE[environment], load(root, environment)
    coming = required(root, source)
    is_here = now is not None and now["id"] == coming["id"]
    if now and is_here and all(now.get(name) == coming.get(name) for name in ("signature", "record")):
        raise ProjectError(f"{now['id']} is the champion of {environment} already: nothing was changed.")
    pointer = {**coming, "promoted": _now(), "previous": now["previous"] if now and is_here else _last(now)}
    _point(root, pointer, verified(root, coming, source), environment)
    return pointer


def rollback(settings: Settings, environment: str = "dev") -> Pointer:
    """Puts the champion before this one back, its bytes from DVC's cache or remote; returns its pointer.

    In dev the parameters that it had otherwise come back too, unless params.yaml has changed since.
    """
    now = load(settings.root, environment)
    before: Pointer | None = now and now["previous"]
    if not now or not before:
        raise ProjectError(f"There is no champion before this one in {environment}: nothing was changed.")
    model = versions.fetch(settings.root, before["model"]["md5"])
    _check_round(settings.root, before, model)
    signing.check(settings.root, before, model, code_folder(settings.root, before["id"]))
    _point(settings.root, before, model, environment)
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
    _forget(root)


def _forget(root: Path) -> None:
    """Removes code and records of models that no pointer names, nor the one before it."""
    live = [pointer for name in FOLDERS if (pointer := load(root, name))]
    named = {item["id"] for pointer in live for item in (pointer, pointer["previous"]) if item}
    for path in (root / CODE).glob("*/"):
        if path.name not in named and path.is_dir():
            shutil.rmtree(path)
    for path in (root / records.FOLDER).glob("*.json"):
        if path.stem not in named:
            path.unlink()


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
