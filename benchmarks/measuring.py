"""How the suites measure: commands run in turns, medians, and figures that have a limit."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Figure:
    """One promise: what was measured, what it may be at most, and how it reads."""

    name: str
    value: float
    limit: float
    reading: str

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit


def run(*command: str | Path, cwd: Path, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command and return its stdout; another exit code than `codes` ends the benchmark."""
    outcome = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if outcome.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))}\n{outcome.stdout}{outcome.stderr}")
    return outcome.stdout


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def alternate(repeats: int, *actions: Callable[[], object]) -> list[float]:
    """Median seconds of each action, run in turns, so that a busy machine slows all alike."""
    return medians(repeats, *(lambda action=action: seconds(action) for action in actions))


def medians(repeats: int, *measures: Callable[[], float]) -> list[float]:
    """The median of what each measure tells, taken in turns."""
    rounds = [[measure() for measure in measures] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def ratio(name: str, ours: float, peer: float, limit: float, peer_name: str) -> Figure:
    return Figure(name, ours / peer, limit, f"{ours:.2f} s against {peer:.2f} s ({peer_name})")
