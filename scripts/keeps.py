"""Writes docs/updaters.md: what copier, cruft and mlscaffold leave of a user's work.

    python scripts/keeps.py [--show CASE]

Plays every case of keeps_cases.py through the three updaters (cruft comes from PyPI into a
temporary environment) and looks at the files afterwards: is the user's work there, or shown as a
conflict, and does the exit code say so? Takes some minutes. --show plays one case, by a part of
its title, and prints what each updater said and what it left.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from keeps_cases import CASES, KILLED, MANY, MANY_MINE, MANY_NEW, Case, Project
from keeps_updaters import NAME, Copier, Cruft, Mlscaffold, Updater, commit, git, isolate, run

PAGE = Path(__file__).resolve().parent.parent / "docs" / "updaters.md"
KILLS = 12
SAFE = ("kept", "refused", "conflict")
MEANINGS = {
    "kept": "the user's work is there, and the template's change too",
    "refused": "nothing was done, and the exit code says so",
    "conflict": "both sides are there, with markers, rejects, or a conflict that git knows of",
    "incomplete": "the user's work is there, the template's change is not, and the project records "
    "the new version all the same",
    "broken": "both are there, in a file that does not parse any more",
    "half done": "a mixture of old and new, which running it again does not mend",
    "lost": "the user's work is in no file any more, or undone, and nothing shows it",
}
ABOUT = """\
What three updaters leave of a user's work in {number} cases that threaten it. Each case is a
template in two versions and a project of the first, in which a user did something; then the project
is updated, without a question and without a terminal. What is judged are the files afterwards and
the exit code, not the messages.
"""
FAIR = """\
`copier` and `mlscaffold` update the same project. For `cruft` the same files are a cookiecutter,
called with `--skip-apply-ask`. Work that was committed and is *lost* from the files can still be
found in git's history by someone who notices; work that was not committed is gone. A refusal is a
safeguard and counts as kept.
"""
AGAIN = """\
To run it again: `python scripts/keeps.py` writes this page anew, and `--show "same line"` plays one
case and prints what each updater said and left. The cases are in `scripts/keeps_cases.py`.
"""
NO_SUCH_CASE = "no such case"


@dataclass(frozen=True)
class Outcome:
    """What an updater left of a case; code is None where there is no one exit code.

    is_truthful: the exit code is not 0 where somebody would have to look
    """

    verdict: str
    code: int | None
    is_truthful: bool
    note: str = ""

    @property
    def is_safe(self) -> bool:
        return self.verdict in SAFE

    def __str__(self) -> str:
        is_plain = self.verdict in (*SAFE, NO_SUCH_CASE)
        word = self.verdict if is_plain else f"**{self.verdict}**"
        code = "" if self.code is None else f" · {self.code}{'' if self.is_truthful else ' ✗'}"
        return word + (f" ({self.note})" if self.note else "") + code


def judge(case: Case, updater: Updater, folder: Path, *, show: bool = False) -> Outcome:
    """Plays a case in an empty folder."""
    if isinstance(updater, Cruft) and case.why_not:
        return Outcome(NO_SUCH_CASE, None, True, case.why_not)
    project, commands = set_up(case, updater, folder)
    case.play(project)
    before, code = project.files(), 0
    for number, command in enumerate(commands):
        if number:
            commit(project.top)  # what a user does between the updates of two templates
        done = run(*command, cwd=project.root, codes=None)
        code = code or done.returncode
        if show:
            told = (done.stdout + done.stderr).decode("utf-8", "replace")
            print(f"$ {' '.join(command)}\n{told}exit code {done.returncode}")
    if show:
        _print(project, before)
    found = verdict(case, project, is_refused=bool(code) and project.files() == before)
    return Outcome(found, code, code != 0 or found == "kept")


def set_up(case: Case, updater: Updater, folder: Path) -> tuple[Project, list[list[str]]]:
    """A project of the first version, whose template has a second; and how to update it."""
    top = folder / "repository" if case.prefix else folder / NAME
    root = top / case.prefix / NAME if case.prefix else top
    root.parent.mkdir(parents=True, exist_ok=True)
    templates = [(case.old, case.new, "")]
    if case.other:
        templates = [
            (case.old, case.new, ".copier-answers.one.yml"),
            (case.other["old"], case.other["new"], ".copier-answers.two.yml"),
        ]
    commands = []
    for number, (old, new, answers_file) in enumerate(templates):
        template = folder / f"template{number}"
        config = ("", "") if number else case.config
        updater.publish(template, old, "v1.0.0", config[0])
        updater.make(template, root, answers_file)
        updater.publish(template, new, "v2.0.0", config[1])
        commands.append(updater.command(case.answer, answers_file, trust=case.has_programs))
    commit(top)
    if isinstance(updater, Mlscaffold) and case.other:
        commands = [updater.command()]  # it takes both at once
    return Project(root, top), commands


def verdict(case: Case, project: Project, *, is_refused: bool) -> str:
    """The word for what is left of a case."""
    if not case.is_kept(project):
        return "lost"
    if is_refused:
        return "refused"
    if project.is_conflict_shown():
        return "conflict"
    if not project.holds(case.arrives):
        return "incomplete"
    return "kept" if case.is_sound(project) else "broken"


def _print(project: Project, before: dict[str, bytes]) -> None:
    print(git(project.top, "status", "--short").decode())
    after = project.files()
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            print(f"--- {name}\n{after.get(name, b'(gone)').decode('utf-8', 'replace')}")


def judge_killed(updater: Updater, folder: Path, *, kills: int = KILLS) -> Outcome:
    """Kills updates at moments spread over the run, runs each once more, and looks."""
    case = Case(KILLED, MANY, MANY_NEW, MANY_MINE)
    project, (command,) = set_up(case, updater, folder)
    case.play(project)
    copies = folder / "copies"
    old = project.files()
    whole = _copy(project, copies / "whole")
    started = time.monotonic()
    run(*command, cwd=whole.root)
    took = time.monotonic() - started
    allowed = old, whole.files()
    moments = random.Random(0)
    mixed = 0
    for number in range(kills):
        one = _copy(project, copies / str(number))
        _kill_after(command, one.root, took * (number + moments.random()) / kills)
        run(*command, cwd=one.root, codes=None)
        mixed += one.files() not in allowed
        shutil.rmtree(one.root.parent)
    if mixed:
        return Outcome("half done", None, False, f"{mixed} of {kills} times")
    return Outcome("kept", None, True, f"{kills} of {kills} times")


def _copy(project: Project, place: Path) -> Project:
    place.mkdir(parents=True)
    shutil.copytree(project.root, place / NAME, symlinks=True)
    return Project(place / NAME, place / NAME)


def _kill_after(command: Sequence[str], folder: Path, seconds: float) -> None:
    """Starts a command and kills it, with all that it started."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    ) as program:
        try:
            program.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)


