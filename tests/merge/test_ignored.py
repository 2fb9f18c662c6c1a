from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from projects import LONG, content, kinds, planned, project, template
from repositories import Files, git, tree, write

from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, journal, repository

CONFIG = {"copier.yml": "name: ann\n"}
Make = Callable[..., Path]
SECRET = LONG + "SECRET=1\n"


@pytest.fixture
def project_with(tmp_path: Path) -> Make:
    def make(
        ignore: str,
        old: Files,
        new: Files,
        removed: tuple[str, ...] = (),
        mine: Files | None = None,
    ) -> Path:
        first = {**CONFIG, ".gitignore.jinja": ignore, **old}
        source = template(tmp_path / "t", first, new, v2=removed)
        folder = project(source, tmp_path / "p")
        write(folder, mine or {})
        return folder

    return make


def update(folder: Path) -> dict[str, str]:
    """Update the project; return what the plan did with each path."""
    with planned(folder) as plan, journal.locked(plan.objects.repository):
        apply.apply([plan])
        return kinds(plan)


def assert_git_gets_nothing(folder: Path) -> None:
    """Fail if a secret is in an object, in the index, or in what `git add` would take."""
    git(folder, "add", "-A")
    objects = git(folder, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    for name in objects.splitlines():
        assert "SECRET" not in git(folder, "cat-file", "-p", name)


def test_a_file_that_the_template_renames_stays_where_it_is(project_with: Make) -> None:
    folder = project_with(
        "conf/local.env\n",
        {"conf/local.env": LONG},
        {"config/local.env": LONG + "NEW=1\n"},
        ("conf/local.env",),
        {"conf/local.env": SECRET},
    )
    with planned(folder) as plan:
        (kept,) = plan.of("keep")
        assert "moved its own to config/local.env" in kept.reason
        assert plan.needs_look
    assert update(folder) == {"conf/local.env": "keep", "config/local.env": "create"}
    files = tree(folder)
    assert files["conf/local.env"].decode() == SECRET
    assert files["config/local.env"].decode() == LONG + "NEW=1\n"
    assert_git_gets_nothing(folder)


def test_a_folder_of_ignored_files_that_the_template_renames_stays(project_with: Make) -> None:
    old = {f"conf/{name}": LONG + name for name in ("a.env", "b.env", "c.txt")}
    new = {f"config/{name}": LONG + name + "\nnew\n" for name in ("a.env", "b.env", "c.txt")}
    mine = {"conf/a.env": SECRET, "conf/own.env": SECRET}
    folder = project_with("conf/*.env\n", old, new, tuple(old), mine)
    update(folder)
    assert tree(folder)["conf/a.env"].decode() == tree(folder)["conf/own.env"].decode() == SECRET
    assert_git_gets_nothing(folder)


def test_an_unedited_file_that_the_template_renames_needs_no_look(project_with: Make) -> None:
    folder = project_with("*.env\n", {"a.env": LONG}, {"b.env": LONG}, ("a.env",))
    with planned(folder) as plan:
        assert kinds(plan) == {"a.env": "keep", "b.env": "create"}
        assert not plan.needs_look


@pytest.mark.parametrize(
    ("old", "new", "removed"),
    [
        ("*.env\n", "!*.env\n", ()),
        ("*.env\n", "# nothing\n", ()),
        ("*.env\n", None, (".gitignore.jinja",)),
        ("conf/\nown.env\n", "config/\n", ()),
    ],
    ids=["negated", "gone", "file gone", "another folder"],
)
def test_what_is_ignored_stays_ignored(
    project_with: Make, old: str, new: str | None, removed: tuple[str, ...]
) -> None:
    mine = {"conf/local.env": SECRET, "own.env": SECRET}
    changed = {"a": "2\n"} if new is None else {"a": "2\n", ".gitignore.jinja": new}
    folder = project_with(old, {"conf/local.env": LONG, "a": "1\n"}, changed, removed, mine)
    before = git(folder, "status", "--porcelain", "--ignored")
    with planned(folder) as plan:
        assert plan.needs_look
        (action,) = (action for action in plan.actions if action.path == ".gitignore")
        assert "no longer ignores conf/local.env, own.env" in action.reason.replace(
            "conf/,", "conf/local.env,"
        )
    update(folder)
    assert_git_gets_nothing(folder)
    git(folder, "reset", "-q", "--hard")
    assert git(folder, "status", "--porcelain", "--ignored") == before


def test_names_that_look_like_patterns_stay_ignored_alone(project_with: Make) -> None:
    names = ["#a.env", "!b.env", "c[1].env", "d*.env", "e .env ", "f\\.env"]
    mine = dict.fromkeys(names, SECRET)
    folder = project_with("*.env*\n", {"a": "1\n"}, {".gitignore.jinja": "x\n"}, (), mine)
    update(folder)
    assert_git_gets_nothing(folder)
    write(folder, {"c1.env": "", "dd.env": ""})
    assert git(folder, "status", "--porcelain", "-uall").count("?? ") == 2


def test_an_ignore_list_that_still_covers_all_gets_no_line(project_with: Make) -> None:
    folder = project_with(
        "*.env\n__pycache__/\n",
        {"a": "1\n"},
        {".gitignore.jinja": "*.env*\n*.pyc\n"},
        (),
        {"x.env": SECRET, "src/__pycache__/x.pyc": ""},
    )
    with planned(folder) as plan:
        assert kinds(plan) == {".gitignore": "update"}
        assert not plan.needs_look


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("x.env", "x.env"),
        ("build.env", "build.env/inner/x"),
        ("x.env/inner", "x.env"),
    ],
    ids=["file", "file for a folder", "folder for a file"],
)
def test_an_ignored_file_in_the_way_stays_with_the_templates_next_to_it(
    project_with: Make, mine: str, theirs: str
) -> None:
    folder = project_with("*.env\n", {"a": "1\n"}, {theirs: "theirs\n"}, (), {mine: SECRET})
    blocker = min(mine, theirs, key=len)
    with planned(folder) as plan:
        (conflict,) = plan.conflicts
        assert (conflict.path, conflict.stages) == (blocker, {})
    place = blocker + "~template-v2" + theirs.removeprefix(blocker)
    assert update(folder) == {blocker: "conflict", place: "create"}
    assert tree(folder)[mine].decode() == SECRET
    assert tree(folder)[place] == b"theirs\n"
    assert_git_gets_nothing(folder)
    apply.abort(repository.open_at(folder))
    assert place not in tree(folder)


