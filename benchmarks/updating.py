"""One project brought from one version of the built-in template to the next, by us and by Copier.

The template is a clone of this repository with two releases of its own: the second edits five
files, renames one, deletes one and adds one. The project has a user's work in it, committed. It is
put back before each run, which is not measured.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measuring import BIN, ROOT, Figure, medians, ratio, run, seconds

AUTHOR = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "gc.auto=0")
PACKAGE = "template/src/{{ package_name }}"
OTHERS = 3_000
LARGE = 50 * 2**20  # bytes, in ten files

# Both are imported before the clock starts, so that starting Python is no part of it.
OURS_IN_PROCESS = """
import sys, time
from pathlib import Path
from mlscaffold import config
from mlscaffold.merge import update
started = time.perf_counter()
update.run(update.Request(place=Path(sys.argv[1]), trusts=config.load().trusts))
print(time.perf_counter() - started)
"""
COPIER_IN_PROCESS = """
import sys, time
from copier import run_update
started = time.perf_counter()
run_update(sys.argv[1], defaults=True, overwrite=True, quiet=True)
print(time.perf_counter() - started)
"""


def update(folder: Path) -> Iterator[Figure]:
    """An update as a whole command, in-process, beside many other files: seconds and memory."""
    os.environ["COPIER_CACHE_DIR"] = str(folder / "copier")
    template = _template(folder / "template")
    alone = _project(template, folder / "alone")
    beside = _project(template, folder / "beside", others=OTHERS)
    command = (BIN / "mlscaffold", "update", "--defaults")

    def ours(project: Path) -> Callable[[], float]:
        return lambda: _after_reset(project, lambda: run(*command, cwd=project))

    def peer() -> float:
        update = (BIN / "copier", "update", "--defaults", "--quiet")
        return _after_reset(alone, lambda: run(*update, cwd=alone))

    for warm in (ours(alone), ours(beside), peer):
        warm()  # fetches the template, as the first update of any project does
    one, other = medians(9, ours(alone), peer)
    yield ratio("update", one, other, 0.25, "copier update")
    one, many = medians(21, ours(alone), ours(beside))  # close together, so measured more often
    yield ratio(f"  beside {OTHERS:,} other files", many, one, 1.10, "without them")
    inside, outside = medians(
        7,
        lambda: _in_process(alone, OURS_IN_PROCESS),
        lambda: _in_process(alone, COPIER_IN_PROCESS),
    )
    yield ratio("  in-process", inside, outside, 0.25, "copier.run_update")
    less, more = medians(
        5, *(lambda project=project: _peak(project, *command) for project in (alone, beside))
    )
    reading = f"{more:.0f} MiB against {less:.0f} MiB, all processes together"
    yield Figure(f"  memory beside {OTHERS:,} files", more / less, 1.10, reading)


def _git(folder: Path, *arguments: str) -> str:
    return run("git", *AUTHOR, *arguments, cwd=folder).strip()


def _template(folder: Path) -> Path:
    """This repository's template in two releases."""
    run("git", "clone", "-q", "--no-tags", ROOT, folder, cwd=folder.parent)
    _git(folder, "tag", "v90.0.0")
    for name, old, new in (
        ("template/README.md.jinja", "\n## ", "\nMore is in docs/.\n\n## "),
        ("template/.pre-commit-config.yaml", "repos:", "fail_fast: false\nrepos:"),
        ("template/pyproject.toml.jinja", "\n[tool.", "\n# The tools.\n[tool."),
        (f"{PACKAGE}/cli.py", "\n\n\n", "\n\n# The commands of the loop.\n\n\n"),
        (f"{PACKAGE}/training/report.py", "\n\n\n", "\n\n# What a round is told as.\n\n\n"),
    ):
        path = folder / name
        text = path.read_text(encoding="utf-8")
        if old not in text:
            sys.exit(f"{name} has no {old!r} to change any more: mend benchmarks/updating.py")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    _git(folder, "mv", f"{PACKAGE}/doctor.py", f"{PACKAGE}/checkup.py")
    _git(folder, "rm", "-q", "template/.dockerignore")
    (folder / "template/docs/onboarding.md").write_text("# The first day\n", encoding="utf-8")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-qm", "A release")
    _git(folder, "tag", "v90.1.0")
    return folder


def _project(template: Path, place: Path, *, others: int = 0) -> Path:
    """A project called demo at the first release, with what a user did to it since."""
    project = place / "demo"
    place.mkdir()
    made = ("--defaults", "--quiet", "--vcs-ref", "v90.0.0", template, project)
    run(BIN / "copier", "copy", *made, cwd=place)
    _git(project, "init", "-q", "-b", "main")
    _git(project, "add", "-A")
    _git(project, "commit", "-qm", "From the template")
    package = project / "src/demo"
    for path, more in (
        (package / "features.py", "\n\nWINDOWS = (7, 28)\n"),
        (package / "training/report.py", "\n\nTEAM = 'weather'\n"),
        (project / "README.md", "\n## Who to ask\nThe weather team.\n"),
        (project / ".gitignore", "/scratch/\n"),
        (project / "src/demo/regions.py", "NORTH = 'north'\n"),
        (project / "notebooks/first_look.py", "print('a first look')\n"),
    ):
        with path.open("a", encoding="utf-8") as file:
            file.write(more)
    for path in (
        project / "notebooks/explore.py",
        next((project / "tests/unit").glob("test_*.py")),
    ):
        path.unlink()
    _write_others(project, others)
    _git(project, "add", "-A")
    _git(project, "commit", "-qm", "A user's work")
    _git(project, "gc", "-q")
    time.sleep(1.1)  # else git takes the files for too young to trust their times
    _git(project, "reset", "-q", "--hard")
    return project


def _write_others(project: Path, number: int) -> None:
    """Files that are no business of the template: code, tables, pages and ten large ones."""
    numbers = random.Random(0)
    for each in range(number):
        kind = ("py", "csv", "md", "yaml", "json")[each % 5]
        path = project / f"work/part{each % 60}/file{each}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if each < 10:
            path.with_suffix(".bin").write_bytes(numbers.randbytes(LARGE // 10))
        else:
            lines = (f"{numbers.random()}\n" for _ in range(numbers.randrange(5, 80)))
            path.write_text("".join(lines), encoding="utf-8")


def _after_reset(project: Path, action: Callable[[], object]) -> float:
    """Seconds of the action, on the project as its user had left it."""
    _git(project, "reset", "-q", "--hard")
    _git(project, "clean", "-qfd")
    return seconds(action)


def _in_process(project: Path, code: str) -> float:
    answer: list[str] = []
    _after_reset(project, lambda: answer.append(_python(project, code)))
    return float(answer[0])


def _python(project: Path, code: str) -> str:
    return run(sys.executable, "-c", code, project, cwd=project)


def _peak(project: Path, *command: str | Path) -> float:
    """The most memory (MiB resident) that a command and all that it starts have at one time."""
    _after_reset(project, lambda: None)
    most = 0
    with subprocess.Popen(
        list(map(str, command)), cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as program:
        while program.poll() is None:
            most = max(most, _resident(program.pid))
            time.sleep(0.001)
    if program.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {program.returncode}")
    return most / 2**20


def _resident(process: int) -> int:
    """Bytes of a process and its children, from Linux's /proc; 0 for one that has ended."""
    try:
        tasks = Path(f"/proc/{process}/task")
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = [
            int(child)
            for task in tasks.iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(_resident, children))