def titles() -> list[str]:
    """The cases in the order of the page."""
    return [*(case.title for case in CASES), KILLED]


def page(rows: Sequence[Sequence[Outcome]], updaters: Sequence[Updater]) -> str:
    """The page: rows has for each title what each updater left."""
    lines = ["# What updaters keep", "<!-- Written by scripts/keeps.py; do not edit. -->", ""]
    lines += [ABOUT.format(number=len(titles()))]
    lines += ["In the cells, with the exit code after it:", ""]
    lines += [f"- *{word}*: {meaning}" for word, meaning in MEANINGS.items()]
    lines += ["- ✗: the exit code is 0 although somebody would have to look", "", FAIR]
    names = [f"{updater.name} {updater.version}" for updater in updaters]
    lines += [f"| case | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    lines += [
        f"| {title} | {' | '.join(map(str, row))} |"
        for title, row in zip(titles(), rows, strict=True)
    ]
    lines += ["", "## Totals", f"| | {' | '.join(u.name for u in updaters)} |"]
    lines += [f"|---|{'---|' * len(names)}", *_totals(rows), ""]
    version = git(Path(), "--version").decode().split()[2]
    lines += [f"Run on {date.today()} with git {version} on {os.uname().sysname}.", "", AGAIN]
    return "\n".join(lines).rstrip() + "\n"


def _totals(rows: Sequence[Sequence[Outcome]]) -> Iterator[str]:
    columns = [
        [one for one in column if one.verdict != NO_SUCH_CASE] for column in zip(*rows, strict=True)
    ]
    safe = [f"{sum(one.is_safe for one in column)} of {len(column)}" for column in columns]
    yield f"| **kept, refused or shown as a conflict** | {' | '.join(safe)} |"
    counts = [Counter(one.verdict for one in column) for column in columns]
    for word in MEANINGS:
        yield f"| {word} | {' | '.join(str(count[word]) for count in counts)} |"
    untrue = [str(sum(not one.is_truthful for one in column)) for column in columns]
    yield f"| somebody would have to look, and the exit code is 0 (✗) | {' | '.join(untrue)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", metavar="CASE", help="play one case and print what happens")
    shown = parser.parse_args().show
    with tempfile.TemporaryDirectory(prefix="keeps-") as name:
        folder = Path(name).resolve()
        cruft = Cruft(folder / "cruft")
        cruft.install()
        isolate(folder / "home")
        updaters: list[Updater] = [Copier(), cruft, Mlscaffold()]
        places = iter(folder / f"case{number}" for number in range(10_000))
        if shown:
            for case in (case for case in CASES if shown in case.title):
                for updater in updaters:
                    print(f"=== {updater.name}: {case.title}")
                    print(judge(case, updater, next(places), show=True), flush=True)
            return
        rows = []
        for case in CASES:
            rows.append([judge(case, updater, next(places)) for updater in updaters])
            print(f"{case.title}: {', '.join(map(str, rows[-1]))}", flush=True)
        rows.append([judge_killed(updater, next(places)) for updater in updaters])
        print(f"{KILLED}: {', '.join(map(str, rows[-1]))}")
        PAGE.write_text(page(rows, updaters), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
