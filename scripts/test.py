"""All that has to pass before a change lands: makes its environment, then runs every suite.

Needs Python 3.11+ and git, nothing else:  python3 scripts/test.py [--fast]

On a CI machine that is Debian's or Ubuntu's it also installs what it takes to build an image, kill
an update at a system call, run a GitLab pipeline and check Prometheus' rules; elsewhere those tests
are skipped, and say so, if that is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = str(BIN / "python")

SETUP = [
    [sys.executable, "-m", "venv", str(ENVIRONMENT)],
    [PYTHON, "-m", "pip", "install", "-qq", "--require-hashes", "-r", "requirements-dev.txt"],
    [PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", "."],
]
# The tools of the slow suites, each with the package of Debian that has it.
TOOLS = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "node": "nodejs",
    "npm": "npm",
    "promtool": "prometheus",
    "rsync": "rsync",
    "strace": "strace",
}
FAST = [
    ["ruff", "check"],
    ["ruff", "format", "--check"],
    ["mypy"],
    ["lint-imports"],
    [PYTHON, "scripts/docs.py", "--check"],
    [PYTHON, "-m", "pytest", "-m", "not slow", "-n", "2", "--cov"],
]
SLOW = [
    # One test at a time, in their order; but those that share a project, by one process.
    [
        PYTHON,
        "-m",
        "pytest",
        "-m",
        "slow",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "--no-loadscope-reorder",
    ],
    [PYTHON, "scripts/break_gates.py"],
]


def run(command: list[str]) -> None:
    """Run one step and stop at the first that fails, with its exit code."""
    print(f"\n$ {' '.join(command)}", flush=True)
    started = time.monotonic()
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    outcome = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, check=False)
    print(f"{time.monotonic() - started:.0f} s", flush=True)
    if outcome.returncode:
        sys.exit(outcome.returncode)


def system() -> list[list[str]]:
    """What installs the tools that are missing, on a machine that is CI's to change."""
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    is_root = os.name == "posix" and os.geteuid() == 0
    is_ours = bool(os.environ.get("CI")) and is_root and shutil.which("apt-get") is not None
    if not (is_ours and missing):
        return []
    install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing]
    return [["apt-get", "update", "-qq"], install]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="leave out the slow suites")
    is_fast = parser.parse_args().fast
    if sys.version_info < (3, 11):  # noqa: UP036 - it runs before anything is installed
        sys.exit(f"This needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.")
    slow = [] if is_fast else [*system(), *SLOW]
    for command in [*SETUP, *FAST, *slow]:
        executable = BIN / command[0]
        run([str(executable) if executable.exists() else command[0], *command[1:]])


if __name__ == "__main__":
    main()
