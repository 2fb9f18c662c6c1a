from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from projects import project, template
from repositories import Files, commit, git, tree, write

from mlscaffold.cli import cli

FILES: Files = {
    "copier.yml": "",
    "a.txt": "one\ntwo\n",
    "b.py": "x = 1\n",
    "c.md": "read\n",
    ".mlscaffold.toml": '[ownership]\nmanaged = ["/a.txt"]\nseeded = ["/b.py"]\n'
    '[[waiver]]\npath = "a.txt"\nreason = "labels"\nuntil = 2999-01-31\n',
}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return project(template(tmp_path / "t", FILES), tmp_path / "p")


@pytest.fixture
def edited(made: Path) -> Path:
    return write(made, {"a.txt": "one\n2\n", "b.py": "x = 2\n", "c.md": "", "mine": ""})


def diff(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["diff", str(folder), *arguments])


def test_diff_of_an_untouched_project_is_empty(made: Path) -> None:
    done = diff(made)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "No difference from template v1.\n"


def test_diff_is_gits_below_a_heading_for_each_kind(edited: Path) -> None:
    done = diff(edited)
    assert done.exit_code == 1
    assert [line for line in done.stdout.splitlines() if not line.startswith("index ")] == [
        "managed: 1 file not as in template v1",
        "diff --git a/a.txt b/a.txt",
        "--- a/a.txt",
        "+++ b/a.txt",
        "@@ -1,2 +1,2 @@",
        " one",
        "-two",
        "+2",
        "",
        "seeded: 1 file not as in template v1",
        "diff --git a/b.py b/b.py",
        "--- a/b.py",
        "+++ b/b.py",
        "@@ -1 +1 @@",
        "-x = 1",
        "+x = 2",
        "",
        "shared: 1 file not as in template v1",
        "diff --git a/c.md b/c.md",
        "--- a/c.md",
        "+++ b/c.md",
        "@@ -1 +0,0 @@",
        "-read",
    ]


def test_diff_can_be_taken_back_by_git(edited: Path) -> None:
    (edited / "a.txt").chmod(0o755)
    (edited / "b.py").unlink()
    patch = diff(edited).stdout
    subprocess.run(["git", "apply", "-R"], cwd=edited, input=patch, text=True, check=True)
    assert diff(edited).exit_code == 0
    assert "mine" in tree(edited)


def test_diff_of_a_project_in_a_folder_can_be_taken_back_there(tmp_path: Path) -> None:
    commit(tmp_path / "mono", {"other": ""})
    folder = project(template(tmp_path / "t", FILES), tmp_path / "mono" / "apps" / "p")
    write(folder, {"a.txt": "one\n2\n"})
    patch = diff(folder).stdout
    subprocess.run(["git", "apply", "-R"], cwd=folder, input=patch, text=True, check=True)
    assert diff(folder).exit_code == 0


def test_diff_of_one_kind(edited: Path) -> None:
    done = diff(edited, "--kind", "seeded", "--name-only")
    assert (done.exit_code, done.stdout) == (1, "b.py\n")
    git(edited, "checkout", "-q", "b.py")
    assert diff(edited, "--kind", "seeded").exit_code == 0


def test_diff_name_only_is_for_programs(edited: Path) -> None:
    assert diff(edited, "--name-only").stdout == "a.txt\nb.py\nc.md\n"


def test_diff_stat_counts_lines(edited: Path) -> None:
    done = diff(edited, "--stat")
    assert done.exit_code == 1
    assert done.stdout.startswith("managed: 1 file not as in template v1\n a.txt | 2 +-\n")


