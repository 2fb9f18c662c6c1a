"""Programs of a template in an update: it is wholly there or not at all with them too."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from projects import LONG, edit, has_journal, project, template
from repositories import Files, git, tree, write

from mlscaffold import answers
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import snapshot, update
from mlscaffold.merge.update import Aborted, Request

OLD: Files = {
    "copier.yml": "",
    "a": LONG,
    "gone": LONG + "g",
    "moved": LONG + "m",
    "style": "x=1\n",
}
NEW: Files = {"a": "top\n" + LONG, "new": "n\n"}
STAGING = [
    "git mv moved there && git rm -q gone",
    "mv moved there; rm gone",
    "git add -A",
    "sed -i s/x=1/x=2/ style && git add style",
    "git rm -q --cached style",
    "echo made > made && git add made",
    "sed -i s/1/one/ mine scratch 2>/dev/null; true",
    "rm -rf sub && echo file > sub",
]
STASH = "git update-index --chmod=+x a; git stash -q -u || true"


def config(**stages: str) -> str:
    """Return a copier.yml with one program for each of the stages before, after and task."""
    text = "_migrations:\n" if stages.keys() & {"before", "after"} else ""
    for stage in ("before", "after"):
        if stage in stages:
            when = f'{{{{ _stage == "{stage}" }}}}'
            text += f"  - version: v2\n    when: {json.dumps(when)}\n"
            text += f"    command: {json.dumps(stages[stage])}\n"
    return text + (f"_tasks: [{json.dumps(stages['task'])}]\n" if "task" in stages else "")


def made(tmp_path: Path, new: Files | None = None, **stages: str) -> Path:
    """Return a project with edits, one version behind; the new one has programs."""
    template(tmp_path / "t", OLD, {**NEW, **(new or {}), "copier.yml": config(**stages)})
    folder = project(tmp_path / "t", tmp_path / "p")
    edit(folder, {"gone": LONG + "g\nmine\n", "moved": LONG + "m\nmine\n", "sub/x": "1\n"})
    edit(folder, {"mine": "1\n"})
    return folder


def dirty(folder: Path) -> None:
    """Leave work that is not committed: staged, edited, deleted, to be added, untracked."""
    write(folder, {"staged": "s\n", "meant": "m\n", "scratch": "1\n", "mine": "1\nedited\n"})
    git(folder, "add", "staged")
    git(folder, "add", "--intent-to-add", "meant")
    (folder / "sub" / "x").unlink()


def whole(folder: Path) -> tuple[Any, ...]:
    """Return all that has to be as before: files with modes, index with flags, HEAD and refs."""
    modes = {path: (folder / path).lstat().st_mode for path in tree(folder)}
    index = git(folder, "ls-files", "-v", "--stage")
    flags = re.findall(r"flags: (\w+)", git(folder, "ls-files", "--debug"))
    head = (folder / ".git" / "HEAD").read_text(), git(folder, "rev-parse", "HEAD")
    status = git(folder, "status", "--porcelain=v2")
    return tree(folder), modes, index, flags, head, status


def run(folder: Path, **options: Any) -> update.Outcome:
    return update.run(Request(folder, trusts=lambda _: True, **options))


@pytest.mark.parametrize("program", [*STAGING, STASH])
def test_abort_takes_back_what_migrations_do(tmp_path: Path, program: str) -> None:
    folder = made(tmp_path, before=program)
    write(folder, {"scratch": "1\n"})
    before = whole(folder)
    run(folder)
    assert update.abort(folder) == Aborted()
    assert whole(folder) == before


@pytest.mark.parametrize("program", [*STAGING, STASH])
def test_abort_takes_back_what_tasks_do_to_work_that_is_not_committed(
    tmp_path: Path, program: str
) -> None:
    folder = made(tmp_path, task=program)
    dirty(folder)
    before = whole(folder)
    run(folder)
    assert update.abort(folder) == Aborted()
    assert whole(folder) == before


@pytest.mark.parametrize("program", STAGING)
def test_a_refused_update_leaves_nothing_of_its_migrations(tmp_path: Path, program: str) -> None:
    folder = made(tmp_path, before=program)
    write(folder, {"new": "in the way\n", "scratch": "1\n"})
    before = whole(folder)
    with pytest.raises(MlscaffoldError, match=r"in the way of the template: new\."):
        run(folder)
    assert whole(folder) == before
    assert not has_journal(folder)


@pytest.mark.parametrize("stage", ["after", "task"])
@pytest.mark.parametrize(
    "program",
    [
        *STAGING[:4],
        "git commit -qam theirs --allow-empty",
        "git checkout -q -b other && git commit -qam theirs",
        "git checkout -q --detach",
    ],
)
def test_a_failing_program_leaves_nothing(tmp_path: Path, program: str, stage: str) -> None:
    folder = made(tmp_path, **{stage: f"{program} && exit 3"})
    dirty(folder)
    before = whole(folder)
    with pytest.raises(MlscaffoldError, match=r"exit status 3\. The update was taken back\."):
        run(folder)
    assert whole(folder) == before
    assert not has_journal(folder)


@pytest.mark.parametrize("ending", ["true", "exit 3"])
def test_nothing_behind_a_link_that_a_program_made_is_touched(tmp_path: Path, ending: str) -> None:
    outside = tmp_path / "outside"
    write(outside, {"x": "of somebody else\n", "y": "too\n"})
    folder = made(tmp_path, task=f"rm -rf sub && ln -s {outside} sub; {ending}")
    before = whole(folder)
    if ending == "true":
        run(folder)
        assert update.abort(folder) == Aborted()
    else:
        with pytest.raises(MlscaffoldError, match="was taken back"):
            run(folder)
    assert whole(folder) == before
    assert tree(outside) == {"x": b"of somebody else\n", "y": b"too\n"}


def test_permissions_come_back_too(tmp_path: Path) -> None:
    folder = made(tmp_path, task="rm mine gone; chmod 755 style")
    for path, mode in (("mine", 0o600), ("gone", 0o640), ("style", 0o666), ("sub/x", 0o444)):
        (folder / path).chmod(mode)
    before = whole(folder)
    run(folder)
    assert update.abort(folder) == Aborted()
    assert whole(folder) == before


def test_a_migration_that_moves_a_file_takes_the_users_lines_along(tmp_path: Path) -> None:
    new = {"there": "top\n" + LONG + "m"}
    template(tmp_path / "t", OLD, {**new, "copier.yml": config(before="mv moved there")},
             v2=("moved",))  # fmt: skip
    folder = project(tmp_path / "t", tmp_path / "p")
    edit(folder, {"moved": LONG + "mine\n"})
    outcome = run(folder)
    assert outcome.programs == {"moved": "removed", "there": "created"}
    files = tree(folder)
    assert "moved" not in files
    assert files["there"].startswith(b"top\nline 0\n")
    assert b"mine" in files["there"]


def test_what_programs_did_is_told(tmp_path: Path) -> None:
    folder = made(tmp_path, before="git rm -q gone; echo m > made", task="sed -i s/1/one/ mine")
    write(folder, {"mine": "1\n"})
    outcome = run(folder)
    assert outcome.programs == {"gone": "removed", "made": "created", "mine": "changed"}
    assert outcome.not_committed == ()


def test_programs_that_change_what_is_not_committed_are_told_of(tmp_path: Path) -> None:
    folder = made(tmp_path, task="sed -i s/1/one/ mine scratch")
    dirty(folder)
    assert run(folder).not_committed == ("mine", "scratch")


def test_a_task_that_stages_all_resolves_no_conflict(tmp_path: Path) -> None:
    folder = made(tmp_path, {"style": "x=3\n"}, task="git add -A")
    edit(folder, {"style": "x=4\n"})
    assert run(folder).needs_look
    assert git(folder, "ls-files", "--unmerged", "style").count("\n") == 2
    assert git(folder, "diff", "--cached", "--name-only", "--diff-filter=AMD") == ""


def test_what_cannot_come_back_is_said_before_anything_runs(tmp_path: Path) -> None:
    folder = made(tmp_path, before="test ! -e ran && touch ran")
    edit(folder, {".gitignore": "*.env\nvenv/\n"})
    write(folder, {"x.env": "", "venv/x": ""})
    told: list[str] = []

    def say(text: str) -> None:
        assert not (folder / "ran").exists()
        told.append(text)

    run(folder, say=say)
    assert [f"files that git ignores (venv/, x.env) or outside of {folder}" in told[0]] == [True]


def test_a_file_too_large_to_copy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_LARGEST", 10)
    folder = made(tmp_path, task="true")
    write(folder, {"big": "x" * 11})
    told: list[str] = []
    run(folder, say=told.append)
    assert "too large to copy (big)" in told[0]


def test_without_programs_nothing_is_said(tmp_path: Path) -> None:
    folder = made(tmp_path, task="touch ran")
    told: list[str] = []
    run(folder, say=told.append, skip_tasks=True)
    assert told == []
    edit(folder, {})
    run(folder, say=told.append, to="current")
    assert told == []
    assert not (folder / "ran").exists()


def test_an_earlier_update_can_still_be_taken_back_after_a_refused_one(tmp_path: Path) -> None:
    template(tmp_path / "t", OLD, NEW, {"copier.yml": config(task="exit 3"), "late": "3\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    before = whole(folder)
    run(folder, to="v2")
    edit_answers = (folder / ".copier-answers.yml").read_text()
    git(folder, "stash", "-q", "--", ".copier-answers.yml")
    (folder / ".copier-answers.yml").write_text(edit_answers)
    after_v2 = whole(folder)
    with pytest.raises(MlscaffoldError, match=r"exit status 3|Not committed"):
        run(folder, to="v3")
    assert whole(folder) == after_v2
    assert update.abort(folder) == Aborted()
    assert whole(folder) == before


def test_killed_while_a_program_runs_abort_goes_back(tmp_path: Path) -> None:
    folder = made(tmp_path, task="git mv moved there; echo theirs >> mine; kill -9 $PPID; sleep 1")
    dirty(folder)
    before = whole(folder)
    command = [sys.executable, "-m", "mlscaffold", "update", str(folder), "--trust"]
    killed = subprocess.run(command, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "interrupted while programs" in again.stderr
    assert again.stderr.rstrip().endswith("mlscaffold update --abort")
    told = subprocess.run([*command[:3], "status", str(folder)], capture_output=True, text=True)
    assert (told.returncode, "interrupted while programs" in told.stdout) == (1, True)
    back = subprocess.run([*command[:-1], "--abort"], capture_output=True, text=True)
    assert back.returncode == 0, back.stderr
    assert whole(folder) == before
    assert "mine" in back.stderr
    kept = folder / ".git" / "mlscaffold" / "kept"
    assert (kept / "mine").read_bytes() == b"1\nedited\ntheirs\n"
    assert run(folder, skip_tasks=True).plans[0].names == ("v1", "v2")


def test_killed_while_a_program_ran_and_then_committed_it_is_the_users(tmp_path: Path) -> None:
    folder = made(tmp_path, task="kill -9 $PPID; sleep 1")
    command = [sys.executable, "-m", "mlscaffold", "update", str(folder), "--trust"]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    edit(folder, {"mine": "went on\n"})
    assert run(folder, skip_tasks=True).is_empty
    assert tree(folder)["mine"] == b"went on\n"


def test_a_program_that_changes_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    always = """_migrations: [{command: 'true', when: "{{ _stage == 'before' }}"}]\n"""
    template(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, {"copier.yml": always, "a": "2\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    run(folder)
    edit(folder, {})
    assert run(folder).is_empty
    assert run(folder).is_empty
    assert not (folder / ".git" / "mlscaffold" / "snapshot").exists()


# Several projects in a repository, several templates in a project


def two_projects(tmp_path: Path) -> Path:
    template(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, {"a": "2\n", "b": "2\n"})
    top = tmp_path / "mono"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    for name in ("one", "two"):
        project(tmp_path / "t", top / name)
    return top


@pytest.mark.parametrize("first", ["one", "two"])
def test_abort_takes_back_the_project_that_it_names(tmp_path: Path, first: str) -> None:
    top = two_projects(tmp_path)
    other = "two" if first == "one" else "one"
    for name in ("one", "two"):
        update.run(Request(top / name))
    assert update.abort(top / first) == Aborted()
    assert tree(top / first)["a"] == b"1\n"
    assert tree(top / other)["a"] == b"2\n"
    with pytest.raises(MlscaffoldError, match=f"no update of .*{first}.* other projects.*{other}"):
        update.abort(top / first)
    with pytest.raises(MlscaffoldError, match=rf"other projects here: {other}\."):
        update.abort(top)
    (top / other / "inner").mkdir()
    assert update.abort(top / other / "inner") == Aborted()
    assert git(top, "status", "--porcelain") == ""


def test_abort_in_a_project_within_another_is_not_of_the_other(tmp_path: Path) -> None:
    template(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, {"a": "2\n"})
    top = project(tmp_path / "t", tmp_path / "top")
    project(tmp_path / "t", top / "inner")
    update.run(Request(top))
    with pytest.raises(MlscaffoldError, match=r"no update of .*inner/? .*other projects here: \."):
        update.abort(top / "inner")
    assert update.abort(top) == Aborted()


def two_templates(tmp_path: Path) -> Path:
    for name in ("x", "y"):
        old = {"copier.yml": f"_answers_file: .copier-answers.{name}.yml\n", name: "1\n"}
        template(tmp_path / name, old, {name: "2\n"})
        project(tmp_path / name, tmp_path / "p")
    return tmp_path / "p"


def test_abort_takes_back_the_answers_file_that_it_names(tmp_path: Path) -> None:
    folder = two_templates(tmp_path)
    files = [found.file for found in answers.find(folder)]
    for file in files:
        update.run(Request(folder, file))
    assert update.abort(folder, files[0]) == Aborted()
    assert (tree(folder)["x"], tree(folder)["y"]) == (b"1\n", b"2\n")
    with pytest.raises(MlscaffoldError, match=f"no update of {files[0]}"):
        update.abort(folder, files[0])
    assert update.abort(folder) == Aborted()
    assert git(folder, "status", "--porcelain") == ""


def test_one_of_two_that_were_updated_together_is_not_taken_back_alone(tmp_path: Path) -> None:
    folder = two_templates(tmp_path)
    update.run(Request(folder))
    with pytest.raises(MlscaffoldError, match=r"together.*leave out --answers-file"):
        update.abort(folder, ".copier-answers.x.yml")
    assert update.abort(folder) == Aborted()
    assert git(folder, "status", "--porcelain") == ""


@pytest.mark.skipif(os.name == "nt", reason="a program of the test is a shell's")
def test_programs_of_one_project_leave_the_other_alone(tmp_path: Path) -> None:
    tasks = {"copier.yml": config(task="git add -A ."), "a": "2\n"}
    template(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, tasks)
    top = tmp_path / "mono"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    for name in ("one", "two"):
        project(tmp_path / "t", top / name)
    before = whole(top)
    run(top / "one")
    one = whole(top)
    run(top / "two")
    assert update.abort(top / "two") == Aborted()
    assert whole(top) == one
    assert update.abort(top / "one") == Aborted()
    assert whole(top) == before