def test_a_folder_in_the_way_that_holds_more_than_ignored_files_is_refused(
    project_with: Make,
) -> None:
    mine = {"x/a.env": SECRET, "x/b": "mine\n"}
    folder = project_with("*.env\n", {"a": "1\n"}, {"x": "theirs\n"}, (), mine)
    with pytest.raises(MlscaffoldError, match=r"in the way of the template: x/\."), planned(folder):
        pass


def test_an_ignored_file_is_merged_and_taken_back(project_with: Make) -> None:
    folder = project_with("env\n", {"env": LONG}, {"env": "top\n" + LONG}, (), {"env": SECRET})
    with planned(folder) as plan:
        assert content(plan, "env").decode() == "top\n" + SECRET
        assert plan.ours == plan.result or b"SECRET" not in plan.objects.read(plan.result)
    assert update(folder) == {"env": "merge"}
    assert tree(folder)["env"].decode() == "top\n" + SECRET
    assert_git_gets_nothing(folder)
    assert apply.abort(repository.open_at(folder)) == ()
    assert tree(folder)["env"].decode() == SECRET


def test_an_edit_of_an_ignored_file_while_the_update_runs_is_noticed(project_with: Make) -> None:
    folder = project_with("env\n", {"env": LONG}, {"env": "top\n" + LONG}, (), {"env": SECRET})
    with planned(folder) as plan:
        write(folder, {"env": "newer\n"})
        with pytest.raises(MlscaffoldError, match="changes it too: env"):
            apply.apply([plan])
    assert tree(folder)["env"] == b"newer\n"


def test_a_merge_that_does_not_parse_leaves_an_ignored_file_alone(project_with: Make) -> None:
    old, new = "a = 1\n\n\n\n\nb = 1\n", "new = 1\na = 1\n\n\n\n\nb = 1\n"
    mine = {"x.toml": old + "new = 2\n"}
    folder = project_with("x.toml\n", {"x.toml": old}, {"x.toml": new}, (), mine)
    assert update(folder) == {"x.toml": "conflict", "x.toml~template-v2": "create"}
    assert tree(folder)["x.toml"].decode() == mine["x.toml"]
