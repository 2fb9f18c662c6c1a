from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from projects import edit, project, template
from repositories import Files, commit, git, tree, write

from mlscaffold import output
from mlscaffold.cli import cli

WAIVER = '[[waiver]]\npath = "a.txt"\nreason = "labels"\nuntil = %s\n'
OWNERS = '[ownership]\nmanaged = ["/a.txt", "/b.py"]\nseeded = ["/c.md"]\n'
FILES: Files = {
    "copier.yml": "",
    "a.txt": "one\ntwo\nthree\n",
    "b.py": "x = 1\n",
    "c.md": "read\n",
    "d.txt": "",
    ".mlscaffold.toml": OWNERS,
}
LOG = "# Changelog\n\n## 2\n- two\n"


@pytest.fixture
def current(tmp_path: Path) -> Path:
    return project(template(tmp_path / "t", FILES), tmp_path / "p")


@pytest.fixture
def behind(tmp_path: Path) -> Path:
    new = {"CHANGELOG.md": LOG, "a.txt": "one\ntwo\nthree\nfour\n", "new": ""}
    exclude = {"copier.yml": "_exclude: [CHANGELOG.md, copier.yml, .git]\n"}
    source = template(tmp_path / "t", {**FILES, **exclude}, new)
    return project(source, tmp_path / "p")


def status(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["status", str(folder), *arguments])


def lines(done: Result) -> list[str]:
    return [line.strip() for line in done.stdout.splitlines()]


def test_status_of_a_current_and_undrifted_project(current: Path) -> None:
    done = status(current)
    assert (done.exit_code, done.stderr) == (0, "")
    assert lines(done) == ["template  v1, the newest", "drift     none"]


