"""Other programs: the only place that starts them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finished:
    """How a program ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """The last line it wrote to stderr, or to stdout: most often the reason of a failure."""
        lines = [line for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"exit code {self.returncode}"


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> Finished:
    """Runs command in cwd with these variables added and returns what it wrote.

    Raises FileNotFoundError when there is no such program.
    """
    done = subprocess.run(
        list(command),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)