def test_diff_as_json(edited: Path) -> None:
    done = diff(edited, "--format", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    (one,) = found["templates"]
    assert (one["answers_file"], one["version"]) == (".copier-answers.yml", "v1")
    waiver = {"path": "a.txt", "reason": "labels", "until": "2999-01-31"}
    assert one["differences"][0] == {
        "path": "a.txt", "kind": "managed", "change": "edited", "added": 1, "removed": 1,
        "waiver": waiver, "is_waived": True, "is_drift": False,
    }  # fmt: skip


def test_diff_prints_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.txt")
    folder = project(template(tmp_path / "t", {"copier.yml": "", name: "1"}), tmp_path / "p")
    (folder / name).unlink()
    assert json.loads(diff(folder, "--format", "json").stdout)["templates"][0]["differences"]
    assert diff(folder).exit_code == 1


def test_diff_of_every_answers_file_or_of_one(edited: Path, tmp_path: Path) -> None:
    answers = "_answers_file: .copier-answers.two.yml\n"
    other = template(tmp_path / "u", {"copier.yml": answers, "d.txt": "1"})
    project(other, edited)
    write(edited, {"d.txt": "2"})
    assert diff(edited, "--name-only").stdout == "d.txt\na.txt\nb.py\nc.md\n"
    only = diff(edited, "--name-only", "--answers-file", ".copier-answers.two.yml")
    assert only.stdout == "d.txt\n"


def test_diff_of_a_template_that_runs_code_needs_trust(tmp_path: Path) -> None:
    files = {"copier.yml": "_jinja_extensions: [jinja2.ext.do]\n", "a": "1"}
    folder = project(template(tmp_path / "t", files), tmp_path / "p")
    assert diff(folder).exit_code == 2
    assert diff(folder, "--trust").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--stat", "--name-only"), "exclude each other"),
        (("--kind", "mine"), "'mine' is not one of"),
        (("--answers-file", "no.yml"), "there is no such file"),
    ],
)
def test_diff_that_cannot_tell_says_why(made: Path, arguments: tuple[str, ...], words: str) -> None:
    done = diff(made, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


def test_diff_of_a_broken_ownership_file_cannot_tell(made: Path) -> None:
    write(made, {".mlscaffold.toml": "[owner]\n"})
    done = diff(made)
    assert done.exit_code == 2
    assert "Did you mean ownership" in done.stderr


def on_a_terminal(folder: Path, *arguments: str, **variables: str) -> str:
    """What a person sees."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mlscaffold", "diff", str(folder), *arguments]
    env = {**os.environ, "TERM": "xterm", **variables}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as program:
        os.close(theirs)
        shown = b""
        while True:
            try:
                more = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            shown += more
    os.close(ours)
    assert program.returncode == 1
    return shown.decode().replace("\r\n", "\n")


def test_diff_is_coloured_and_paged_on_a_terminal(edited: Path) -> None:
    shown = on_a_terminal(edited, GIT_PAGER="sed s/^/PAGED/")
    assert "PAGED\x1b[1mmanaged: 1 file not as in template v1" in shown
    assert "PAGED\x1b[31m-two" in shown


def test_diff_follows_the_users_settings_for_colour_and_pager(edited: Path) -> None:
    git(edited, "config", "--global", "color.diff", "false")
    git(edited, "config", "--global", "core.pager", "sed s/^/CORE/")
    shown = on_a_terminal(edited)
    assert "CORE-two" in shown
    git(edited, "config", "--global", "pager.diff", "sed s/^/DIFF/")
    assert "DIFF-two" in on_a_terminal(edited)
    git(edited, "config", "--global", "pager.diff", "false")
    assert "\n-two" in on_a_terminal(edited)


def test_diff_runs_no_pager_that_the_project_names(edited: Path) -> None:
    git(edited, "config", "--global", "core.pager", "sed s/^/MINE/")
    for setting in ("core.pager", "pager.diff"):
        git(edited, "config", setting, "sed s/^/THEIRS/")
    shown = on_a_terminal(edited)
    assert "MINE" in shown
    assert "THEIRS" not in shown


def test_the_pager_has_the_users_letters(edited: Path) -> None:
    pager = 'sh -c "echo in $LC_ALL; cat"'
    assert "in C.UTF-8\n" in on_a_terminal(edited, GIT_PAGER=pager, LC_ALL="C.UTF-8")


def test_diff_without_colour_where_nobody_wants_it(edited: Path) -> None:
    assert "\x1b" not in on_a_terminal(edited, NO_COLOR="1", GIT_PAGER="cat")
