from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlscaffold.process import Finished, run


def test_run_returns_what_a_program_wrote(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd()); sys.exit(3)"
    done = run((sys.executable, "-c", code), cwd=tmp_path)
    assert (done.returncode, Path(done.stdout.strip())) == (3, tmp_path)


def test_run_of_a_missing_program_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(("no-such-program",), cwd=tmp_path)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("warning: x\nerror: broken\nhint: y\n", "error: broken"),
        ("Traceback\nValueError: no\n", "ValueError: no"),
        ("", "exit code 1"),
    ],
)
def test_reason_is_the_telling_line(stderr: str, reason: str) -> None:
    assert Finished(1, "", stderr).reason == reason
