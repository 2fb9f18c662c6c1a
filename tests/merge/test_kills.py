"""SIGKILL at each call of one update that writes: the next run, or --abort, mends what is left.

strace sends the signal. `pytest -m slow tests/merge/test_kills.py --kills 0` takes every call.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from projects import LONG, edit, has_journal, project, state, template
from repositories import git, write

from mlscaffold import store
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, repository, update
from mlscaffold.merge.update import Request

CALLS = (
    "write,?pwrite64,?writev,?sendfile,?copy_file_range,?creat,openat,?rename,renameat,"
    "?renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,?chmod,"
    "fchmod,fchmodat,?ftruncate"
)
COMMANDS = {
    "update": (),
    "programs": ("--trust",),
    "fetch": (),
    "branch": ("--branch", "up"),
    "abort": ("--abort",),
}
# What a template's programs do in an update: before it, and then after it.
PROGRAMS = """
_migrations:
  - version: v2
    before: ["git mv own moved-own && echo 1 > made && git add made"]
_tasks: ["git add -A; sed -i 's/line 3/line three/' src/b scratch"]
"""
Point = tuple[str, int]


def can_trace() -> bool:
    command = ["strace", "-qq", "-o", os.devnull, "-e", "inject=getpid:signal=KILL:when=1", "true"]
    return shutil.which("strace") is not None and not subprocess.run(command).returncode


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_trace(), reason="strace is missing, or may not trace here"),
]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A small project that an update changes in every way, and once in conflict."""
    has_programs = "programs" in request.node.callspec.params.values()
    old = {"edited": "1\n", "gone": "x\n", "conf/a": LONG, "src/b": LONG + "b\n", "file": "1\n"}
    new = {"edited": "2\n", "to/a": LONG + "new\n", "src/b": LONG + "b\nnew\n", "file/in": "2\n"}
    old |= {"env/x": LONG, ".gitignore": "env/\n"}
    new |= {"env/x": "new\n" + LONG} | ({"copier.yml": PROGRAMS} if has_programs else {})
    template(tmp_path / "t", {"copier.yml": "", **old}, new, v2=("gone", "conf/a", "file"))
    made = project(tmp_path / "t", tmp_path / "p")
    edit(made, {"edited": "mine\n", "src/b": "mine\n" + old["src/b"], "own": "o\n"})
    write(made, {"scratch": LONG, "env/x": LONG + "mine\n"})
    return made


class Kills:
    """One command on copies of a project, killed at a point of each, and what it has to become."""

    def __init__(self, folder: Path, command: str) -> None:
        if command == "branch":
            edit(folder, {"edited": "1\n"})
        self.folder, self.command, self.copy = folder, command, folder.with_name("copy")
        self.changing = store.home() if command == "fetch" else self.copy
        self.old = state(folder)
        self.update(folder)
        self.new = state(folder)
        self.found: Counter[str] = Counter()
        if command != "abort":
            update.abort(folder)
            assert state(folder) == self.old

    def update(self, folder: Path) -> None:
        update.run(Request(folder, trusts=lambda _: self.command == "programs"))

    @property
    def arguments(self) -> list[str]:
        return [sys.executable, "-m", "mlscaffold", "update", str(self.copy),
                *COMMANDS[self.command]]  # fmt: skip

    def renew(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.folder, self.copy, symlinks=True)
        if self.command == "fetch":
            shutil.rmtree(store.home(), ignore_errors=True)

    def check(self, point: object, *, by_abort: bool) -> None:
        """Whatever a kill left, one more command makes it old or new."""
        place = self.copy / ".git" / "mlscaffold"
        now = state(self.copy)
        found = {self.old: "old", self.new: "new"}.get(now, "between")
        if self.command == "branch":
            assert now[:2] == self.old[:2], point
            self.check_branch(point)
        elif (place / "snapshot").exists():
            self.check_interrupted(point)
        elif by_abort:
            nothing = pytest.raises(MlscaffoldError, match="There is no update")
            with nullcontext() if has_journal(self.copy) else nothing:
                update.abort(self.copy)
            assert state(self.copy) == self.old, point
        else:
            self.update(self.copy)
            assert state(self.copy) == self.new, point
        self.found[found] += 1
        assert not list((self.copy / ".git").rglob("*.lock")), point
        left = [one.name for one in place.glob("*") if not one.name.startswith("update-")]
        assert set(left) <= {"lock", "kept"}, point
        assert git(self.copy, "fsck", "--connectivity-only", "--no-dangling") == "", point

    def check_interrupted(self, point: object) -> None:
        """Killed while programs could run: a person has to say that all is to go back."""
        with pytest.raises(MlscaffoldError, match="interrupted while programs"):
            self.update(self.copy)
        update.abort(self.copy)
        assert state(self.copy) == self.old, point

    def check_branch(self, point: object) -> None:
        if not git(self.copy, "branch", "--list", "up"):
            assert update.run(Request(self.copy, branch="up")).commit, point
        assert git(self.copy, "show", "up:edited") == "2", point
        with pytest.raises(MlscaffoldError):
            update.abort(self.copy)


@pytest.fixture(params=COMMANDS)
def kills(folder: Path, request: pytest.FixtureRequest) -> Kills:
    return Kills(folder, request.param)


