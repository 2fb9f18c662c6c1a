"""Templates and git repositories for tests, and what lies in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

Files = dict[str, str]

TEMPLATE: Files = {
    "copier.yml": "name:\n  type: str\n  help: What is it called?\n  default: demo\n"
    "colour:\n  type: str\n  choices: [red, blue]\n  default: red\n",
    "hello.txt.jinja": "hello {{ name }}, {{ colour }}\n",
    "{{ name }}/as-it-is.txt": "{{ name }}\n",
    "{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_nice_yaml -}}\n",
}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def commit(folder: Path, files: Files, tag: str | None = None) -> str:
    """Commits the files in a repository at folder, which is made if need be; the commit's id."""
    write(folder, files)
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Change")
    if tag:
        git(folder, "tag", tag)
    return git(folder, "rev-parse", "HEAD")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below folder but git's own, with its bytes."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    return {name: data for name, data in found.items() if not name.startswith(".git/")}
