from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import copier
import pytest
import yaml
from click.testing import CliRunner, Result
from projects import LONG, edit, project, state, template
from repositories import commit, git, tree, write

from mlscaffold import environment
from mlscaffold.cli import cli
from mlscaffold.environment import StepError

CONFIG = {"copier.yml": "name:\n  type: str\n  default: ann\n"}
NEW_QUESTION = {"copier.yml": CONFIG["copier.yml"] + "size:\n  type: int\n  default: 3\n"}


def update(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["update", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with an edit, one version behind."""
    new = {**NEW_QUESTION, "a": "top\n" + LONG, "b/c": LONG, "n.jinja": "{{ size }}"}
    template(tmp_path / "t", {**CONFIG, "a": LONG, "b": LONG, "same": ""}, {}, v2=("b",))
    git(tmp_path / "t", "tag", "-d", "v2")
    commit(tmp_path / "t", new, tag="v2")
    made = project(tmp_path / "t", tmp_path / "p")
    edit(made, {"a": LONG + "mine\n", "b": LONG + "mine\n"})
    return made


def test_update_merges_and_says_what_it_did(folder: Path) -> None:
    done = update(folder)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "template v1 → v2",
        "  created   n",
        "  updated   .copier-answers.yml",
        "  merged    a",
        "  moved     b → b/c   (with your edits)",
        "  answered  size: 3, the default of a new question",
        "To go back:  mlscaffold update --abort",
    ]
    assert tree(folder)["a"].decode() == "top\n" + LONG + "mine\n"


def test_what_a_template_says_after_an_update_is_told_once(tmp_path: Path) -> None:
    says = {"copier.yml": CONFIG["copier.yml"] + "_message_after_update: Thank you, {{ name }}\n"}
    template(tmp_path / "t", CONFIG, says)
    made = project(tmp_path / "t", tmp_path / "p")
    assert "Thank you, ann\n" in update(made, "--defaults").stderr
    git(made, "commit", "-q", "-a", "-m", "Update")
    assert "Thank you" not in update(made, "--defaults").output


def test_a_second_update_changes_nothing(folder: Path) -> None:
    assert update(folder).exit_code == 0
    before = tree(folder)
    again = update(folder)
    assert (again.exit_code, tree(folder)) == (0, before)
    assert again.stdout == "The project is on template v2; there is nothing to do.\n"


def test_conflicts_and_kept_files_are_exit_code_1(folder: Path) -> None:
    commit(folder.parent / "t", {"a": "other\n"}, tag="v3")
    done = update(folder)
    assert done.exit_code == 1
    assert "  conflict  a  1 place" in done.stdout
    assert "Resolve it as after any git merge, then commit." in done.stdout
    again = update(folder)
    assert again.exit_code == 1
    assert "Still in conflict: a" in again.stderr


def test_an_update_over_the_open_conflicts_of_the_last_one_names_them(folder: Path) -> None:
    commit(folder.parent / "t", {"a": "other\n"}, tag="v3")
    update(folder)
    commit(folder.parent / "t", {"a": "another\n"}, tag="v4")
    before = tree(folder)
    refused = update(folder)
    assert (refused.exit_code, tree(folder)) == (2, before)
    assert "Still in conflict: a. Resolve it and commit, or take" in refused.stderr


def test_a_dry_run_prints_the_same_lines_and_writes_nothing(folder: Path) -> None:
    before = tree(folder)
    shown = update(folder, "--dry-run", "--diff")
    assert (shown.exit_code, tree(folder)) == (0, before)
    assert "+top" in shown.stdout
    assert "Nothing was written." in shown.stdout
    assert not (folder / ".git" / "mlscaffold").exists()
    assert update(folder).stdout.splitlines()[:6] == shown.stdout.splitlines()[:6]


def test_json_is_the_plan(folder: Path) -> None:
    found = json.loads(update(folder, "--format", "json").stdout)
    assert found["path"] == str(folder)
    assert (found["written"], found["needs_look"]) == (True, False)
    (one,) = found["updates"]
    assert (one["from"], one["to"], one["defaults"]) == ("v1", "v2", {"size": 3})
    assert {"path": "b/c", "kind": "move", "reason": "with your edits", "from": "b"} in (
        one["actions"]
    )


def test_abort_goes_back(folder: Path) -> None:
    before = tree(folder)
    update(folder)
    assert update(folder, "--abort").stdout == "The project is as it was before the update.\n"
    assert tree(folder) == before
    assert git(folder, "status", "--short") == ""
    again = update(folder, "--abort")
    assert (again.exit_code, "There is no update" in again.stderr) == (2, True)


def test_abort_names_what_was_edited_since(folder: Path) -> None:
    update(folder)
    write(folder, {"a": "edited\n"})
    done = update(folder, "--abort")
    assert done.exit_code == 2
    assert "edited since: a." in done.stderr


def test_a_branch_gets_the_commit_and_nothing_else_changes(folder: Path) -> None:
    before = tree(folder)
    done = update(folder, "--branch", "up")
    assert done.exit_code == 0, done.output
    assert "on branch up; nothing here was touched." in done.stdout
    assert tree(folder) == before
    assert git(folder, "show", "up:b/c").endswith("mine")
    assert update(folder, "--branch", "up").exit_code == 2


def test_conflicts_on_a_branch_are_told(folder: Path) -> None:
    commit(folder.parent / "t", {"a": "other\n"}, tag="v3")
    done = update(folder, "--branch", "up")
    assert done.exit_code == 1
    assert "The conflicts are in that commit" in done.stdout
    assert "<<<<<<< yours" in git(folder, "show", "up:a")


def test_answers_are_given_and_renames_follow(tmp_path: Path) -> None:
    template(tmp_path / "t", {**CONFIG, "{{ name }}/x.jinja": "{{ name }}\n" + LONG})
    folder = project(tmp_path / "t", tmp_path / "p")
    edit(folder, {"ann/x": "ann\n" + LONG + "mine\n"})
    write(tmp_path, {"answers.yml": "name: eve\n"})
    done = update(folder, "--to", "current", "--data-file", tmp_path / "answers.yml")
    assert done.exit_code == 0, done.output
    assert tree(folder)["eve/x"].decode() == "eve\n" + LONG + "mine\n"
    assert "ann/x" not in tree(folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "v9"], "Unknown ref 'v9'"),
        (["--data", "nome=x"], "Did you mean name"),
        (["--data", "name"], "has no '='"),
        (["--answers-file", "nope.yml"], "no such file"),
        (["--answers-file", "../x"], "name a file below"),
        (["--branch", "a..b"], "no branches of that name"),
        (["--branch", "main"], "a branch main already"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    folder: Path, arguments: list[str], words: str
) -> None:
    done = update(folder, *arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert git(folder, "status", "--short") == ""


def test_a_folder_that_is_no_project_is_one_line(tmp_path: Path) -> None:
    assert "no answers file" in update(tmp_path).stderr
    assert "is not a folder" in update(tmp_path / "nope").stderr


def test_a_credential_in_the_address_is_never_printed(folder: Path) -> None:
    secret = "hunter" + "2hunter2"
    file = folder / ".copier-answers.yml"
    address = f"https://me:{secret}@localhost/t.git"
    file.write_text(file.read_text().replace(str(folder.parent / "t"), address))
    done = update(folder)
    assert done.exit_code == 2
    assert "holds a credential" in done.stderr
    assert secret not in done.output


# Each is refused as an answer, and holds what nobody may see.
HIDDEN = "hunter" + "2hunter2"
CREDENTIALS = [
    f"postgresql://me:{HIDDEN}@host/shop#orders",
    f"postgresql://me:{HIDDEN}/and blanks@host/shop#orders",
    f"https://host/orders.csv?sig={HIDDEN}",
]
ADDRESS = "\naddress:\n  type: str\n  default: "


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A template whose first version asks for an address."""
    first = {"copier.yml": CONFIG["copier.yml"] + ADDRESS + "a.csv\n", "a.jinja": "{{ address }}\n"}
    return template(tmp_path / "t", first, {"new": "text\n"})


def assert_refused(folder: Path, *arguments: str) -> None:
    before = state(folder)
    done = update(folder, *arguments)
    assert done.exit_code == 2, done.output
    assert "address: the " in done.stderr
    assert "${NAME}" in done.stderr
    assert HIDDEN not in done.output
    assert state(folder) == before


@pytest.mark.parametrize("answer", CREDENTIALS)
def test_a_credential_in_a_new_answer_is_refused(source: Path, tmp_path: Path, answer: str) -> None:
    folder = project(source, tmp_path / "p")
    assert_refused(folder, "--data", f"address={answer}")
    assert_refused(folder, "--to", "current", "--data", f"address={answer}")
    file = write(tmp_path, {"answers.yml": json.dumps({"address": answer})}) / "answers.yml"
    assert_refused(folder, "--data-file", str(file))
    assert update(folder, "--data", "address=https://host/a.csv?sig=${SIG}").exit_code == 0


def test_a_credential_in_a_default_is_refused(tmp_path: Path) -> None:
    asks = {"copier.yml": CONFIG["copier.yml"] + ADDRESS + f"'{CREDENTIALS[0]}'\n"}
    folder = project(template(tmp_path / "t", CONFIG, asks), tmp_path / "p")
    assert_refused(folder)
    assert update(folder, "--data", "address=a.csv").exit_code == 0


def test_a_credential_in_a_migrated_answer_is_refused(source: Path, tmp_path: Path) -> None:
    folder = project(source, tmp_path / "p")
    command = f"sed -i 's|a.csv|{CREDENTIALS[0]}|' .copier-answers.yml"
    migrations = f'\n_migrations:\n  - version: v3\n    before: ["{command}"]\n'
    text = (source / "copier.yml").read_text()
    commit(source, {"copier.yml": text + migrations}, tag="v3")
    assert_refused(folder, "--trust")


@pytest.mark.parametrize("answer", CREDENTIALS)
def test_a_recorded_credential_has_to_be_replaced(
    source: Path, tmp_path: Path, answer: str
) -> None:
    """What Copier let in is in git; `status` and `diff` still tell what they tell."""
    folder = project(source, tmp_path / "p", address=answer)
    assert_refused(folder)
    for command, words in (("status", "would be refused: address: the recorded"), ("diff", "")):
        told = CliRunner().invoke(cli, [command, str(folder)])
        assert told.exit_code == (1 if command == "status" else 0), told.output
        assert words in told.stdout
        assert HIDDEN not in told.output
    assert update(folder, "--data", "address=postgresql://me:${PW}@host/shop").exit_code == 0
    assert HIDDEN not in (folder / "a").read_text() + (folder / ".copier-answers.yml").read_text()


def test_names_that_are_not_utf8_are_printed(tmp_path: Path) -> None:
    old = {f"conf/{n}": LONG + n for n in "abc"}
    new = {f"to/{n}": LONG + n for n in "abc"}
    template(tmp_path / "t", {**CONFIG, **old}, new, v2=tuple(old))
    folder = project(tmp_path / "t", tmp_path / "p")
    name = os.fsdecode(b"caf\xe9")
    edit(folder, {f"conf/{name}": "mine\n"})
    write(folder, {f"to/{name}": "in the way\n"})
    assert "to/caf\ufffd" in update(folder).stderr
    (folder / "to" / name).unlink()
    done = update(folder)
    assert done.exit_code == 0
    assert "conf/caf\ufffd → to/caf\ufffd" in done.stdout
    assert (folder / "to" / name).read_text() == "mine\n"


# Several answers files


def layered(tmp_path: Path) -> Path:
    template(tmp_path / "t", {**CONFIG, "a": "1\n"}, {"a": "2\n"})
    template(tmp_path / "u", {"copier.yml": "other:\n  default: x\n", "b": "1\n"}, {"b": "2\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    copier.run_copy(
        str(tmp_path / "u"),
        folder,
        answers_file=".copier-answers.ci.yml",
        vcs_ref="v1",
        defaults=True,
        quiet=True,
    )
    edit(folder, {})
    return folder


def test_every_answers_file_is_updated(tmp_path: Path) -> None:
    folder = layered(tmp_path)
    done = update(folder, "--data", "other=y")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("template v1 → v2") == 2
    assert (tree(folder)["a"], tree(folder)["b"]) == (b"2\n", b"2\n")
    assert b"other: y" in tree(folder)[".copier-answers.ci.yml"]
    assert update(folder, "--data", "nothing=y").exit_code == 2


def test_one_answers_file_of_several(tmp_path: Path) -> None:
    folder = layered(tmp_path)
    assert update(folder, "--answers-file", ".copier-answers.ci.yml").exit_code == 0
    assert (tree(folder)["a"], tree(folder)["b"]) == (b"1\n", b"2\n")


# A template's own code


def test_tasks_run_once_and_only_if_trusted(tmp_path: Path) -> None:
    tasks = {"copier.yml": "_tasks: ['echo run >> ran', 'echo noise']\n"}
    template(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, {**tasks, "a": "2\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    refused = update(folder)
    assert refused.exit_code == 2
    assert "(tasks)" in refused.stderr
    assert tree(folder)["a"] == b"1\n"
    assert update(folder, "--dry-run").exit_code == 2
    assert update(folder, "--dry-run", "--skip-tasks").exit_code == 0
    assert update(folder, "--skip-tasks").exit_code == 0
    assert "ran" not in tree(folder)
    assert update(folder, "--abort").exit_code == 0
    done = update(folder, "--trust", "--format", "json")
    assert json.loads(done.stdout)["written"]
    assert tree(folder)["ran"] == b"run\n"
    assert update(folder, "--abort").exit_code == 0
    assert "ran" not in tree(folder)
    assert git(folder, "status", "--short") == ""


def test_a_failing_task_leaves_everything_as_it_was(tmp_path: Path) -> None:
    tasks = {"copier.yml": "_tasks: ['touch ran', 'git add -A', 'exit 3']\n"}
    template(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, {**tasks, "a": "2\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    before = state(folder)
    done = update(folder, "--trust")
    assert done.exit_code == 2
    assert done.stderr.endswith("exit status 3. The update was taken back.\n")
    assert state(folder) == before
    assert "There is no update" in update(folder, "--abort").stderr


def refusals(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Yield words of each refusal, with a project whose update ends in it."""
    old = {"copier.yml": "", "a": "1\n"}
    tasks = {"copier.yml": "_tasks: ['true']\n"}
    template(tmp_path / "plain", old, {"a": "2\n", "new": "2\n"})
    template(tmp_path / "tasks", old, {**tasks, "a": "2\n"})
    folder = project(tmp_path / "plain", tmp_path / "uncommitted")
    write(folder, {"a": "mine\n"})
    yield "Not committed, and the update changes it too: a", folder
    folder = project(tmp_path / "plain", tmp_path / "untracked")
    write(folder, {"new": "mine\n"})
    yield "in the way of the template: new", folder
    folder = project(tmp_path / "plain", tmp_path / "locked")
    (folder / ".git" / "index.lock").touch()
    yield "Another git command holds", folder
    folder = project(tmp_path / "plain", tmp_path / "sparse")
    git(folder, "sparse-checkout", "set", "--no-cone", "/*", "!/a")
    yield "(sparse checkout)", folder
    yield "runs code of its own (tasks)", project(tmp_path / "tasks", tmp_path / "trust")


def test_a_dry_run_and_status_foresee_each_refusal(tmp_path: Path) -> None:
    for words, folder in refusals(tmp_path):
        before = state(folder)
        for command in (["update"], ["update", "--dry-run"]):
            done = CliRunner().invoke(cli, [*command, str(folder)])
            assert done.exit_code == 2, (words, command)
            assert words in done.stderr
        told = CliRunner().invoke(cli, ["status", str(folder)])
        assert told.exit_code == 1
        assert words in told.stdout
        for command in (["update", "--dry-run"], ["status"]):
            done = CliRunner().invoke(cli, [*command, str(folder), "--format", "json"])
            if done.stdout:
                found = json.loads(done.stdout)
                assert words in (found.get("templates") or [found])[0]["obstacle"]
        assert state(folder) == before


def test_a_dry_run_shows_the_plan_that_would_be_refused(folder: Path) -> None:
    write(folder, {"a": "not committed\n"})
    done = update(folder, "--dry-run")
    assert done.exit_code == 2
    assert "  merged    a" in done.stdout.splitlines()
    assert done.stderr.startswith("mlscaffold: The update would be refused: Not committed")


def test_a_trusted_prefix_runs_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {"copier.yml": "_tasks: ['touch ran']\n"}
    template(tmp_path / "t", {"copier.yml": ""}, {**tasks, "a": ""})
    folder = project(tmp_path / "t", tmp_path / "p")
    write(tmp_path, {"config.toml": f'trust = ["{tmp_path}/"]\n'})
    monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(tmp_path / "config.toml"))
    assert update(folder).exit_code == 0
    assert "ran" in tree(folder)


MIGRATION = """\
name:
  default: ann
_migrations:
  - version: v2
    when: "{{ _stage == 'before' }}"
    command: sed -i s/ann/eve/ .copier-answers.yml && echo migrated >> own && touch fresh
  - version: v2
    command: echo after-$VERSION_FROM-$VERSION_TO >> log
"""


def test_migrations_change_answers_and_files_and_abort_takes_them_back(tmp_path: Path) -> None:
    old = {**CONFIG, "a.jinja": "{{ name }} 1\n"}
    template(tmp_path / "t", old, {"copier.yml": MIGRATION, "a.jinja": "{{ name }} 2\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    edit(folder, {"own": "o\n"})
    before = tree(folder)
    assert "migrations" in update(folder).stderr
    done = update(folder, "--trust")
    assert done.exit_code == 0, done.output
    files = tree(folder)
    assert files["a"] == b"eve 2\n"
    assert files["own"] == b"o\nmigrated\n"
    assert files["log"] == b"after-v1-v2\n"
    assert b"name: eve" in files[".copier-answers.yml"]
    assert update(folder, "--abort").exit_code == 0
    assert tree(folder) == before
    assert git(folder, "status", "--short") == ""


def test_a_failing_migration_leaves_everything_as_it_was(tmp_path: Path) -> None:
    failing = MIGRATION.replace("touch fresh", "exit 3")
    template(tmp_path / "t", CONFIG, {"copier.yml": failing})
    folder = project(tmp_path / "t", tmp_path / "p")
    edit(folder, {"own": "o\n"})
    before = tree(folder)
    assert update(folder, "--trust").exit_code == 2
    assert tree(folder) == before
    write(folder, {"own": "not committed\n"})
    assert "Commit or stash it" in update(folder, "--trust").stderr


# uv.lock

PYPROJECT = '[project]\nname = "p"\nversion = "0"\ndependencies = [{}]\n'


@pytest.fixture
def locked_project(tmp_path: Path) -> Path:
    old, new = PYPROJECT.format('"click"'), PYPROJECT.format('"click", "rich"')
    template(tmp_path / "t", {**CONFIG, "pyproject.toml": old}, {"pyproject.toml": new})
    folder = project(tmp_path / "t", tmp_path / "p")
    edit(folder, {"uv.lock": "old\n"})
    return folder


def test_the_lock_is_brought_along(locked_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "lock", lambda root, **_: write(root, {"uv.lock": "new\n"}))
    assert update(locked_project).exit_code == 0
    assert tree(locked_project)["uv.lock"] == b"new\n"
    assert update(locked_project, "--abort").exit_code == 0
    assert tree(locked_project)["uv.lock"] == b"old\n"


def test_a_lock_that_cannot_be_made_says_what_to_type(
    locked_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_root: Path, **_: bool) -> None:
        raise StepError("no network", "uv lock")

    monkeypatch.setattr(environment, "lock", fail)
    done = update(locked_project)
    assert done.exit_code == 0
    assert done.stderr == "uv.lock is as it was: no network. Type: uv lock\n"


# With Copier


def test_copier_goes_on_where_we_end_and_the_other_way_round(folder: Path) -> None:
    source = folder.parent / "t"
    assert update(folder).exit_code == 0
    edit(folder, {})
    commit(source, {"a": "newer\n" + "top\n" + LONG}, tag="v3")
    check = subprocess.run(
        [Path(sys.executable).with_name("copier"), "check-update", "--output-format", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert json.loads(check.stdout)["update_available"] is True, check.stderr
    copier.run_update(folder, defaults=True, overwrite=True, quiet=True)
    assert tree(folder)["a"].decode() == "newer\ntop\n" + LONG + "mine\n"
    edit(folder, {})
    commit(source, {"new": "4\n"}, tag="v4")
    assert update(folder).exit_code == 0
    answers = yaml.safe_load(tree(folder)[".copier-answers.yml"])
    assert answers["_commit"] == "v4"
    assert "new" in tree(folder)


# As a program of its own


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mlscaffold", "update", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def test_of_several_at_once_one_wins(folder: Path) -> None:
    running = [start(folder) for _ in range(4)]
    for one in running:
        one.communicate()
    codes = sorted(one.returncode for one in running)
    assert codes[0] == 0
    assert set(codes) <= {0, 2}
    assert tree(folder)["a"].decode() == "top\n" + LONG + "mine\n"


def test_an_interruption_is_exit_code_130_and_leaves_no_trace(folder: Path) -> None:
    before = tree(folder)
    running = start(folder)
    time.sleep(0.25)
    running.send_signal(signal.SIGINT)
    _, text = running.communicate()
    if running.returncode == 130:
        assert text.endswith("Interrupted.\n")
        assert tree(folder) == before
    else:
        assert running.returncode in (0, -signal.SIGINT)
