"""One test for each rule, and for each trap in which updates lose work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from projects import LONG, content, edit, kinds, planned, project, template
from repositories import Files, commit, git, tree, write

from mlscaffold.errors import MlscaffoldError

CONFIG = {"copier.yml": "name:\n  default: ann\n"}


def made(tmp_path: Path, old: Files, new: Files, removed: tuple[str, ...] = ()) -> Path:
    source = template(tmp_path / "t", {**CONFIG, **old}, new, v2=removed)
    return project(source, tmp_path / "p")


def test_an_untouched_project_becomes_a_fresh_render(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": "1", "gone": "", "d/e": "x"}, {"a": "2", "new": ""}, ("gone",))
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "update", "gone": "delete", "new": "create"}
        assert not plan.needs_look
        project(tmp_path / "t", tmp_path / "fresh" / "p", ref="v2")
        fresh = git(tmp_path / "fresh" / "p", "rev-parse", "HEAD^{tree}")
        assert plan.result == fresh


def test_planning_leaves_no_trace(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": "1\n"}, {"a": "2\n"})
    edit(folder, {"a": "mine\n"})
    before = git(folder, "count-objects", "-v"), git(folder, "for-each-ref"), tree(folder)
    state = (folder / ".git" / "index").read_bytes()
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "conflict"}
    assert (git(folder, "count-objects", "-v"), git(folder, "for-each-ref"), tree(folder)) == before
    assert (folder / ".git" / "index").read_bytes() == state
    assert not (folder / ".git" / "mlscaffold").exists()


def test_both_changes_are_merged(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": LONG}, {"a": "top\n" + LONG})
    edit(folder, {"a": LONG + "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "merge"}
        assert content(plan, "a").decode() == "top\n" + LONG + "mine\n"


def test_a_conflict_names_the_versions_and_has_three_stages(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": "1\n"}, {"a": "2\n"})
    edit(folder, {"a": "mine\n"})
    with planned(folder) as plan:
        (conflict,) = plan.conflicts
        assert content(plan, "a") == b"<<<<<<< yours\nmine\n=======\n2\n>>>>>>> template v2\n"
        read = {n: plan.objects.read(e.oid) for n, e in conflict.stages.items()}
        assert read == {1: b"1\n", 2: b"mine\n", 3: b"2\n"}
        assert plan.needs_look
        assert json.loads(json.dumps(plan.as_json()))["actions"][1]["kind"] == "conflict"


def test_the_base_is_labelled_where_it_is_shown(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": "1\n"}, {"a": "2\n"})
    edit(folder, {"a": "mine\n"})
    git(folder, "config", "merge.conflictStyle", "zdiff3")
    with planned(folder) as plan:
        assert b"||||||| template v1\n1\n=======\n" in content(plan, "a")


def test_the_template_renames_and_edits_come_along(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": LONG}, {"b/c": LONG}, ("a",))
    edit(folder, {"a": LONG + "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "delete", "b/c": "move"}
        assert content(plan, "b/c").decode() == LONG + "mine\n"
        assert [(a.source, a.reason) for a in plan.of("move")] == [("a", "with your edits")]


def test_the_user_renames_and_the_template_changes_come_along(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": LONG}, {"a": "top\n" + LONG})
    git(folder, "mv", "a", "mine")
    edit(folder, {f"other{n}": f"{n}\n" for n in range(5)})
    with planned(folder) as plan:
        assert kinds(plan) == {"mine": "merge"}
        assert content(plan, "mine").decode() == "top\n" + LONG


def test_a_renamed_folder_takes_the_users_own_files_along(tmp_path: Path) -> None:
    old = {f"conf/{n}": LONG + n for n in "abc"}
    new = {f"settings/{n}": LONG + n for n in "abc"}
    folder = made(tmp_path, old, new, tuple(old))
    edit(folder, {"conf/mine": "my own\n"})
    with planned(folder) as plan:
        moves = {a.source: a.path for a in plan.of("move")}
        assert moves["conf/mine"] == "settings/mine"


def test_an_answer_that_renames_paths_moves_edited_files(tmp_path: Path) -> None:
    folder = made(tmp_path, {"src/{{ name }}/x.py.jinja": "# {{ name }}\n" + LONG}, {"b": ""})
    edit(folder, {"src/ann/x.py": "# ann\n" + LONG + "mine = 1\n"})
    with planned(folder, "current", data={"name": "eve"}) as plan:
        assert {a.source: a.path for a in plan.of("move")} == {"src/ann/x.py": "src/eve/x.py"}
        assert content(plan, "src/eve/x.py").decode() == "# eve\n" + LONG + "mine = 1\n"


def test_what_the_user_deleted_stays_deleted_and_is_reported(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": "1\n", "b": "1\n"}, {"a": "2\n"})
    git(folder, "rm", "-q", "a", "b")
    edit(folder, {})
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "keep"}
        assert "you deleted it" in plan.of("keep")[0].reason
        assert not plan.needs_look


def test_what_the_user_deleted_and_the_template_renamed_stays_away(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": LONG}, {"b": LONG + "new\n"}, ("a",))
    git(folder, "rm", "-q", "a")
    edit(folder, {})
    with planned(folder) as plan:
        assert kinds(plan) == {"b": "keep"}


def test_what_the_template_deleted_and_the_user_edited_is_kept(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": "1\n"}, {"b": ""}, ("a",))
    edit(folder, {"a": "1\nmine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "keep", "b": "create"}
        assert plan.needs_look
        assert not plan.conflicts


def test_what_the_template_deleted_and_the_user_renamed_is_kept(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": LONG}, {"b": ""}, ("a",))
    git(folder, "mv", "a", "mine")
    edit(folder, {"mine": LONG + "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan)["mine"] == "keep"
        assert not plan.of("delete")


def test_the_same_new_file_on_both_sides_is_a_conflict_only_if_it_differs(tmp_path: Path) -> None:
    folder = made(tmp_path, {}, {"same": "1\n", "other": "theirs\n"})
    edit(folder, {"same": "1\n", "other": "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"other": "conflict"}
        assert b"mine\n" in content(plan, "other")
        assert b"theirs\n" in content(plan, "other")


def test_both_renamed_differently_keeps_both_contents(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": LONG}, {"theirs": LONG}, ("a",))
    git(folder, "mv", "a", "mine")
    edit(folder, {"mine": LONG + "mine\n"})
    with planned(folder) as plan:
        assert plan.needs_look
        assert kinds(plan)["mine"] == "conflict"
        assert b"mine\n" in content(plan, "mine")


def test_a_link_that_both_renamed_is_there_under_both_names(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"copier.yml": "_preserve_symlinks: true\n"})
    (source / "a").symlink_to("elsewhere")
    commit(source, {}, tag="v1.1")
    folder = project(source, tmp_path / "p", ref="v1.1")
    git(source, "mv", "a", "theirs")
    commit(source, {}, tag="v2")
    git(folder, "mv", "a", "mine")
    edit(folder, {})
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "conflict", "mine": "conflict", "theirs": "conflict"}
        assert content(plan, "mine") == content(plan, "theirs") == b"elsewhere"


# The answers file and _skip_if_exists


def test_the_answers_file_is_the_new_versions(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": "1"}, {"a": "2"})
    file = folder / ".copier-answers.yml"
    file.write_text("# a comment of mine\n" + file.read_text())
    edit(folder, {})
    with planned(folder) as plan:
        text = content(plan, ".copier-answers.yml")
        assert text.startswith(b"# a comment of mine\n_commit: v2")
        assert not plan.needs_look


def test_an_answers_file_edited_where_it_changes_is_no_conflict(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": "1"}, {"a": "2"})
    file = folder / ".copier-answers.yml"
    file.write_text(file.read_text().replace("_commit: v1", "_commit: 'v1'  # mine"))
    edit(folder, {})
    with planned(folder) as plan:
        assert content(plan, ".copier-answers.yml").startswith(b"# mine\n_commit: v2\n")
        assert not plan.conflicts


SEEDED = {"copier.yml": "_skip_if_exists: [seed]\n"}


def test_a_seeded_file_is_left_alone(tmp_path: Path) -> None:
    folder = made(tmp_path, {**SEEDED, "seed": "1\n"}, {"seed": "2\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {}
    edit(folder, {"seed": "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {}


def test_a_seeded_file_that_the_new_version_no_longer_names_is_merged(tmp_path: Path) -> None:
    old = {**SEEDED, "seed": "top\n" + LONG, "own": "1\n"}
    ends = {"copier.yml": "_skip_if_exists: [own]\n", "seed": "new\n" + LONG, "own": "2\n"}
    folder = made(tmp_path, old, ends)
    with planned(folder) as plan:
        assert kinds(plan) == {"seed": "update"}
    edit(folder, {"seed": "top\n" + LONG + "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"seed": "merge"}
        assert content(plan, "seed").decode() == "new\n" + LONG + "mine\n"


def test_a_file_that_becomes_seeded_is_left_alone(tmp_path: Path) -> None:
    folder = made(tmp_path, {"seed": "1\n"}, {**SEEDED, "seed": "2\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {}


def test_a_seeded_file_that_is_missing_is_made_again_as_copier_does(tmp_path: Path) -> None:
    folder = made(tmp_path, {**SEEDED, "seed": "1\n"}, {"seed": "2\n"})
    git(folder, "rm", "-q", "seed")
    edit(folder, {})
    with planned(folder) as plan:
        assert kinds(plan) == {"seed": "create"}


def test_a_seeded_file_that_is_missing_is_made_again_at_the_same_version(tmp_path: Path) -> None:
    folder = made(tmp_path, {**SEEDED, "seed": "1\n"}, {"seed": "2\n"})
    git(folder, "rm", "-q", "seed")
    edit(folder, {})
    with planned(folder, "current") as plan:
        assert kinds(plan) == {"seed": "create"}
    write(folder, {"seed": "not tracked\n"})
    with planned(folder, "current") as plan:
        assert plan.is_empty


def test_a_seeded_file_that_the_template_drops_stays(tmp_path: Path) -> None:
    folder = made(tmp_path, {**SEEDED, "seed": "1\n"}, {"b": ""}, ("seed",))
    with planned(folder) as plan:
        assert kinds(plan) == {"seed": "keep", "b": "create"}
        assert not plan.needs_look


# Files that git does not track


def test_a_file_in_the_way_is_refused_by_name(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": ""}, {"secret.env": "theirs\n"})
    write(folder, {"secret.env": "mine\n", "scratch": ""})
    with (
        pytest.raises(MlscaffoldError, match=r"in the way of the template: secret\.env\."),
        planned(folder),
    ):
        pass


def test_folders_and_links_in_the_way_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": ""}, {"file": "1", "sub/x": "1", "linked/x": "1"})
    write(folder, {"file/inner": "", "sub": ""})
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(MlscaffoldError, match=r": file/, linked, sub\."), planned(folder):
        pass


def test_an_untracked_file_that_is_the_same_is_no_obstacle(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": ""}, {"new": "1\n"})
    write(folder, {"new": "1\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {}


def test_an_ignored_file_of_the_template_is_merged_out_of_band(tmp_path: Path) -> None:
    folder = made(tmp_path, {".gitignore.jinja": "env\n", "env": LONG}, {"env": "top\n" + LONG})
    assert git(folder, "ls-files", "env") == ""
    write(folder, {"env": LONG + "SECRET=1\n"})
    with planned(folder) as plan:
        (action,) = plan.of("merge")
        assert content(plan, "env").decode() == "top\n" + LONG + "SECRET=1\n"
        assert not action.is_tracked


def test_a_conflict_in_an_ignored_file_leaves_it_alone(tmp_path: Path) -> None:
    folder = made(tmp_path, {".gitignore.jinja": "env\n", "env": "1\n"}, {"env": "2\n"})
    write(folder, {"env": "mine\n"})
    with planned(folder) as plan:
        (conflict,) = plan.conflicts
        assert not conflict.writes
        assert not conflict.stages
        assert content(plan, "env~template-v2") == b"2\n"


def test_an_ignored_file_that_the_template_drops_stays(tmp_path: Path) -> None:
    folder = made(tmp_path, {".gitignore.jinja": "env\n", "env": "1\n"}, {"b": ""}, ("env",))
    with planned(folder) as plan:
        assert kinds(plan) == {"env": "keep", "b": "create"}


def test_a_commit_is_planned_without_the_work_tree(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": ""}, {"new": "theirs\n"})
    write(folder, {"new": "mine\n"})
    with planned(folder, from_head=True) as plan:
        assert kinds(plan) == {"new": "create"}


# Types, modes, encodings, names


def test_a_binary_conflict_keeps_ours_with_theirs_beside(tmp_path: Path) -> None:
    folder = made(tmp_path, {"x.bin": "\0" + "1"}, {"x.bin": "\0" + "2"})
    edit(folder, {"x.bin": "\0mine"})
    with planned(folder) as plan:
        assert kinds(plan) == {"x.bin": "conflict", "x.bin~template-v2": "create"}
        assert content(plan, "x.bin") == b"\0mine"
        assert content(plan, "x.bin~template-v2") == b"\x002"
        assert sorted(plan.conflicts[0].stages) == [1, 2, 3]


def test_a_link_against_an_edited_file_keeps_ours_with_theirs_beside(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"copier.yml": "_preserve_symlinks: true\n", "a": "1\n"})
    folder = project(source, tmp_path / "p")
    (source / "a").unlink()
    (source / "a").symlink_to("elsewhere")
    commit(source, {}, tag="v2")
    edit(folder, {"a": "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "conflict", "a~template-v2": "create"}
        assert content(plan, "a") == b"mine\n"
        assert content(plan, "a~template-v2") == b"elsewhere"


def test_a_folder_where_the_user_has_a_file_is_put_beside(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": ""}, {"x/y": "theirs\n"})
    edit(folder, {"x": "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"x": "conflict", "x~template-v2/y": "create"}
        assert content(plan, "x~template-v2/y") == b"theirs\n"
        assert content(plan, "x") == b"mine\n"


def test_a_file_where_the_user_has_a_folder_is_put_beside(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": ""}, {"x": "theirs\n"})
    edit(folder, {"x/y": "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"x": "conflict", "x~template-v2": "create"}
        assert content(plan, "x~template-v2") == b"theirs\n"


def test_a_file_may_become_a_folder_and_back(tmp_path: Path) -> None:
    folder = made(tmp_path, {"x": "1\n", "y/z": "1\n"}, {}, ("x", "y/z"))
    write(tmp_path / "t", {"x/new": "2\n", "y": "2\n"})
    git(tmp_path / "t", "tag", "-d", "v2")
    commit(tmp_path / "t", {}, tag="v2")
    with planned(folder) as plan:
        assert kinds(plan) == {"x": "delete", "x/new": "create", "y": "create", "y/z": "delete"}


def test_a_new_mode_is_taken(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {**CONFIG, "run.sh": LONG})
    folder = project(source, tmp_path / "p")
    (source / "run.sh").chmod(0o755)
    commit(source, {}, tag="v2")
    edit(folder, {"run.sh": LONG + "mine\n"})
    with planned(folder) as plan:
        (action,) = plan.of("merge")
        assert action.after
        assert action.after.mode == "100755"


def test_line_ends_and_encodings_are_kept(tmp_path: Path) -> None:
    source, text = tmp_path / "t", LONG.replace("\n", "\r\n").encode() + b"\xe4\xf6\r\n"
    template(source, CONFIG)
    (source / "a.txt").write_bytes(text)
    commit(source, {}, tag="v1.1")
    folder = project(source, tmp_path / "p", ref="v1.1")
    (source / "a.txt").write_bytes(b"top\r\n" + text)
    commit(source, {}, tag="v2")
    (folder / "a.txt").write_bytes(text + b"m\xe9in\r\n")
    edit(folder, {})
    with planned(folder) as plan:
        assert content(plan, "a.txt") == b"top\r\n" + text + b"m\xe9in\r\n"


def test_odd_names_are_merged(tmp_path: Path) -> None:
    names = ["-rf", "a b", '"q"', "tab\there", "new\nline", "ümlaut", "*", ":(top)x", "x~y"]
    folder = made(tmp_path, dict.fromkeys(names, LONG), dict.fromkeys(names, "top\n" + LONG))
    edit(folder, dict.fromkeys(names, LONG + "mine\n"))
    with planned(folder) as plan:
        assert kinds(plan) == dict.fromkeys(names, "merge")


def test_a_name_that_is_not_utf8_is_merged(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    source = template(tmp_path / "t", {**CONFIG, "a": ""})
    folder = project(source, tmp_path / "p")
    commit(source, {"a": "2"}, tag="v2")
    edit(folder, {name: "mine\n"})
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "update"}
        assert plan.objects.look_up(plan.result, name)


@pytest.mark.parametrize("path", ["{{ '.git' }}/hooks/x", "sub/{{ '.GIT' }}/config"])
def test_a_template_cannot_reach_into_git(tmp_path: Path, path: str) -> None:
    new = {path: "touch x\n", "copier.yml": "_exclude: [x]\n", "b": ""}
    folder = made(tmp_path, {"a": ""}, new)
    with pytest.raises(MlscaffoldError, match=r"(?i)renders '(sub/)?\.git'"), planned(folder):
        pass


# Files that git merges into something that does not parse

TOML = "[a]\nx = 1\n\n[b]\ny = 1\n\n[c]\nz = 1\n"


def test_a_merge_that_does_not_parse_is_a_conflict(tmp_path: Path) -> None:
    ours, theirs = TOML.replace("x = 1\n", "x = 1\nk = 1\n"), TOML + "\n[a.k]\n"
    folder = made(tmp_path, {"a.toml": TOML}, {"a.toml": theirs})
    edit(folder, {"a.toml": ours})
    with planned(folder) as plan:
        assert kinds(plan) == {"a.toml": "conflict"}
        assert sorted(plan.conflicts[0].stages) == [1, 2, 3]
        assert b">>>>>>> template v2" in content(plan, "a.toml")
        assert plan.conflicts[0].reason == "both changes together do not parse"


# Where the project is


def test_a_project_in_a_subfolder_leaves_the_rest_alone(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {**CONFIG, "a.jinja": "{{ _folder_name }}"}, {"b": "1"})
    top = tmp_path / "top"
    commit(top, {"other.txt": "1", "services/b": "not the template's"})
    folder = project(source, top / "services" / "p")
    assert (folder / "a").read_text() == "p"
    with planned(folder) as plan:
        assert kinds(plan) == {"services/p/b": "create"}
        assert plan.answers_file == "services/p/.copier-answers.yml"


def test_without_a_commit_there_is_one_line(tmp_path: Path) -> None:
    folder = made(tmp_path, {"a": ""}, {"b": ""})
    git(folder, "update-ref", "-d", "HEAD")
    with pytest.raises(MlscaffoldError, match="no commit yet"), planned(folder):
        pass
    (folder / ".git").rename(tmp_path / "elsewhere")
    with pytest.raises(MlscaffoldError, match="not in the work tree"), planned(folder):
        pass
