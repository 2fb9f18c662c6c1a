from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from copier import _main
from projects import project, step, template
from repositories import commit, git, tree

from mlscaffold import versions
from mlscaffold.errors import MlscaffoldError
from mlscaffold.versions import Rendered, Step

QUESTIONS = "name:\n  type: str\n  default: ann\ncolour:\n  type: str\n  default: red\n"


def both(found: Step, folder: Path, **options: Any) -> tuple[Rendered, Rendered]:
    name = found.answers.root.name
    return versions.render(found, folder / "old" / name, folder / "new" / name, **options)


def made(tmp_path: Path, *states: dict[str, str], **data: object) -> Path:
    return project(template(tmp_path / "t", *states), tmp_path / "p", **data)


def test_both_versions_are_rendered_with_the_recorded_answers(tmp_path: Path) -> None:
    folder = made(
        tmp_path, {"copier.yml": QUESTIONS, "a.jinja": "1 {{ name }}"}, {"a.jinja": "2 {{ name }}"},
        name="eve",
    )  # fmt: skip
    found = step(folder)
    assert found.names == ("v1", "v2")
    old, new = both(found, tmp_path)
    assert tree(old.folder) == tree(folder)
    assert tree(new.folder)["a"] == b"2 eve"
    assert b"_commit: v2" in tree(new.folder)[new.answers_file]


def test_an_untouched_project_of_the_newest_version_is_rendered_once(tmp_path: Path) -> None:
    found = step(made(tmp_path, {"copier.yml": QUESTIONS}))
    old, new = both(found, tmp_path)
    assert found.stays
    assert old is new


def test_prereleases_are_taken_on_request_only(tmp_path: Path) -> None:
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"b": ""})
    commit(tmp_path / "t", {"c": ""}, tag="v3rc1")
    assert step(folder).names[1] == "v2"
    assert step(folder, "v3rc1").names[1] == "v3rc1"


def test_a_downgrade_is_refused(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"copier.yml": QUESTIONS}, {"b": ""})
    folder = project(source, tmp_path / "p", ref="v2")
    with pytest.raises(MlscaffoldError, match="v1 is older than v2"):
        step(folder, "v1")


def test_a_project_ahead_of_the_newest_release_stays(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"copier.yml": QUESTIONS})
    commit(source, {"b": ""})
    found = step(project(source, tmp_path / "p", ref="HEAD"))
    assert found.answers.commit.startswith("v1-1-g")
    assert found.stays


def test_a_commit_between_releases_is_found_again(tmp_path: Path) -> None:
    source = template(tmp_path / "t", {"copier.yml": QUESTIONS})
    commit(source, {"b": ""})
    folder = project(source, tmp_path / "p", ref="HEAD")
    commit(source, {"c": ""}, tag="v2")
    old, new = both(step(folder), tmp_path)
    assert "b" in tree(old.folder)
    assert "c" not in tree(old.folder)
    assert "c" in tree(new.folder)


def test_commits_without_tags_are_compared_by_history(tmp_path: Path) -> None:
    first = commit(tmp_path / "t", {"copier.yml": QUESTIONS, "a": ""})
    template(tmp_path / "t")
    (tmp_path / "t" / "{{ _copier_conf.answers_file }}.jinja").write_text(
        "{{ _copier_answers|to_nice_yaml -}}\n"
    )
    second = commit(tmp_path / "t", {})
    folder = project(tmp_path / "t", tmp_path / "p", ref=second)
    assert step(folder).stays
    with pytest.raises(MlscaffoldError, match="is older"):
        step(folder, first)


def test_current_is_the_recorded_version(tmp_path: Path) -> None:
    folder = made(tmp_path, {"copier.yml": QUESTIONS, "{{ name }}.txt": ""}, {"b": ""})
    found = step(folder, "current")
    assert found.names == ("v1", "v1")
    old, new = both(found, tmp_path, data={"name": "eve"})
    assert "ann.txt" in tree(old.folder)
    assert "eve.txt" in tree(new.folder)


