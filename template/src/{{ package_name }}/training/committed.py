"""Whether git has what a round ran on: only a model that a commit can make again becomes champion."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ..settings import COMMAND, Params, ProjectError, Settings, put, read_yaml, validate
from . import rounds, train, versions

PARAMS = "params.yaml"
LOCK = "uv.lock"
# What decides model and verdict, and no command writes: code, lock, parameters, the limits of the gates.
READ = ("src", LOCK, PARAMS, "training/gates.yaml")
# What a promotion or a rollback may have changed, and what has to be committed with it.
CHANGED = ("data", "deployment", "docs", "dvc.lock", PARAMS, "pyproject.toml", "training", LOCK)


def refuse_other_inputs(settings: Settings, record: rounds.Round) -> None:
    """Refuse a round whose code, lock, limits or parameters are not those of HEAD, its own overrides aside.

    Outside a git repository there is nothing to hold it against.
    """
    if not versions.is_repository(settings.root):
        return
    if names := uncommitted(settings.root, record.overrides):
        raise ProjectError(advice(record, names))
    params = _with_overrides(read_yaml(settings.root / PARAMS), record.overrides)
    inputs = train.inputs(replace(settings, params=params))
    pairs = {
        "code": (record.code, inputs.code),
        LOCK: (record.lock, inputs.lock),
        PARAMS: (record.params, inputs.params),
    }
    if different := [name for name, (then, now) in pairs.items() if then != now]:
        raise ProjectError(
            f"Round {record.id} ran on another {' and '.join(different)} than this commit has: run it again. "
            f"The modules that it ran on are in {rounds.folder(Path(), record.id).as_posix()}/code."
        )


def uncommitted(root: Path, overrides: dict[str, Any]) -> list[str]:
    """The files that decide model and verdict and are not as in HEAD; none outside a git repository.

    params.yaml may have the overrides of the round: a promotion writes them.
    """
    if not versions.is_repository(root):
        return []
    # What was taken out of git's index is both.
    names = sorted({*versions.changed(root, *READ), *versions.untracked(root, *READ)})
    if PARAMS in names and _has_only(root, overrides):
        names.remove(PARAMS)
    return names


def is_new_lock(root: Path, names: list[str]) -> bool:
    """Whether all that is not committed is a lock which git has never had, as before a project's first champion."""
    return names == [LOCK] and versions.untracked(root, LOCK) == [LOCK]


def advice(record: rounds.Round, names: list[str]) -> str:
    """What to type before a round's model may become champion."""
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"Round {record.id} ran on what no commit has: {listed}. "
        f'Type git add -- {_parts(names)} && git commit -m "What round {record.id} ran on", '
        f"then {COMMAND} promote {record.id}"
    )


def to_commit(root: Path, message: str) -> str:
    """What to type to make a champion that of all who use the repository; "" where there is nothing to commit."""
    if not versions.is_repository(root):
        return ""
    names = versions.changed(root, *CHANGED) + versions.untracked(root, *CHANGED)
    return f'git add -- {_parts(names)} && git commit -m "{message}"' if names else ""


def _parts(names: list[str]) -> str:
    """The folders of the project, or the files in its root, that hold some files."""
    return " ".join(sorted({name.partition("/")[0] for name in names}))


def _has_only(root: Path, overrides: dict[str, Any]) -> bool:
    """Whether params.yaml differs from HEAD's in a round's overrides alone."""
    committed = versions.content_in_head(root, PARAMS)
    if committed is None:
        return False
    then = _with_overrides(yaml.safe_load(committed), overrides)
    now = _with_overrides(read_yaml(root / PARAMS), overrides)
    return then == now


def _with_overrides(content: dict[str, Any], overrides: dict[str, Any]) -> Params:
    for key, value in overrides.items():
        put(content, key, value)
    return validate(Params, content, PARAMS)
