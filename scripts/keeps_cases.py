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
    config: lines of copier.yml in both versions; a program in them is trusted
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
    config: tuple[str, str] = ("", "")

    @property
    def has_programs(self) -> bool:
        return "_tasks" in self.config[1] or "_migrations" in self.config[1]

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


def _hide(project: Project) -> None:
    write(project.root, {"conf/local.env": LINES + MINE})


def _hide_own(project: Project) -> None:
    write(project.root, {"own.env": MINE})


def _is_private(project: Project) -> bool:
    """Whether the user's lines are there, and in no file that `git add` would take."""
    listed = git(project.root, "ls-files", "-z", "-c", "-o", "--exclude-standard").split(b"\0")
    known = (project.read(os.fsdecode(name)) for name in listed if name)
    return has_mine(project) and not any(MINE.encode() in content for content in known)


def _annotate(project: Project) -> None:
    text = project.read(".copier-answers.yml").decode()
    project.commit({".copier-answers.yml": f"# MINE above\n{text}owner: MINE\n"})


def _leave_out(project: Project) -> None:
    project.commit({"docs/a.txt": LINES + MINE})
    git(project.root, "sparse-checkout", "set", "--no-cone", "/*", "!/docs")


def _is_in_index(project: Project) -> bool:
    return MINE.encode() in git(project.root, "show", ":docs/a.txt", codes=None)


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


def _migration(command: str) -> str:
    return f"_migrations: [{{version: v2.0.0, before: ['{command}']}}]\n"


NO_PROGRAMS = "it has no such programs"
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
    Case("A file that git ignores, with the user's lines, is renamed by the template",
         {"conf/local.env": LINES, ".gitignore": "conf/local.env\n"},
         {"config/local.env": THEIRS + LINES, ".gitignore": "conf/local.env\n"},
         edit=_hide, is_kept=_is_private),
    Case("The template's .gitignore lets go of a file of the user's",
         {**A, ".gitignore": "*.env\n"}, {**TOP, ".gitignore": "# nothing\n"}, edit=_hide_own,
         is_kept=_is_private),
    Case("The user wrote a key and a comment into the answers file", A, TOP, edit=_annotate,
         is_kept=lambda p: p.holds("# MINE above") and p.holds("owner: MINE"),
         why_not="its file is for programs"),
    Case("The new version takes a file that the user edited out of _skip_if_exists", A, TOP,
         {"a.txt": LINES + MINE}, config=("_skip_if_exists: [a.txt]\n", ""),
         why_not="it has no such list"),
    Case("A sparse checkout leaves out the file to change", {"docs/a.txt": LINES, **A},
         {"docs/a.txt": THEIRS + LINES, **A}, edit=_leave_out, is_kept=_is_in_index),
    Case("A migration moves a file that the user edited and the template changes", A,
         {"b.txt": THEIRS + LINES}, {"a.txt": LINES + MINE},
         config=("", _migration("mv a.txt b.txt")),
         is_sound=lambda p: has_mine(p) and not p.read("a.txt"), why_not=NO_PROGRAMS),
    Case("A migration removes and stages, and then a file is in the way",
         {**A, "b.txt": MORE}, {**A, "b.txt": MORE, "notes.txt": THEIRS},
         edit=lambda p: write(p.root, {"notes.txt": MINE}),
         config=("", _migration("git rm -q b.txt")),
         is_kept=lambda p: has_mine(p) and p.holds("other 11"), why_not=NO_PROGRAMS),
    Case("A task changes a file and then fails", A, TOP, {"a.txt": LINES + MINE},
         config=("", "_tasks: ['echo half >> a.txt; exit 3']\n"),
         is_sound=lambda p: not p.holds("half"), why_not=NO_PROGRAMS),
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