def test_a_version_that_is_gone_is_one_line(tmp_path: Path) -> None:
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"b": ""})
    git(tmp_path / "t", "tag", "-d", "v1")
    with pytest.raises(MlscaffoldError, match="has no version v1, which") as caught:
        step(folder)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("recorded", ["../t", "t", "./t"])
def test_a_relative_address_is_found_and_recorded_as_it_is(tmp_path: Path, recorded: str) -> None:
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"b": ""})
    file = folder / ".copier-answers.yml"
    file.write_text(file.read_text().replace(str(tmp_path / "t"), recorded))
    _, new = both(step(folder), tmp_path)
    assert f"_src_path: {recorded}\n".encode() in tree(new.folder)[".copier-answers.yml"]


def test_a_template_without_git_has_no_versions(tmp_path: Path) -> None:
    folder = made(tmp_path, {"copier.yml": QUESTIONS})
    os.rename(tmp_path / "t" / ".git", tmp_path / "elsewhere")  # noqa: PTH104
    with pytest.raises(MlscaffoldError, match="folder without git"):
        step(folder)


def test_a_changed_default_does_not_change_an_answer(tmp_path: Path) -> None:
    new = QUESTIONS.replace("red", "blue")
    folder = made(
        tmp_path, {"copier.yml": QUESTIONS, "a.jinja": "{{ colour }}"}, {"copier.yml": new}
    )
    _, rendered = both(step(folder), tmp_path)
    assert tree(rendered.folder)["a"] == b"red"
    assert rendered.defaults == {}


def test_a_new_question_takes_its_default_and_is_named(tmp_path: Path) -> None:
    new = QUESTIONS + "size:\n  type: int\n  default: 3\nkey:\n  secret: true\n  default: none\n"
    _, rendered = both(
        step(made(tmp_path, {"copier.yml": QUESTIONS}, {"copier.yml": new})), tmp_path
    )
    assert rendered.defaults == {"size": 3}
    _, answered = both(step(tmp_path / "p"), tmp_path / "x", data={"size": "4"})
    assert answered.defaults == {}
    assert b"size: 4\n" in tree(answered.folder)[".copier-answers.yml"]


def test_a_question_that_vanished_is_forgotten(tmp_path: Path) -> None:
    folder = made(
        tmp_path, {"copier.yml": QUESTIONS}, {"copier.yml": "name:\n  type: str\n  default: ann\n"}
    )
    _, new = both(step(folder), tmp_path)
    assert b"colour" not in tree(new.folder)[".copier-answers.yml"]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("colour:\n  type: str\n  choices: [green]\n  default: green\n", "'red' to colour"),
        ("colour:\n  type: int\n  default: 1\n", "'red' to colour"),
        (
            "colour:\n  validator: '{% if colour == \"red\" %}no{% endif %}'\n  default: x\n",
            "'red'",
        ),
        ("other:\n  type: str\n", "other is new and has no default"),
        (
            "other:\n  default: ''\n  validator: '{% if not other %}say who{% endif %}'\n",
            "default of the question other is not allowed: say who. .*--data other=ANSWER",
        ),
        ("other:\n  choices: [a, b]\n  default: c\n", "default of the question other .*'c'"),
    ],
)
def test_an_answer_that_is_not_allowed_names_the_question(
    tmp_path: Path, question: str, words: str
) -> None:
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"copier.yml": question})
    with pytest.raises(MlscaffoldError, match=words) as caught:
        both(step(folder), tmp_path)
    assert "--data " in caught.value.message


@pytest.mark.parametrize(
    ("kind", "answer"), [("int", "many"), ("json", "{"), ("yaml", "[1"), ("float", "x")]
)
def test_an_answer_of_the_wrong_type_names_the_question(
    tmp_path: Path, kind: str, answer: str
) -> None:
    question = f"{QUESTIONS}size:\n  type: {kind}\n  default: 3\n"
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"copier.yml": question})
    with pytest.raises(MlscaffoldError, match="answer to size is not allowed"):
        both(step(folder), tmp_path, data={"size": answer})