def test_status_of_a_project_that_is_behind(
    behind: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-02-12T03:04:05Z")
    commit(tmp_path / "t", {"CHANGELOG.md": LOG.replace("## 2", "## 3\n- three\n\n## 2")}, tag="v3")
    done = status(behind)
    assert done.exit_code == 1
    assert lines(done) == [
        "template  v1, newest v3 (2 releases, 41 days)",
        "drift     none",
        "update    would create 1 file, update 1, ask nothing; no conflict",
        "changes   ## 3",
        "- three",
        "",
        "## 2",
        "- two",
        f"Next:  mlscaffold update {behind}",
    ]


def test_status_shortens_the_changelog_for_a_person(
    behind: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = "".join(f"- {number}\n" for number in range(40))
    commit(tmp_path / "t", {"CHANGELOG.md": f"## 3\n{entries}"}, tag="v3")
    assert "- 39" in lines(status(behind))
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    shown = lines(status(behind))
    assert "- 39" not in shown
    assert "… 29 more lines: --format json" in shown


def test_status_prints_nothing_that_a_terminal_obeys(behind: Path, tmp_path: Path) -> None:
    commit(tmp_path / "t", {"CHANGELOG.md": "## 3\n- \x1b]0;owned\x07three\n"}, tag="v3")
    done = status(behind)
    assert "\x1b" not in done.stdout
    assert "- �]0;owned�three" in lines(done)


def test_status_of_a_drifted_project(current: Path) -> None:
    write(current, {"a.txt": "1\n", "c.md": "mine\n", "d.txt": "mine\n", "mine": ""})
    (current / "b.py").unlink()
    done = status(current)
    assert done.exit_code == 1
    assert lines(done) == [
        "template  v1, the newest",
        "drift     managed: 1 edited, 1 deleted   seeded: 1   shared: 1",
        "a.txt",
        "b.py   deleted",
        f"Next:  mlscaffold diff --kind managed {current}",
    ]


def test_status_names_the_first_of_many_files(tmp_path: Path) -> None:
    owners = {".mlscaffold.toml": '[ownership]\nmanaged = ["/m/"]\n'}
    many = {f"m/{number}": "1" for number in range(8)}
    folder = project(template(tmp_path / "t", {"copier.yml": "", **owners, **many}), tmp_path / "p")
    write(folder, dict.fromkeys(many, "2"))
    assert lines(status(folder))[1:8] == [
        "drift     managed: 8 edited", *(f"m/{number}" for number in range(5)), "… 3 more",
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["c.md", "d.txt"])
def test_what_the_team_may_edit_is_no_drift(current: Path, path: str) -> None:
    write(current, {path: "mine\n"})
    assert status(current).exit_code == 0


@pytest.mark.parametrize(
    ("until", "code", "words"),
    [
        ("2999-01-31", 0, "a.txt   waived until 2999-01-31: labels"),
        ("2020-01-31", 1, "a.txt   waiver expired on 2020-01-31: labels"),
    ],
)
def test_status_of_a_waived_edit(current: Path, until: str, code: int, words: str) -> None:
    write(current, {"a.txt": "1\n", ".mlscaffold.toml": OWNERS + WAIVER % until})
    done = status(current)
    assert done.exit_code == code
    assert words in lines(done)


def test_status_names_the_conflicts_of_an_update(behind: Path) -> None:
    edit(behind, {"a.txt": "one\ntwo\nthree\n4\n"})
    done = status(behind)
    assert done.exit_code == 1
    assert "update    would create 1 file, ask nothing; 1 conflict: a.txt" in lines(done)


def test_status_names_what_an_update_leaves_to_look_at(behind: Path, tmp_path: Path) -> None:
    git(tmp_path / "t", "rm", "-q", "b.py")
    commit(tmp_path / "t", {}, tag="v3")
    edit(behind, {"b.py": "x = 2\n"})
    done = status(behind)
    assert "update    would create 1 file, update 1, ask nothing; to look at: b.py" in lines(done)


def test_status_says_why_an_update_would_be_refused(behind: Path) -> None:
    write(behind, {"new": "in the way"})
    done = status(behind)
    assert done.exit_code == 1
    assert "would be refused: Not tracked by git, and in the way" in done.stdout
    assert "Next:" not in done.stdout


def test_status_names_new_questions(behind: Path, tmp_path: Path) -> None:
    commit(tmp_path / "t", {"copier.yml": "size:\n  default: 1\n"}, tag="v3")
    assert "take the default of size; no conflict" in status(behind).stdout


def test_status_agrees_with_an_update(behind: Path) -> None:
    edit(behind, {"a.txt": "one\ntwo\nthree\n4\n"})
    (told,) = json.loads(status(behind, "--format", "json").stdout)["templates"]
    arguments = ["update", str(behind), "--dry-run", "--format", "json"]
    (planned,) = json.loads(CliRunner().invoke(cli, arguments).stdout)["updates"]
    assert told["update"] == planned
    assert planned["needs_look"]


def test_after_an_update_a_project_is_current_and_undrifted(behind: Path) -> None:
    assert status(behind).exit_code == 1
    assert CliRunner().invoke(cli, ["update", str(behind)]).exit_code == 0
    assert status(behind).exit_code == 0


def test_status_as_json(behind: Path) -> None:
    write(behind, {"b.py": "x = 2\n"})
    done = status(behind, "--format", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["path"], found["is_good"]) == (str(behind), False)
    (one,) = found["templates"]
    assert (one["version"], one["newest"], one["is_behind"]) == ("v1", "v2", True)
    assert one["releases"] == [{"tag": "v2", "date": "2026-01-02"}]
    assert (one["commits"], one["days"], one["changelog"]) == (1, 0, "## 2\n- two")
    assert one["is_drifted"]
    assert [difference["path"] for difference in one["differences"]] == ["b.py"]
    assert one["update"]["to"] == "v2"
    assert (one["obstacle"], one["unreachable"]) == (None, None)


def test_status_of_every_answers_file(current: Path, tmp_path: Path) -> None:
    answers = "_answers_file: .copier-answers.two.yml\n"
    other = template(tmp_path / "u", {"copier.yml": answers, "e": "1"}, {"e": "2"})
    project(other, current)
    done = status(current)
    assert done.exit_code == 1
    assert lines(done)[:2] == [
        ".copier-answers.two.yml",
        "template  v1, newest v2 (1 release, 0 days)",
    ]
    assert lines(done)[-3:-1] == ["template  v1, the newest", "drift     none"]
    assert status(current, "--answers-file", ".copier-answers.yml").exit_code == 0


def test_status_offline_cannot_tell_whether_there_is_more(current: Path, tmp_path: Path) -> None:
    assert status(current).exit_code == 0
    (tmp_path / "t").rename(tmp_path / "gone")
    done = status(current)
    assert done.exit_code == 2
    assert lines(done)[0] == "template  v1, none newer known"
    assert done.stderr.count("\n") == 1
    assert "cannot be fetched" in done.stderr
    told = json.loads(status(current, "--format", "json").stdout)
    assert told["is_good"] is None
    assert "cannot be fetched" in told["templates"][0]["unreachable"]


def test_status_offline_still_says_no(behind: Path, tmp_path: Path) -> None:
    assert status(behind).exit_code == 1
    (tmp_path / "t").rename(tmp_path / "gone")
    done = status(behind)
    assert done.exit_code == 1
    assert lines(done)[0] == "template  v1, newest known v2 (1 release, 0 days)"


def test_status_of_a_template_never_seen_cannot_tell(current: Path, tmp_path: Path) -> None:
    (tmp_path / "t").rename(tmp_path / "gone")
    done = status(current)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "cannot be fetched" in done.stderr


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".mlscaffold.toml": "[owner]\n"}, "Did you mean ownership"),
        ({".copier-answers.yml": "- a\n"}, "lines of the form"),
    ],
)
def test_status_that_cannot_tell_says_why(current: Path, files: Files, words: str) -> None:
    write(current, files)
    done = status(current)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


def test_status_of_a_template_that_runs_code_needs_trust(tmp_path: Path) -> None:
    files = {"copier.yml": "_jinja_extensions: [jinja2.ext.do]\n", "a": "1"}
    folder = project(template(tmp_path / "t", files), tmp_path / "p")
    assert status(folder).exit_code == 2
    assert status(folder, "--trust").exit_code == 0


def test_status_outside_git_says_that_an_update_needs_it(behind: Path) -> None:
    git(behind, "checkout", "-q", "--detach")
    (behind / ".git").rename(behind.parent / "kept")
    done = status(behind)
    assert done.exit_code == 1
    assert "would be refused" in done.stdout
    assert "git init" in done.stdout


def test_status_writes_nothing(behind: Path) -> None:
    write(behind, {"a.txt": "1\n"})
    before, state = tree(behind), git(behind, "status", "--porcelain")
    assert status(behind).exit_code == 1
    assert tree(behind) == before
    assert git(behind, "status", "--porcelain") == state
