"""The records of the rounds that made the champions, kept in git beside their pointers, and what they are for.

A pointer says which model is live, and its record which round judged it. They are held against each other, and both
against the model's bytes and the code that is loaded with them, before anything of a champion is used.
"""

import hashlib
import json
from dataclasses import asdict, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import click

from .. import persistence
from ..settings import COMMAND, ProjectError
from . import rounds

FOLDER = Path("deployment/rounds")
# What a pointer repeats of its record.
REPEATED = ("id", "verdict", "metric", "scores", "data", "code", "lock", "params", "overrides")
SIZES = ("md5", "size")
Pointer = dict[str, Any]


def path(root: Path, id_: str) -> Path:
    return root / FOLDER / f"{rounds.checked_id(id_)}.json"


def text(record: rounds.Round) -> str:
    """The record of a champion as it is kept, without what it holds of single rows: those stay out of git."""
    content = asdict(replace(record, residuals=None, forecast=None))
    return json.dumps(content, indent=1) + "\n"


def load(root: Path, pointer: Pointer) -> rounds.Round | None:
    """The record of a champion's round, None of a champion from before there were records.

    ProjectError when it is missing, unreadable or not the one that the pointer names.
    """
    file = path(root, pointer["id"])
    content = _lines_as_in_git(file.read_bytes()) if file.is_file() else None
    if content is None and "record" not in pointer:
        return None
    if content is None:
        raise ProjectError(_refusal(pointer, f"its round is not on record: {_short(pointer)} is missing"))
    if "record" in pointer and pointer["record"] != _digest(content):
        raise ProjectError(_refusal(pointer, f"{_short(pointer)} is not the record that the pointer names"))
    try:
        return _parse(content)
    except (ValueError, TypeError):
        raise ProjectError(_refusal(pointer, f"{_short(pointer)} is no record of a round")) from None


def digest(content: str) -> str:
    """The digest of a record's text, by which a pointer names it."""
    return _digest(content.encode("utf-8"))


def module_digests(folder: Path) -> dict[str, str]:
    """The digest of each module that is kept with a model."""
    return {file.name: _digest(_lines_as_in_git(file.read_bytes())) for file in sorted(folder.glob("*.py"))}


def check(root: Path, pointer: Pointer, model: bytes | None, code: Path) -> None:
    """Refuses a champion whose pointer, record, model and code are not of one round.

    A champion from before there were records is let through, with a warning if it is about to be used. `model` is None
    for the champion before this one, whose bytes are not at hand.
    """
    record = load(root, pointer)
    if record:
        _check_against(record, pointer, model, code)
    elif pointer.get("verdict", "promote") != "promote":
        raise ProjectError(_refusal(pointer, f"its verdict is {pointer['verdict']}"))
    elif model is not None:
        _warn(pointer["id"])


def _check_against(record: rounds.Round, pointer: Pointer, model: bytes | None, code: Path) -> None:
    different = [*_differences(pointer, asdict(record), model), *_changed_modules(record, code)]
    if different:
        raise ProjectError(_refusal(pointer, f"{', '.join(different)}: not as in {_short(pointer)}"))
    if record.verdict != "promote":
        raise ProjectError(_refusal(pointer, f"its verdict is {record.verdict}"))


def _differences(pointer: Pointer, record: dict[str, Any], model: bytes | None) -> list[str]:
    """What a pointer, or the bytes of its model, have otherwise than the record."""
    names = [name for name in REPEATED if name not in pointer or not _is_same(pointer[name], record[name])]
    sizes = {name: record["model"].get(name) for name in SIZES}
    if pointer["model"] != sizes:
        names.append("model")
    if model is not None and sizes != {"md5": persistence.md5(model), "size": len(model)}:
        names.append("the model's file")
    return names


def _changed_modules(record: rounds.Round, code: Path) -> list[str]:
    """The modules kept with the model that are not as they were when it was fitted, or not there."""
    if record.modules is None:
        return []
    kept = module_digests(code)
    names = sorted(record.modules.keys() | kept.keys())
    return [f"{code.name}/{name}" for name in names if record.modules.get(name) != kept.get(name)]


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where NaN is NaN and true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _parse(content: bytes) -> rounds.Round:
    values = json.loads(content)
    return rounds.Round(**{field.name: values[field.name] for field in fields(rounds.Round) if field.name in values})


def _lines_as_in_git(content: bytes) -> bytes:
    """The bytes as git keeps them, for a checkout may end lines in another way."""
    return content.replace(b"\r\n", b"\n")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _short(pointer: Pointer) -> str:
    return (FOLDER / f"{pointer['id']}.json").as_posix()


def _refusal(pointer: Pointer, why: str) -> str:
    return (
        f"No round made champion {pointer['id']} as it stands here; {why}. "
        f"Type git restore deployment; is it committed so, revert that commit, or {COMMAND} rollback"
    )


@cache
def _warn(id_: str) -> None:
    """Says once that nobody can tell whether a round made this champion."""
    text = f"Champion {id_} is from before rounds were kept on record: nothing shows that a round made it as it is."
    click.echo(f"Warning: {text}", err=True)
