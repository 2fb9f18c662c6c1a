"""Other programs: the only place that starts them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Finished:
    """How a program ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def reason(self) -> str:
        """The line that says most likely why it failed: the first error, else the last line."""
        lines = [line.strip() for line in (self.stderr + self.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("error", "fatal"))]
        return [*errors, *reversed(lines), f"exit code {self.returncode}"][0]


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> Finished:
    """Runs command in cwd, with env as its whole environment, and returns what it wrote.

    Raises FileNotFoundError when there is no such program.
    """
    done = subprocess.run(
        list(command),
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def run_within(
    seconds: float, command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None
) -> Finished:
    """As run, for so many seconds at most.

    Raises TimeoutError for a program that is not done by then. It is ended with all that it has
    started: git would go away and leave behind the one that waits for the network.
    """
    with subprocess.Popen(
        list(command),
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as program:
        try:
            stdout, stderr = program.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            raise TimeoutError from None
        except BaseException:
            os.killpg(program.pid, signal.SIGKILL)
            raise
    return Finished(program.returncode, stdout, stderr)


@dataclass(frozen=True)
class Exchanged:
    """How a program ended that was given bytes, and the bytes it wrote."""

    returncode: int
    stdout: bytes
    stderr: str


def exchange(
    command: Sequence[str], given: bytes, *, cwd: Path, env: Mapping[str, str]
) -> Exchanged:
    """Runs command with given on its stdin. Raises FileNotFoundError when there is none."""
    done = subprocess.run(
        list(command), cwd=cwd, env=env, input=given, capture_output=True, check=False
    )
    return Exchanged(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


@contextmanager
def conversation(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str]
) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A program that answers line by line: its stdin and its stdout, until the block ends."""
    with subprocess.Popen(
        list(command),
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as program:
        assert program.stdin
        assert program.stdout
        yield program.stdin, program.stdout


def attached(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> int:
    """Runs command on this terminal, where Ctrl-C is its own affair; its exit code."""
    with subprocess.Popen(list(command), cwd=cwd, env=env) as program:
        while True:
            try:
                return program.wait()
            except KeyboardInterrupt:
                continue
