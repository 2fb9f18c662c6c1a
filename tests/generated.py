"""Projects made from the template, and what a person types in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

UV = str(Path(sys.executable).with_name("uv"))
# Not a project's: this environment, and what makes each of its processes compile every module anew.
DROPPED = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
# As it was at the start: the projects share the user's uv cache.
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key not in DROPPED},
    **{
        f"GIT_{who}_{what}": "test@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
    # Whoever runs the tests may sign commits, or keep hooks for every repository.
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    # The hooks look for uv.
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    "UV_PYTHON": sys.executable,
    "COLUMNS": "200",
}
Render = Callable[[dict[str, Any]], Path]


def run(project: Path, *command: str, expect: tuple[int, ...] = (0,)) -> str:
    """Runs a command in the project; another exit code than expected fails with all it printed."""
    done = subprocess.run(
        command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    said = f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode in expect, said
    assert "Traceback" not in said, said
    return done.stdout + done.stderr


def start(project: Path) -> None:
    """What `mlscaffold new` does after rendering: a first commit, the environment, the contract."""
    run(project, "git", "init", "--quiet", "--initial-branch", "main")
    commit(project, "Start")
    run(project, UV, "sync", "--quiet")
    demo(project, "data", "infer")


def commit(project: Path, message: str) -> None:
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "--message", message)


def demo(project: Path, *command: str, expect: tuple[int, ...] = (0,)) -> str:
    return run(project, UV, "run", "--frozen", "demo", *command, expect=expect)


def record(project: Path, *command: str) -> dict[str, Any]:
    """The record of the round that a command makes, whatever its verdict."""
    said = demo(project, *command, "--format", "json", expect=(0, 10, 20))
    [line] = [line for line in said.splitlines() if line.startswith("{")]
    return dict(json.loads(line))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def champion(project: Path) -> str:
    pointer = json.loads((project / "deployment/champion.json").read_text(encoding="utf-8"))
    return str(pointer["id"])


def params(project: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8")))
