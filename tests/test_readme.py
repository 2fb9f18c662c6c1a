"""The README as a stranger types it: a fresh clone, an empty home, the system's Python."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path("/usr/bin/python3")
# What a machine needs to reach a package index; no variable of a person's own.
NETWORK = re.compile(
    r"PIP_.*|SSL_CERT_.*|.*_CA_BUNDLE|UV_INDEX.*|(https?|no|all)_proxy", re.IGNORECASE
)
# These do not end by themselves, or need a table that nobody has.
LEFT_OUT = ("uv run demo serve", "mlscaffold new churn")
# A verdict is an exit code too: 10 keeps the champion, 20 blocks the model.
SHELL = """
answered() { case $1 in 10 | 20) ;; *) exit "$1" ;; esac; }
set -x
"""


def blocks(heading: str) -> list[list[str]]:
    """The blocks of commands below a heading of the README, without what is said beside them."""
    text = (ROOT / "README.md").read_text("utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [[line.partition("  #")[0].rstrip() for line in block.splitlines()] for block in found]


def typed() -> list[str]:
    """All that the README has a newcomer type, from the first line on, in one shell."""
    first = blocks("From a table to a judged model")
    [loop] = blocks("Go round the loop")
    [update] = blocks("When the template moves on")
    lines = [line for block in [*first, loop, update] for line in block]
    return [line for line in lines if not line.startswith(LEFT_OUT)]


def missing() -> str:
    """Why the system's Python can't make an environment; "" where it can."""
    if not PYTHON.exists():
        return f"there is no {PYTHON}"
    check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    done = subprocess.run([PYTHON, "-c", check], capture_output=True, check=False)
    return f"{PYTHON} is older than 3.11, or has no venv" if done.returncode else ""


def test_each_line_is_known() -> None:
    lines = typed()
    assert "--run" in lines[0]
    assert "mlscaffold status" in lines
    assert all("<" not in line for line in lines)


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_stranger_types_the_readme(tmp_path: Path) -> None:
    home = tmp_path / "stranger"
    home.mkdir()
    clone = tmp_path / "mlscaffold"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    network = {name: value for name, value in os.environ.items() if NETWORK.fullmatch(name)}
    script = SHELL + "\n".join(f"{line} || answered $?" for line in typed())
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=clone,
        env={**network, "HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Traceback" not in said
    assert "Verdict  PROMOTE" in said
