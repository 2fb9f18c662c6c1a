"""Templates that read other files of their project, such as another template's answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from projects import LONG, edit, project, template
from repositories import Files, git, tree, write

from mlscaffold.cli import cli
from mlscaffold.merge import update
from mlscaffold.merge.update import Request

PARENT = "_answers_file: .copier-answers.{}.yml\nname: {{default: ann}}\n"
CHILD = "_answers_file: .copier-answers.{}.yml\n_external_data: {{parent: {}}}\n"
TEXT = "{{ _external_data.parent.name }}\n" + LONG


def made(tmp_path: Path, *, parent: str = "a", child: str = "b") -> Path:
    """Return a project of two templates, of which the child reads the parent's answers."""
    files = {name: f".copier-answers.{name}.yml" for name in (parent, child)}
    parents = PARENT.format(parent)
    template(tmp_path / "parent", {"copier.yml": parents}, {"copier.yml": parents + "region: x\n"})
    reading = CHILD.format(child, files[parent])
    old: Files = {"copier.yml": reading, "text.jinja": TEXT}
    new = {"text.jinja": "{{ _external_data.parent.region }}\n" + TEXT}
    template(tmp_path / "child", old, new)
    project(tmp_path / "parent", tmp_path / "p")
    return project(tmp_path / "child", tmp_path / "p")


@pytest.mark.parametrize(("parent", "child"), [("a", "b"), ("b", "a")])
def test_a_template_reads_what_the_same_update_renders(
    tmp_path: Path, parent: str, child: str
) -> None:
    folder = made(tmp_path, parent=parent, child=child)
    edit(folder, {"text": tree(folder)["text"].decode() + "mine\n"})
    outcome = update.run(Request(folder, data={"region": "north", "name": "eve"}))
    assert tree(folder)["text"].decode() == f"north\neve\n{LONG}mine\n"
    assert [plan.answers_file for plan in outcome.plans] == sorted(
        f".copier-answers.{name}.yml" for name in (parent, child)
    )
    assert not outcome.needs_look


def test_an_answer_of_the_one_reaches_the_other_in_a_later_update(tmp_path: Path) -> None:
    folder = made(tmp_path)
    edit(folder, {"text": tree(folder)["text"].decode() + "mine\n"})
    first = Request(folder, ".copier-answers.a.yml", to="current", data={"name": "eve"})
    update.run(first)
    assert tree(folder)["text"].decode() == f"ann\n{LONG}mine\n"
    edit(folder, {})
    update.run(Request(folder, ".copier-answers.b.yml", to="current"))
    assert tree(folder)["text"].decode() == f"eve\n{LONG}mine\n"
    edit(folder, {})
    assert update.run(Request(folder, to="current")).is_empty


def test_what_was_read_when_it_was_rendered_is_no_drift(tmp_path: Path) -> None:
    folder = made(tmp_path)
    update.run(Request(folder, ".copier-answers.a.yml", to="current", data={"name": "eve"}))
    edit(folder, {})
    told = CliRunner().invoke(cli, ["diff", str(folder), "--answers-file", ".copier-answers.b.yml"])
    assert (told.exit_code, told.stdout) == (0, "")


def test_a_file_of_the_project_counts_as_it_is_now(tmp_path: Path) -> None:
    config = "_external_data: {parent: conf.yml}\n"
    template(tmp_path / "t", {"copier.yml": config, "text.jinja": TEXT, "conf.yml": "name: ann\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    assert tree(folder)["text"].startswith(b"ann\n")
    edit(folder, {"conf.yml": "name: eve\n"})
    write(folder, {"conf.yml": "name: eve # not committed\n"})
    update.run(Request(folder, to="current"))
    assert tree(folder)["text"].decode().partition("\n")[0] == "eve"
    assert git(folder, "status", "--short", "text") == "M text"


def test_two_that_read_each_other_are_updated_all_the_same(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        config = CHILD.format(one, f".copier-answers.{other}.yml") + f"{one}: {{default: 1}}\n"
        text = f"{{{{ _external_data.parent.{other} }}}}\n"
        old = {"copier.yml": config, f"{one}.txt.jinja": text}
        template(tmp_path / one, old, {f"{one}.txt.jinja": text + "new\n"})
        project(tmp_path / one, tmp_path / "p")
    update.run(Request(tmp_path / "p"))
    assert tree(tmp_path / "p")["b.txt"] == b"1\nnew\n"