def points(log: Path, *, start: str = "", within: str = "") -> Iterator[Point]:
    """The calls of a log that write, by name and number among those of their name.

    start is what the first of them mentions, within what all do.
    """
    numbers: Counter[str] = Counter()
    is_on = not start
    for line in log.read_text(errors="replace").splitlines():
        if not (found := re.match(r"(\w+)\(", line)):
            continue
        numbers[found[1]] += 1
        is_on = is_on or start in line
        is_reading = found[1] == "openat" and "O_CREAT" not in line
        if is_on and within in line and not is_reading and " = -1 " not in line:
            yield found[1], numbers[found[1]]


def some(every: list[Any], request: pytest.FixtureRequest) -> list[Any]:
    count = int(request.config.getoption("--kills")) or len(every)
    return [every[number * len(every) // count] for number in range(min(count, len(every)))]


def traced(*options: str) -> list[str]:
    return ["strace", "-qq", "-e", "signal=none", "-e", f"trace={CALLS}", *options]


def own_points(kills: Kills, request: pytest.FixtureRequest) -> list[Point]:
    """From taking the lock to the end; where a few are taken, those that change the project."""
    log = kills.folder.with_name("log")
    kills.renew()
    subprocess.run([*traced("-y", "-o", str(log)), *kills.arguments], capture_output=True)
    within = str(kills.changing) if request.config.getoption("--kills") else ""
    return list(points(log, start=".git/mlscaffold/lock", within=within))


def take_interrupts() -> None:
    """A shell that starts tests in the background makes them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def sent_at(point: Point, name_of_signal: str = "KILL") -> list[str]:
    name, number = point
    inject = f"inject={name}:signal={name_of_signal}:when={number}"
    return ["strace", "-qq", "-o", os.devnull, "-e", f"trace={name}", "-e", inject]


def test_killed_at_a_write_of_its_own(kills: Kills, request: pytest.FixtureRequest) -> None:
    every = own_points(kills, request)
    for number, point in enumerate(some(every, request)):
        kills.renew()
        done = subprocess.run([*sent_at(point), *kills.arguments], capture_output=True)
        assert done.returncode in (-signal.SIGKILL, 0, 1), done.stderr
        kills.check(point, by_abort=number % 2 == 0)
    assert kills.command in ("fetch", "branch") or kills.found["between"], "all came too early"


@pytest.mark.parametrize("kills", ["update", "programs", "branch"], indirect=True)
def test_interrupted_at_a_write_of_its_own(kills: Kills, request: pytest.FixtureRequest) -> None:
    """Ctrl-C instead: no traceback, and nothing is left to the next run."""
    every = own_points(kills, request)
    for point in some(every, request):
        kills.renew()
        command = [*sent_at(point, "INT"), *kills.arguments]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=take_interrupts)
        assert done.returncode in (130, 0, 1), (point, done.stderr)
        if done.returncode == 130:
            assert done.stderr.splitlines()[-1] == "mlscaffold: Interrupted.", point
            assert "Traceback" not in done.stderr, point
        assert state(kills.copy)[:2] in (kills.old[:2], kills.new[:2]), point
        apply.check_not_interrupted(repository.open_at(kills.copy))
        kills.check(point, by_abort=state(kills.copy) == kills.new)


@pytest.mark.parametrize("with_it", [False, True], ids=["git alone", "both"])
def test_killed_at_a_write_of_its_git(
    kills: Kills, request: pytest.FixtureRequest, with_it: bool
) -> None:
    """git dies at a call, and the update goes back in one line; or the update dies with it."""
    log = kills.folder.with_name("logs")
    log.mkdir()
    kills.renew()
    run_with_git(kills, {n: traced("-o", str(log / str(n))) for n in range(100)})
    every = [(int(one.name), point) for one in sorted(log.iterdir(), key=lambda p: int(p.name))
             for point in points(one)]  # fmt: skip
    for number, (call, point) in enumerate(some(every, request)):
        kills.renew()
        code, message = run_with_git(kills, {call: sent_at(point)}, with_it=with_it)
        if not with_it:
            assert code in (0, 2), (call, point, message)
            assert message.count("\n") == code // 2, (call, point, message)
        if code == 2 and kills.command in ("update", "programs"):
            assert state(kills.copy) == kills.old, (call, point)
        kills.check((call, point), by_abort=number % 2 == 0)


def run_with_git(
    kills: Kills, prefixes: dict[int, list[str]], *, with_it: bool = False
) -> tuple[int, str]:
    """Runs the command in a child whose calls of git get prefixes; exit code and error."""
    message = kills.folder.with_name("message")
    message.write_text("")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _in_a_child(kills, prefixes, message, with_it=with_it)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), message.read_text()


def _in_a_child(
    kills: Kills, prefixes: dict[int, list[str]], message: Path, *, with_it: bool
) -> int:
    real, numbers = subprocess.run, iter(range(1000))

    def run(command: list[str], **options: Any) -> Any:
        done = real([*prefixes.get(next(numbers), []), *command], **options)
        if with_it and done.returncode == -signal.SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    subprocess.run = run  # type: ignore[assignment]
    try:
        if kills.command == "abort":
            update.abort(kills.copy)
        else:
            name = "up" if kills.command == "branch" else None
            trusts = kills.command == "programs"
            update.run(Request(kills.copy, branch=name, trusts=lambda _: trusts))
    except MlscaffoldError as error:
        message.write_text(f"{error.format_message()}\n")
        return 2
    except BaseException as error:
        message.write_text(repr(error))
        return 1
    return 0
