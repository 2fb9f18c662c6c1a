"""The cases of scripts/keeps.py: what a template changes, what a user did, what must be left."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keeps_updaters import Files, commit, git, write

LINES = "".join(f"line {number}\n" for number in range(12))
MORE = "".join(f"other {number}\n" for number in range(12))
MINE, THEIRS = "MINE\n", "THEIRS\n"
CODE = "".join(f"def part{number}():\n    return {number}\n\n\n" for number in range(6))


@dataclass(frozen=True)
class Project:
    """A project while a case is played in it. root is its folder, top its repository's."""

    root: Path
    top: Path

    def commit(self, files: Files, *removed: str) -> None:
        write(self.root, files)
        for name in removed:
            (self.root / name).unlink()
        commit(self.top)

    def read(self, name: str) -> bytes:
        path = self.root / name
        return path.read_bytes() if path.is_file() else b""

    def holds(self, text: str | bytes) -> bool:
        """Whether any file but git's own has the text, wherever it went."""
        wanted = text.encode() if isinstance(text, str) else text
        return any(wanted.strip() in content for content in self.files().values())

    def files(self) -> dict[str, bytes]:
        """Every file and link below the repository's top, with its mode and what is in it."""
        found = {}
        for path in sorted(self.top.rglob("*")):
            name = path.relative_to(self.top).as_posix()
            if name.startswith(".git/") or (path.is_dir() and not path.is_symlink()):
                continue
            if path.is_symlink():
                found[name] = b"link " + os.fsencode(path.readlink())
            else:
                program = b"program " if os.access(path, os.X_OK) else b"file "
                found[name] = program + path.read_bytes()
        return found

    def is_conflict_shown(self) -> bool:
        """Whether git knows of a conflict, or a file has its markers, or a reject lies about."""
        return bool(git(self.top, "ls-files", "-u")) or any(
            b"\n<<<<<<< " in b"\n" + content.partition(b" ")[2] or name.endswith(".rej")
            for name, content in self.files().items()
        )


Edit = Callable[[Project], None]


def has_mine(project: Project) -> bool:
    return project.holds(MINE)


@dataclass(frozen=True)
class Case:
    """Something that happens to a user.

    old, new: the template's files in both versions
    mine: what the user commits; or edit, what the user does
    is_kept: whether the user's work is still there
    is_sound: whether the result is usable, where it is more than lines
    arrives: text of the new version that has to come, or to be shown; "" where none has to
    prefix: the project's folder in its repository
    answer: a new answer to the question `name`
    why_not: why cruft has no such case
    other: old and new files of a second template on the same project
    """

    title: str
    old: Files
    new: Files
    mine: Files = field(default_factory=dict)
    edit: Edit | None = None
    is_kept: Callable[[Project], bool] = has_mine
    is_sound: Callable[[Project], bool] = lambda _project: True
    arrives: str = THEIRS
    prefix: str = ""
    answer: str = ""
    why_not: str = ""
    other: Mapping[str, Files] = field(default_factory=dict)

    def play(self, project: Project) -> None:
        """What the user does."""
        if self.edit:
            self.edit(project)
        else:
            project.commit(self.mine)


