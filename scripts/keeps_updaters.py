"""The three updaters that scripts/keeps.py compares: how each publishes, makes and updates."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
NAME = "demo"
Files = Mapping[str, str | bytes]

COPIER_YML = f"_subdirectory: template\nname:\n  type: str\n  default: {NAME}\n"
ANSWERS = "template/{{ _copier_conf.answers_file }}.jinja"
COOKIECUTTER_JSON = {"project": NAME, "name": NAME, "_copy_without_render": ["*.*"]}


def run(
    *command: str | Path, cwd: Path, codes: Sequence[int] | None = (0,)
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command without a terminal; another exit code than codes ends the script."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    if codes is not None and done.returncode not in codes:
        told = (done.stdout + done.stderr).decode("utf-8", "replace")
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{told}")
    return done


def git(folder: Path, *arguments: str, codes: Sequence[int] | None = (0,)) -> bytes:
    return run("git", *arguments, cwd=folder, codes=codes).stdout


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def commit(folder: Path, tag: str = "") -> None:
    """Commits everything; a version of a template also what its own .gitignore names."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A", *(("--force",) if tag else ()))
    git(folder, "commit", "-q", "--allow-empty", "-m", tag or "Work")
    if tag:
        git(folder, "tag", tag)


def empty(folder: Path) -> None:
    """Removes all but git's own folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path.name != ".git":
                shutil.rmtree(path)
        else:
            path.unlink()


@dataclass(frozen=True)
class Copier:
    """`copier update` of the installed release."""

    name: str = "copier"

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.name)

    def publish(self, template: Path, files: Files, tag: str, config: str = "") -> None:
        """Commits a version of a template; config are more lines of its copier.yml."""
        template.mkdir(exist_ok=True)
        empty(template)
        laid = {f"template/{name}": content for name, content in files.items()}
        answers = "{{ _copier_answers|to_nice_yaml -}}\n"
        write(template, {**laid, "copier.yml": COPIER_YML + config, ANSWERS: answers})
        commit(template, tag)

    def make(self, template: Path, project: Path, answers_file: str = "") -> None:
        """Renders the first version of a template."""
        options = ("--answers-file", answers_file) if answers_file else ()
        made = ("--defaults", "--quiet", "--vcs-ref", "v1.0.0", *options, template, project)
        run(BIN / "copier", "copy", *made, cwd=project.parent)

    def command(
        self, answer: str = "", answers_file: str = "", *, trust: bool = False
    ) -> list[str]:
        """Updates the project in the current folder; answer is a new one to `name`."""
        found = [str(BIN / self.name), "update", "--defaults", *(["--trust"] if trust else [])]
        found += ["--data", f"name={answer}"] if answer else []
        return found + (["--answers-file", answers_file] if answers_file else [])


@dataclass(frozen=True)
class Mlscaffold(Copier):
    """`mlscaffold update` of this checkout, on the same template and project as Copier."""

    name: str = "mlscaffold"


@dataclass(frozen=True)
class Cruft:
    """`cruft update`, from an environment of its own, on the same files as a cookiecutter."""

    environment: Path
    name: str = "cruft"

    @property
    def bin(self) -> Path:
        return self.environment / "bin"

    @property
    def version(self) -> str:
        code = (
            "import importlib.metadata as m; print(m.version('cruft'), m.version('cookiecutter'))"
        )
        cruft, cookiecutter = run(self.bin / "python", "-c", code, cwd=Path()).stdout.split()
        return f"{cruft.decode()} (cookiecutter {cookiecutter.decode()})"

    def install(self) -> None:
        """Makes the environment with the newest release."""
        run(sys.executable, "-m", "venv", self.environment, cwd=Path())
        run(self.bin / "python", "-m", "pip", "install", "-q", "cruft", cwd=Path())

    def publish(self, template: Path, files: Files, tag: str, config: str = "") -> None:
        assert not config
        template.mkdir(exist_ok=True)
        empty(template)
        laid = {
            "{{cookiecutter.project}}/"
            + name.replace("{{ name }}", "{{cookiecutter.name}}"): content
            for name, content in files.items()
        }
        write(template, {**laid, "cookiecutter.json": json.dumps(COOKIECUTTER_JSON)})
        commit(template, tag)

    def make(self, template: Path, project: Path, answers_file: str = "") -> None:
        assert not answers_file
        options = ("--no-input", "--checkout", "v1.0.0", "--output-dir", project.parent)
        run(self.bin / "cruft", "create", *options, template, cwd=project.parent)

    def command(
        self, answer: str = "", answers_file: str = "", *, trust: bool = False
    ) -> list[str]:
        assert not answers_file
        assert not trust
        found = [str(self.bin / "cruft"), "update", "--skip-apply-ask"]
        given = json.dumps({"name": answer})
        return found + (["--variables-to-update", given] if answer else [])


Updater = Copier | Mlscaffold | Cruft


def isolate(home: Path) -> None:
    """Lets nothing of this machine's settings in, and nothing of the run out."""
    home.mkdir(parents=True, exist_ok=True)
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.com\n")
    for name in [name for name in os.environ if name.startswith(("GIT_", "COPIER_"))]:
        del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "MLSCAFFOLD_HOME": str(home / "store"),
        "COPIER_CACHE_DIR": str(home / "copier"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "LC_ALL": "C.UTF-8",
    }
