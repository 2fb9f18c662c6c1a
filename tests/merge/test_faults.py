"""Updates that are killed, starved or locked out: a project is old, new, or made so by the next."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from projects import LONG, edit, project, template
from repositories import git, tree, write

from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import repository, update
from mlscaffold.merge.update import Request

MANY = 40
PROGRAM = (
    "import sys; from pathlib import Path; from mlscaffold.merge import update; "
    "update.run(update.Request(Path(sys.argv[1]), branch=sys.argv[2] or None))"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that an update changes in many files, with a conflict."""
    files = {f"d{n % 5}/f{n}": f"{n}\n{LONG}" for n in range(MANY)}
    new = {path: f"{text}new\n" for path, text in files.items()}
    moved = {path.replace("d4/", "moved/"): new.pop(path) for path in list(new) if "d4/" in path}
    gone = tuple(path for path in files if "d4/" in path)
    template(tmp_path / "t", {"copier.yml": "", **files, "c": "1\n"}, {**new, **moved, "c": "2\n"},
             v2=gone)  # fmt: skip
    made = project(tmp_path / "t", tmp_path / "p")
    edit(made, {"c": "mine\n", "d0/f0": "mine\n" + files["d0/f0"], "own": "o\n"})
    return made


def state(folder: Path) -> tuple[Any, ...]:
    staged = re.sub(r"~[0-9a-f]{7,}", "", git(folder, "ls-files", "-s"))
    return tree(folder), staged, git(folder, "for-each-ref")


def start(folder: Path, branch: str = "", **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), branch],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def begins(folder: Path, running: subprocess.Popen[str]) -> None:
    """Waits until the update starts to prepare its journal, or is over."""
    place = folder / ".git" / "mlscaffold"
    while running.poll() is None and not any(place.glob("[nu]*")):
        time.sleep(0.0005)


def check_recovered(folder: Path, old: tuple[Any, ...], new: tuple[Any, ...]) -> str:
    """Whatever state a kill left, the next run makes it old or new."""
    found = state(folder)
    nothing = pytest.raises(MlscaffoldError, match="There is no update")
    has_journal = (folder / ".git" / "mlscaffold" / "update").exists()
    with nullcontext() if has_journal else nothing:
        update.abort(folder)
    assert state(folder) == old
    assert not (folder / ".git" / "index.lock").exists()
    assert git(folder, "fsck", "--connectivity-only") == ""
    update.run(Request(folder))
    assert state(folder) == new
    update.abort(folder)
    assert state(folder) == old
    return "old" if found == old else "new" if found == new else "mixed"


def outcomes(folder: Path, delays: list[float]) -> list[str]:
    old = state(folder)
    update.run(Request(folder))
    new = state(folder)
    update.abort(folder)
    assert state(folder) == old
    found = []
    for delay in delays:
        running = start(folder)
        begins(folder, running)
        time.sleep(delay)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        found.append(check_recovered(folder, old, new))
    return found


def test_killed_at_some_moments_it_is_old_or_new(folder: Path) -> None:
    outcomes(folder, [0.0, 0.01, 0.03])


@pytest.mark.slow
def test_killed_at_a_hundred_moments_it_is_old_or_new(folder: Path) -> None:
    found = outcomes(folder, [number * 0.001 for number in range(100)])
    assert "mixed" in found, "no kill came at a bad moment, so this shows nothing"


@pytest.mark.slow
def test_a_branch_killed_at_many_moments_can_be_made_again(folder: Path) -> None:
    edit(folder, {"c": "1\n"})
    old = state(folder)
    for number in range(40):
        running = start(folder, "up")
        time.sleep(0.25 + number * 0.01)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        assert tree(folder) == old[0]
        if not git(folder, "branch", "--list", "up"):
            assert update.run(Request(folder, branch="up")).commit
        assert git(folder, "show", "up:c") == "2"
        git(folder, "branch", "-qD", "up")
        assert state(folder) == old


@pytest.mark.parametrize("size", [200, 2000, 20000])
def test_a_full_disk_leaves_it_as_it_was(folder: Path, size: int) -> None:
    """A limit on the size of files stands for the disk: writing fails in the same way."""
    old = state(folder)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    running = start(folder, preexec_fn=limit)
    running.communicate()
    if running.returncode:
        assert state(folder) == old
    update.run(Request(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_leaves_it_as_it_was(folder: Path) -> None:
    old = state(folder)
    (folder / "d3").chmod(0o500)
    running = start(folder)
    running.communicate()
    (folder / "d3").chmod(0o700)
    assert running.returncode
    assert state(folder) == old


def test_eight_at_once_leave_one_update(folder: Path) -> None:
    running = [start(folder) for _ in range(8)]
    errors = [one.communicate()[1] for one in running]
    assert any(one.returncode == 0 for one in running), errors
    once = state(folder)
    update.abort(folder)
    update.run(Request(folder))
    assert state(folder) == once


def test_a_kill_during_the_next_run_is_recovered_too(folder: Path) -> None:
    old = state(folder)
    for _ in range(3):
        running = start(folder)
        begins(folder, running)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    write(folder, {"scratch": ""})
    project_ = repository.open_at(folder)
    assert project_.state.is_dir()
    (folder / "scratch").unlink()
    new = _new(folder)
    assert state(folder) == old
    assert new != old


def _new(folder: Path) -> tuple[Any, ...]:
    update.run(Request(folder))
    found = state(folder)
    update.abort(folder)
    return found
