"""Updates that are killed, starved or locked out: a project is old, new, or made so by the next."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from projects import LONG, State, edit, has_journal, project, state, template
from repositories import git, tree, write

from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, journal, repository, update
from mlscaffold.merge.update import Request

MANY = 40
CLONE_NEWNS = 0x00020000


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


def start(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mlscaffold", "update", str(folder), *arguments],
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


def check_recovered(folder: Path, old: State, new: State) -> str:
    """Whatever state a kill left, the next run makes it old or new."""
    found = state(folder)
    nothing = pytest.raises(MlscaffoldError, match="There is no update")
    with nullcontext() if has_journal(folder) else nothing:
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
        running = start(folder, "--branch", "up")
        time.sleep(0.25 + number * 0.01)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        assert state(folder)[:2] == old[:2]
        if not git(folder, "branch", "--list", "up"):
            assert update.run(Request(folder, branch="up")).commit
        assert git(folder, "show", "up:c") == "2"
        git(folder, "branch", "-qD", "up")
        assert state(folder) == old


def check_interrupted(folder: Path, delays: Iterable[float]) -> None:
    """Ctrl-C, which a terminal sends to git too."""
    old, new = state(folder), _new(folder)
    for delay in delays:
        running = start(
            folder, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
        )
        begins(folder, running)
        time.sleep(delay)
        os.killpg(running.pid, signal.SIGINT)
        errors = running.communicate()[1]
        apply.check_not_interrupted(repository.open_at(folder))
        if running.returncode == 130:
            assert errors.strip() == "mlscaffold: Interrupted."
        elif running.returncode == -signal.SIGINT and errors:  # Python was still importing it
            assert "<frozen importlib" in errors
            assert state(folder) == old
        elif running.returncode == -signal.SIGINT:  # it was done, and Python on its way out
            assert state(folder) == new
        else:
            assert running.returncode == 1, errors
        assert state(folder) in (old, new)
        if state(folder) == new:
            update.abort(folder)


def test_interrupted_at_some_moments_it_is_old_or_new(folder: Path) -> None:
    check_interrupted(folder, [0.0, 0.01, 0.03])


@pytest.mark.slow
def test_interrupted_at_many_moments_it_is_old_or_new(folder: Path) -> None:
    check_interrupted(folder, [number * 0.003 for number in range(30)])


@pytest.mark.parametrize("size", [200, 2000, 20000])
def test_a_full_disk_leaves_it_as_it_was(folder: Path, size: int) -> None:
    """A limit on the size of files stands for the disk: writing fails in the same way."""
    old = state(folder)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    running = start(folder, preexec_fn=limit)
    errors = running.communicate()[1]
    assert running.returncode in (1, 2)
    if running.returncode == 2:
        assert errors.count("\n") == 1
        assert state(folder) == old
    update.run(Request(folder))


@pytest.mark.parametrize("free", [0, 96])
def test_a_disk_that_fills_up_leaves_it_as_it_was(folder: Path, free: int, tmp_path: Path) -> None:
    with_mounts(lambda: check_full(folder, [free]), tmp_path)


@pytest.mark.slow
def test_a_disk_that_fills_up_at_any_moment_leaves_it_as_it_was(
    folder: Path, tmp_path: Path
) -> None:
    with_mounts(lambda: check_full(folder, range(0, 176, 8)), tmp_path)


def check_full(folder: Path, sizes: Iterable[int]) -> None:
    """Updates on a disk with so many KiB left, and then with more."""
    disk = folder.with_name("disk")
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "none", str(disk))
    here = disk / "p"
    shutil.copytree(folder, here, symlinks=True)
    old = state(here)
    for free in sizes:
        fill(disk / "full", free * 1024)
        check_refused(start(here), here, old, "space")
        (disk / "full").unlink()
    update.run(Request(here))
    assert state(here) != old


@pytest.mark.parametrize("name", ["d3", ".git"])
def test_a_read_only_folder_leaves_it_as_it_was(folder: Path, name: str, tmp_path: Path) -> None:
    def check() -> None:
        old = state(folder)
        mount("--bind", str(folder / name), str(folder / name))
        mount("-o", "remount,bind,ro", str(folder / name))
        check_refused(start(folder), folder, old, "Read-only")

    with_mounts(check, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("name", ["d3", ".git"])
def test_a_folder_of_another_user_leaves_it_as_it_was(folder: Path, name: str) -> None:
    old = state(folder)
    (folder / name).chmod(0o500)
    check_refused(start(folder), folder, old, "Permission denied")
    (folder / name).chmod(0o700)


def check_refused(running: subprocess.Popen[str], folder: Path, old: State, reason: str) -> None:
    errors = running.communicate()[1]
    assert running.returncode == 2, errors
    assert errors.count("\n") == 1, errors
    assert reason in errors
    assert state(folder) == old
    assert not has_journal(folder)


def fill(file: Path, free: int) -> None:
    """Fills the disk that file is on, but for so many bytes."""
    status = os.statvfs(file.parent)
    file.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - free)))


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def is_private(folder: str) -> bool:
    """Keeps what is mounted below folder from other processes, if folder is a mount point."""
    command = ["mount", "--make-rprivate", folder]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def with_mounts(check: Callable[[], None], place: Path) -> None:
    """Runs check in a process that can mount what no other process sees."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root may mount")
    if not shutil.which("mount"):
        pytest.skip("this machine has no program mount")
    error = place / "error"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if ctypes.CDLL(None).unshare(CLONE_NEWNS):
                os._exit(77)
            if not is_private("/"):
                os._exit(78)
            check()
            code = 0
        except BaseException:
            error.write_text(traceback.format_exc())
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 77:
        pytest.skip("this machine does not let root mount")
    if code == 78:
        pytest.skip("/ is no mount point here, as in some containers: a mount would be everybody's")
    assert code == 0, error.read_text()


def test_abort_names_what_was_edited_after_a_kill(folder: Path) -> None:
    first = (folder / "d0/f10").read_bytes()
    update.run(Request(folder))
    (folder / "d0/f10").write_bytes(first)  # as a kill on the way back leaves it
    write(folder, {"d0/f5": "edited\n"})
    here = repository.open_at(folder)
    ((here, record),) = journal.all_of(here)
    journal.write(journal.folder(here), replace(record, state=journal.APPLYING))
    assert update.abort(folder).edited == ("d0/f5",)
    assert tree(folder)["d0/f5"] == b"edited\n"
    assert tree(folder)["c"] == b"mine\n"


def test_eight_at_once_leave_one_update(folder: Path) -> None:
    running = [start(folder) for _ in range(8)]
    errors = [one.communicate()[1] for one in running]
    assert {one.returncode for one in running} <= {1, 2}, errors
    assert any(one.returncode == 1 for one in running), errors
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


def _new(folder: Path) -> State:
    update.run(Request(folder))
    found = state(folder)
    update.abort(folder)
    return found
