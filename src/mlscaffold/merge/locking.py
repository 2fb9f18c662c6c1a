"""uv.lock in an update: locked anew, before anything is written, where what it locks changes."""

from __future__ import annotations

import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlscaffold import environment, git
from mlscaffold.environment import StepError
from mlscaffold.merge import check
from mlscaffold.merge.objects import FILE, Entry
from mlscaffold.merge.plan import Action, Plan

_PROJECT, _LOCK, _SETTINGS = "pyproject.toml", "uv.lock", "uv.toml"
_LOCKED = ("name", "dependencies", "optional-dependencies", "requires-python")


def lock_again(plan: Plan, *, may_build: bool, from_head: bool = False) -> tuple[Plan, str]:
    """Return the plan with a new uv.lock, if its pyproject.toml asks for one.

    The two files are locked in a folder of their own; where more than they counts, as in a
    workspace, with the whole project. With from_head the work tree does not count. The text says
    what is left to type where that cannot be done.
    """
    prefix = plan.objects.repository.prefix
    action = next((each for each in plan.actions if each.path == prefix + _PROJECT), None)
    if action is None or not action.writes or action.after is None:
        return plan, ""
    known = plan.objects.look_up(plan.ours, prefix + _LOCK)
    is_there = not from_head and (plan.objects.repository.top / prefix / _LOCK).is_file()
    if known is None and not is_there:
        return plan, ""
    if action.kind == "conflict":
        return plan, "When pyproject.toml is resolved, bring uv.lock along: uv lock"
    if any(each.path == prefix + _LOCK for each in plan.actions):
        return plan, ""  # the template has a lock of its own
    content = plan.objects.read(action.after.oid)
    if action.before and _locked(plan.objects.read(action.before.oid)) == _locked(content):
        return plan, ""
    if known is None or (not from_head and check.is_uncommitted(plan, prefix + _LOCK)):
        return plan, "uv.lock has changes of its own, or git does not track it. Type: uv lock"
    with tempfile.TemporaryDirectory(prefix="mlscaffold-") as name:
        folder = Path(name).resolve()
        _lay(plan, folder, content, plan.objects.read(known.oid))
        try:
            environment.lock(folder, may_build=may_build)
        except StepError as error:
            return plan, f"uv.lock is as it was: {error.message.rstrip('.')}. Type: uv lock"
        data = (folder / _LOCK).read_bytes()
    entry = Entry(known.mode if known.is_text_or_binary else FILE, _written(plan, data))
    if entry == known:
        return plan, ""
    locked = Action(prefix + _LOCK, "update", known, entry)
    actions = tuple(sorted((*plan.actions, locked), key=lambda each: each.path))
    result = plan.objects.splice(plan.result, {locked.path: entry})
    return replace(plan, actions=actions, result=result), ""


def _lay(plan: Plan, folder: Path, project: bytes, lock: bytes) -> None:
    if _needs_all(project):
        prefix = plan.objects.repository.prefix
        for path, entry in plan.objects.files(plan.result):
            if path.startswith(prefix) and entry.is_text_or_binary:
                target = folder / path.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(plan.objects.read(entry.oid))
    settings = plan.objects.look_up(plan.result, plan.objects.repository.prefix + _SETTINGS)
    if settings and settings.is_text_or_binary:
        (folder / _SETTINGS).write_bytes(plan.objects.read(settings.oid))
    (folder / _PROJECT).write_bytes(project)
    (folder / _LOCK).write_bytes(lock)


def _needs_all(project: bytes) -> bool:
    """Say whether what is locked depends on more than the two files."""
    data = _parse(project)
    uv = data.get("tool", {}).get("uv", {})
    is_dynamic = bool(data.get("project", {}).get("dynamic"))
    return is_dynamic or (isinstance(uv, dict) and ("workspace" in uv or "sources" in uv))


def _written(plan: Plan, data: bytes) -> str:
    """Return the id of uv's file, written as the project's git would write it."""
    repository = plan.objects.repository
    command = ("hash-object", "-w", "--stdin", f"--path={repository.prefix}{_LOCK}")
    done = git.exchange(*command, cwd=repository.top, given=data, variables=plan.objects.variables)
    return done.stdout.decode().strip()


def _locked(project: bytes) -> Any:
    """Return the parts of pyproject.toml that a lock depends on."""
    data = _parse(project)
    table = data.get("project", {})
    parts = [table.get(name) for name in _LOCKED]
    return [*parts, data.get("dependency-groups"), data.get("tool", {}).get("uv")]


def _parse(project: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(project.decode("utf-8"))
    except ValueError:
        return {}