def test_all_that_has_to_be_answered_is_told_at_once(tmp_path: Path) -> None:
    new = (
        "name:\n  type: str\ncolour:\n  type: str\n  choices: [green, blue]\n  default: green\n"
        "size:\n  type: int\n"
        "double:\n  type: int\n  default: '{{ size * 2 }}'\n"
        "shape:\n  type: str\n  choices: [round, flat]\n  default: square\n"
    )
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"copier.yml": new})
    with pytest.raises(MlscaffoldError) as caught:
        both(step(folder), tmp_path)
    assert caught.value.message == (
        "The question size is new and has no default. "
        "The default of the question shape is not allowed: 'square' is not in ['round', 'flat']. "
        "The answer 'red' to colour is no longer allowed: 'red' is not in ['green', 'blue']. "
        "Answer them: --data size=ANSWER --data shape=ANSWER --data colour=ANSWER"
    )


def test_an_answer_that_is_a_list_where_none_can_be_is_refused_with_the_type(
    tmp_path: Path,
) -> None:
    question = f"{QUESTIONS}size:\n  type: int\n  default: 3\n"
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"copier.yml": question})
    with pytest.raises(MlscaffoldError, match=r"answer to size is not allowed: .+ int"):
        both(step(folder), tmp_path, data={"size": [1]})


def test_a_broken_question_is_named(tmp_path: Path) -> None:
    question = f"{QUESTIONS}size:\n  type: int\n  secret: true\n"
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"copier.yml": question})
    with pytest.raises(MlscaffoldError, match="question size is broken: secret: "):
        both(step(folder), tmp_path)


def test_a_question_that_became_computed_is_computed(tmp_path: Path) -> None:
    new = QUESTIONS.replace("default: red", "when: false\n  default: '{{ name }}!'")
    folder = made(
        tmp_path, {"copier.yml": QUESTIONS, "a.jinja": "{{ colour }}"}, {"copier.yml": new}
    )
    _, rendered = both(step(folder), tmp_path)
    assert tree(rendered.folder)["a"] == b"ann!"


def test_both_render_as_an_update_in_a_folder_of_the_projects_name(tmp_path: Path) -> None:
    exclude = "_exclude: [\"{% if _copier_operation == 'update' %}once{% endif %}\", copier.yml]\n"
    files = {"copier.yml": exclude, "once": "", "a.jinja": "{{ _folder_name }}"}
    folder = made(tmp_path, files, {"b": ""})
    old, new = both(step(folder), tmp_path)
    assert "once" in tree(folder)
    assert "once" not in {**tree(old.folder), **tree(new.folder)}
    assert tree(old.folder)["a"] == tree(new.folder)["a"] == b"p"


@pytest.mark.parametrize(("answer", "is_there"), [("true", True), ("false", False)])
def test_the_new_exclude_counts_for_both(tmp_path: Path, answer: str, is_there: bool) -> None:
    exclude = (
        f"docker:\n  type: bool\n  default: {answer}\n"
        '_exclude: [copier.yml, "{% if not docker %}Dockerfile{% endif %}"]\n'
    )
    folder = made(tmp_path, {"copier.yml": "", "Dockerfile": "1"}, {"copier.yml": exclude})
    for rendered in both(step(folder), tmp_path):
        assert ("Dockerfile" in tree(rendered.folder)) is is_there


def test_external_data_are_the_projects(tmp_path: Path) -> None:
    files = {
        "copier.yml": "_external_data:\n  other: other.yml\n",
        "a.jinja": "{{ _external_data.other.x }}",
    }
    source = template(tmp_path / "t", files, {"b": ""})
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "other.yml").write_text("x: 7\n")
    old, new = both(step(project(source, tmp_path / "p")), tmp_path)
    assert tree(old.folder)["a"] == tree(new.folder)["a"] == b"7"