def _replaced(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def _delete(project: Project) -> None:
    project.commit({}, "a.txt")


def _rename(project: Project) -> None:
    git(project.root, "mv", "a.txt", "mine.txt")
    project.commit({"mine.txt": LINES + MINE})


def _ignore(project: Project) -> None:
    project.commit({".gitignore": "notes.txt\n"})
    write(project.root, {"notes.txt": MINE})


def _into_program(project: Project) -> None:
    (project.root / "run.sh").chmod(0o755)
    project.commit({})


def _into_link(project: Project) -> None:
    project.commit({"mine/settings.txt": MINE}, "settings.txt")
    (project.root / "settings.txt").symlink_to("mine/settings.txt")
    project.commit({})


def _with_strict_whitespace(project: Project) -> None:
    git(project.root, "config", "apply.whitespace", "error")
    project.commit({"a.txt": LINES + "trailing blanks   \n" + MINE})


def _stage(project: Project) -> None:
    write(project.root, {"a.txt": LINES + MINE})
    git(project.root, "add", "a.txt")


def _around(project: Project) -> None:
    write(project.top, {"a.txt": "of the whole repository\n" + MINE})
    project.commit({"a.txt": LINES + MINE})


def _two(project: Project) -> None:
    project.commit({"a.txt": LINES + MINE, "b.txt": LINES + "MINE too\n"})


def _parses(project: Project) -> bool:
    try:
        tomllib.loads(project.read("pyproject.toml").decode())
    except tomllib.TOMLDecodeError:
        return False
    return True


def _is_link(project: Project) -> bool:
    return (project.root / "settings.txt").is_symlink() and has_mine(project)


A, TOP = {"a.txt": LINES}, {"a.txt": THEIRS + LINES}
BINARY = bytes(range(256)) * 20
LATIN = "".join(f"Größe {number}\n" for number in range(12)).encode("latin-1")
CRLF = LINES.replace("\n", "\r\n")
TOML = '[project]\nname = "demo"\n' + "".join(f"\n[tool.t{n}]\nx = {n}\n" for n in range(6))
RUFF = "\n[tool.ruff]\n"


CASES = (
    Case("Both change the same line", A, {"a.txt": LINES.replace("line 5", "THEIRS")},
         {"a.txt": LINES.replace("line 5", "MINE")}),
    Case("Both change lines next to each other", A, {"a.txt": LINES.replace("line 5", "THEIRS")},
         {"a.txt": LINES.replace("line 6", "MINE")}),
    Case("Both change one file, far apart", A, TOP, {"a.txt": LINES + MINE}),
    Case("Three edits in a file, the middle one where the template changes", {"a.py": CODE},
         {"a.py": CODE.replace("return 3", "return 'THEIRS'")},
         {"a.py": "FIRST = 'MINE 1'\n" + CODE.replace("return 3", "return 'MINE 2'")
          + "LAST = 'MINE 3'\n"},
         is_kept=lambda p: all(p.holds(f"MINE {n}") for n in (1, 2, 3))),
    Case("The template adds a file where the user has one, committed", A,
         {**A, "notes.txt": THEIRS}, {"notes.txt": MINE}),
    Case("The same, untracked", A, {**A, "notes.txt": THEIRS},
         edit=lambda p: write(p.root, {"notes.txt": MINE})),
    Case("The same, ignored by git", A, {**A, "notes.txt": THEIRS}, edit=_ignore),
    Case("The template changes a file that git ignores and the user edited",
         {"local.txt": LINES, ".gitignore": "local.txt\n"},
         {"local.txt": THEIRS + LINES, ".gitignore": "local.txt\n"},
         edit=lambda p: write(p.root, {"local.txt": LINES + MINE})),
    Case("The template deletes a file that the user edited", {**A, "b.txt": MORE}, {"b.txt": MORE},
         {"a.txt": LINES + MINE}, arrives=""),
    Case("The template renames a file that the user edited", A, {"b.txt": THEIRS + LINES},
         {"a.txt": LINES + MINE}),
    Case("The template moves a folder in which the user edited a file and has one of his own",
         {"old/a.txt": LINES, "old/b.txt": MORE}, {"new/a.txt": THEIRS + LINES, "new/b.txt": MORE},
         {"old/a.txt": LINES + MINE, "old/mine.txt": "MINE alone\n"},
         is_kept=lambda p: p.holds("line 11\nMINE") and p.holds("MINE alone")),
    Case("The user deleted a file that the template changes", A, TOP, edit=_delete,
         is_kept=lambda p: not p.read("a.txt") or p.is_conflict_shown(), arrives=""),
    Case("The user renamed and edited a file that the template changes", A, TOP, edit=_rename,
         is_kept=lambda p: p.holds(MINE) and (not p.read("a.txt") or p.is_conflict_shown())),
    Case("A binary file that both changed", {"logo.png": BINARY}, {"logo.png": BINARY + b"THEIRS"},
         {"logo.png": b"MINE" + BINARY}),
    Case("A file that the user saved with CRLF line ends", A, TOP,
         {"a.txt": CRLF + "MINE\r\n"}),
    Case("A file in Latin-1", {"a.txt": LATIN}, {"a.txt": b"THEIRS\n" + LATIN},
         {"a.txt": LATIN + b"MINE \xe4\n"}, is_kept=lambda p: p.holds(b"MINE \xe4")),
    Case("A file name with blanks and umlauts", {"ä und ö.txt": LINES},
         {"ä und ö.txt": THEIRS + LINES}, {"ä und ö.txt": LINES + MINE}),
    Case("The user made a file executable that the template changes", {"run.sh": LINES},
         {"run.sh": THEIRS + LINES}, edit=_into_program,
         is_kept=lambda p: os.access(p.root / "run.sh", os.X_OK)),
    Case("The user put a link in place of a file that the template changes",
         {"settings.txt": LINES}, {"settings.txt": THEIRS + LINES}, edit=_into_link,
         is_kept=_is_link),
    Case("A file that the user edited becomes a folder", {"a.txt": LINES, "b.txt": MORE},
         {"a.txt/part.txt": THEIRS + LINES, "b.txt": MORE}, {"a.txt": LINES + MINE}),
    Case("A folder with the user's own file in it becomes a file",
         {"a.txt/part.txt": LINES, "b.txt": MORE}, {"a.txt": THEIRS, "b.txt": MORE},
         {"a.txt/mine.txt": MINE}),
    Case("A new answer renames the folder that the user works in",
         {"{{ name }}/a.txt": LINES}, {"{{ name }}/a.txt": THEIRS + LINES},
         {"demo/a.txt": LINES + MINE, "demo/mine.txt": "MINE alone\n"}, answer="other",
         is_kept=lambda p: p.holds("line 11\nMINE") and p.holds("MINE alone")),
    Case("The file to change has an edit that is not committed", A, TOP,
         edit=lambda p: write(p.root, {"a.txt": LINES + MINE})),
    Case("The same, staged", A, TOP, edit=_stage),
    Case("Another file has an edit that is not committed", {**A, "b.txt": MORE},
         {**TOP, "b.txt": MORE}, edit=lambda p: write(p.root, {"b.txt": MORE + MINE})),
    Case("git is set to apply.whitespace=error", A, TOP, edit=_with_strict_whitespace),
    Case("Two templates on one project, each with an answers file", A, TOP, edit=_two,
         other={"old": {"b.txt": LINES}, "new": {"b.txt": "THEIRS too\n" + LINES}},
         is_kept=lambda p: p.holds("line 11\nMINE\n") and p.holds("MINE too"),
         why_not="a project has one template"),
    Case("The project is a folder of a larger repository", A, TOP, edit=_around,
         prefix="services/", is_kept=lambda p: MINE.encode() in p.read("a.txt")
         and p.files()["a.txt"] == b"file of the whole repository\nMINE\n"),
    Case("Both add the same TOML table in different places", {"pyproject.toml": TOML},
         {"pyproject.toml": _replaced(TOML, ("\n[tool.t0]", f"{RUFF}THEIRS = 1\n\n[tool.t0]"))},
         {"pyproject.toml": f"{TOML}{RUFF}MINE = 1\n"}, is_sound=_parses),
)  # fmt: skip

# The file of a killed update: many, so that there is a middle to be killed in.
MANY = {f"part{number}/a{number}.txt": f"{number}\n" + LINES for number in range(60)}
MANY_NEW = {
    **{name: THEIRS + str(content) for name, content in MANY.items()},
    **{f"new{number}/a.txt": THEIRS for number in range(20)},
}
MANY_MINE = {name: str(content) + MINE for name, content in list(MANY.items())[:30]}
KILLED = "Killed (SIGKILL) at a moment of the run, then run once more"