def test_external_data_outside_the_project_are_refused(tmp_path: Path) -> None:
    files = {"copier.yml": "", "a.jinja": ""}
    new = {
        "copier.yml": "_external_data:\n  other: ../secret.yml\n",
        "a.jinja": "{{ _external_data.other.x }}",
    }
    folder = made(tmp_path, files, new)
    (tmp_path / "secret.yml").write_text("x: 7\n")
    with pytest.raises(MlscaffoldError, match=r"secret\.yml"):
        both(step(folder), tmp_path)


def test_extensions_need_trust_and_tasks_only_where_they_run(tmp_path: Path) -> None:
    folder = made(tmp_path, {"copier.yml": ""}, {"copier.yml": "_tasks: [touch x]\n"})
    found = step(folder)
    versions.check_trust(found, trusted=False, runs_code=False)
    versions.check_trust(found, trusted=False, runs_code=True, skip_tasks=True)
    with pytest.raises(MlscaffoldError, match=r"\(tasks\)"):
        versions.check_trust(found, trusted=False, runs_code=True)
    commit(tmp_path / "t", {"copier.yml": "_jinja_extensions: [jinja2.ext.do]\n"}, tag="v3")
    with pytest.raises(MlscaffoldError, match="jinja extensions"):
        versions.check_trust(step(folder), trusted=False, runs_code=False)
    with pytest.raises(MlscaffoldError):
        both(step(folder), tmp_path)


def test_migrations_run_in_the_project_with_copiers_variables(tmp_path: Path) -> None:
    migrations = (
        "_migrations:\n  - version: v2\n    command: echo $VERSION_FROM $VERSION_TO $STAGE >> log\n"
        "    when: \"{{ _stage == 'before' }}\"\n  - version: v1\n    command: touch never\n"
    )
    found = step(made(tmp_path, {"copier.yml": ""}, {"copier.yml": migrations}))
    with pytest.raises(MlscaffoldError, match="migrations"):
        versions.check_trust(found, trusted=False, runs_code=True)
    versions.run_migrations(found, "before")
    assert tree(tmp_path / "p")["log"] == b"v1 v2 before\n"
    assert "never" not in tree(tmp_path / "p")


def test_tasks_run_in_the_project_as_an_update(tmp_path: Path) -> None:
    tasks = "name:\n  default: ann\n_tasks: ['echo {{ name }} {{ _copier_operation }} > log']\n"
    found = step(made(tmp_path, {"copier.yml": ""}, {"copier.yml": tasks}))
    _, new = both(found, tmp_path, trusted=True)
    versions.run_tasks(found, new)
    assert tree(tmp_path / "p")["log"] == b"ann update\n"


def test_the_recorded_version_is_rendered_alone(tmp_path: Path) -> None:
    folder = made(tmp_path, {"copier.yml": QUESTIONS, "a": "1"}, {"a": "2"})
    rendered = versions.render_recorded(step(folder), tmp_path / "own" / "p")
    assert tree(rendered.folder) == tree(folder)


def test_a_person_is_asked_what_is_new_and_what_is_no_longer_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = (
        QUESTIONS.replace("default: red", "choices: [blue]\n  default: blue")
        + "size:\n  default: 3\n"
    )
    folder = made(tmp_path, {"copier.yml": QUESTIONS}, {"copier.yml": new})
    asked = []

    def answer(questions: list[Any], **_options: Any) -> dict[str, Any]:
        asked.append(name := questions[0]["name"])
        return {name: {"colour": "blue", "size": 7}[name]}

    monkeypatch.setattr(_main, "unsafe_prompt", answer)
    _, rendered = both(step(folder), tmp_path, ask=True)
    assert asked == ["colour", "size"]
    assert rendered.defaults == {}
    assert b"colour: blue\nname: ann\nsize: 7\n" in tree(rendered.folder)[".copier-answers.yml"]
