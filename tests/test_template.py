from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from copier import _main
from repositories import TEMPLATE, git, tree, write

from mlscaffold import store, template, worker
from mlscaffold.errors import MlscaffoldError
from mlscaffold.template import Template

Make = Callable[..., Path]


def source(folder: Path) -> Template:
    return template.read(store.check_out(str(folder), None))


AWKWARD = {
    **TEMPLATE,
    "copier.yml": TEMPLATE["copier.yml"] + "many:\n  type: yaml\n  default: [a, b]\n"
    "_exclude: [\"{% if colour == 'red' %}blue.txt{% endif %}\"]\n",
    "blue.txt": "",
    "{% yield one from many %}{{ one }}{% endyield %}/x.txt.jinja": "{{ one }}\n",
    "{% if name %}on{% endif %}.txt": "",
    "{% if not name %}off{% endif %}.txt": "",
    "with.bin": "\x00\x01",
}


@pytest.mark.parametrize("colour", ["red", "blue"])
def test_the_fast_render_equals_copiers(repository: Make, tmp_path: Path, colour: str) -> None:
    folder = repository(AWKWARD)
    (folder / "run.sh").write_text("")
    (folder / "run.sh").chmod(0o755)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x")
    git(folder, "tag", "v2")
    found = source(folder)
    answers = {"name": "ann", "colour": colour}
    template.render(found, tmp_path / "fast" / "p", answers, ask=False)
    template.render_plainly(found, tmp_path / "plain" / "p", answers)
    fast = tree(tmp_path / "fast" / "p")
    assert fast == tree(tmp_path / "plain" / "p")
    assert {"ann/as-it-is.txt", "a/x.txt", "b/x.txt", "on.txt", "run.sh"} <= fast.keys()
    assert (tmp_path / "fast" / "p" / "run.sh").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("options", "default", "expected"),
    [
        ("{}", "{ no tag } %}", "{ no tag } %}"),
        ("{}", "{{ 1 + 1 }}", "2"),
        ("{}", "a{# no #}b", "ab"),
        ("{variable_start_string: '[[', variable_end_string: ']]'}", "{{ 1 }}", "{{ 1 }}"),
        ("{variable_start_string: '[[', variable_end_string: ']]'}", "[[ 1 ]]", "1"),
        ("{line_statement_prefix: '%%'}", "%% set y = 1", ""),
        ("{line_comment_prefix: '##'}", "a ## no", "a"),
    ],
)
def test_text_without_a_tag_stays_as_it_is(
    repository: Make, tmp_path: Path, options: str, default: str, expected: str
) -> None:
    config = f"_envops: {options}\nname:\n  type: str\n  default: '{default}'\n"
    found = source(repository({"copier.yml": config}))
    answers = template.render(found, tmp_path / "fast" / "p", {}, ask=False).answers
    plain = template.render_plainly(found, tmp_path / "plain" / "p", {}).answers.combined
    assert answers["name"] == plain["name"] == expected


def test_render_falls_back_to_copiers_own(
    repository: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "can_render_fast", lambda: False)
    folder = tmp_path / "p"
    answers = template.render(source(repository()), folder, {"name": "ann"}, ask=False).answers
    assert answers == {"name": "ann", "colour": "red"}
    assert (tmp_path / "p" / "hello.txt").read_text() == "hello ann, red\n"


def test_this_copier_can_render_fast() -> None:
    assert template.can_render_fast()


def test_the_answers_file_records_what_copier_understands(repository: Make, tmp_path: Path) -> None:
    folder = repository()
    template.render(source(folder), tmp_path / "p", {}, ask=False)
    recorded = (tmp_path / "p" / ".copier-answers.yml").read_text()
    assert "_commit: v1.0.0\n" in recorded
    assert f"_src_path: {folder}\n" in recorded


@pytest.mark.parametrize(
    ("answers", "words"),
    [({"colour": "green"}, "colour.*green"), ({"colour": None}, "colour")],
)
def test_a_refused_answer_is_one_line(
    repository: Make, tmp_path: Path, answers: dict[str, Any], words: str
) -> None:
    with pytest.raises(MlscaffoldError, match=words) as caught:
        template.render(source(repository()), tmp_path / "p", answers, ask=False)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.txt.jinja": "{{ oops"}, "line 1"),
        ({"a.txt.jinja": "{{ 1 / 0 }}"}, "division by zero"),
        ({"a.txt.jinja": "{{ nothing.there }}"}, "undefined"),
    ],
)
def test_an_error_in_a_template_is_one_line(
    repository: Make, tmp_path: Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(MlscaffoldError, match=words) as caught:
        template.render(source(repository({**TEMPLATE, **files})), tmp_path / "p", {}, ask=False)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["a: [", "a: b: c\n", "- 1\n"])
def test_a_broken_copier_yml_is_one_line(
    repository: Make, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MlscaffoldError) as caught:
        source(repository({"copier.yml": text}))
    assert "\n" not in caught.value.message
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "raised", [AssertionError(), RecursionError("too deep"), KeyError("x"), UnicodeError("odd")]
)
def test_whatever_a_template_makes_copier_raise_is_one_line(
    monkeypatch: pytest.MonkeyPatch, repository: Make, tmp_path: Path, raised: Exception
) -> None:
    found = source(repository())

    def fail(*_: object) -> None:
        raise raised

    fail.__code__ = fail.__code__.replace(co_filename="/elsewhere/copier/_main.py")
    monkeypatch.setattr(_main.Worker, "_render_template", fail)
    with pytest.raises(MlscaffoldError, match=type(raised).__name__) as caught:
        template.render(found, tmp_path / "p", {}, ask=False)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "config",
    [
        "_external_data: [1]\n",
        "q: {choices: 5}\n",
        "q: [1, 2]\n",
        "q: {type: nope, default: 1}\n",
        "_exclude: 5\n",
        "_skip_if_exists: [5, {a: b}]\n",
        "_subdirectory: [1]\n",
        "_min_copier_version: abc\n",
        "_templates_suffix: 5\n",
        "- a\n",
    ],
)
def test_settings_of_another_type_are_one_line(tmp_path: Path, config: str) -> None:
    folder = write(tmp_path / "t", {"copier.yml": config, "a": ""})
    try:
        template.render(source(folder), tmp_path / "p", {}, ask=False)
    except MlscaffoldError as error:
        refused = error.message
    else:
        refused = "no error"  # Copier takes some of them
    assert "\n" not in refused


def test_a_bug_of_ours_stays_a_bug(
    monkeypatch: pytest.MonkeyPatch, repository: Make, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "_Plain", None)
    with pytest.raises(TypeError, match="not callable"):
        template.render(source(repository()), tmp_path / "p", {}, ask=False)


def test_a_link_where_the_template_has_a_folder_is_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", {"copier.yml": "_preserve_symlinks: true\n", "{{'a'}}/b": ""})
    (folder / "a").symlink_to(tmp_path)
    with pytest.raises(MlscaffoldError, match="AssertionError"):
        template.render(source(folder), tmp_path / "p", {}, ask=False)
    assert not (tmp_path / "b").exists()


def test_warnings_of_copier_are_not_shown(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", {"copier.yml": "_min_copier_version: '8.0.0'\n", "a": ""})
    with warnings.catch_warnings(record=True) as shown:
        found = source(folder)
        template.worker(worker.FastWorker, found, tmp_path / "p")
    assert shown == []


def test_an_unknown_question_names_the_closest(repository: Make) -> None:
    with pytest.raises(MlscaffoldError, match=r"'color'\. Did you mean colour"):
        template.check_questions(source(repository()), {"color": "red"})


@pytest.mark.parametrize(
    "setting",
    ["_tasks: [touch x]", "_migrations: [touch x]", "_jinja_extensions: [jinja2.ext.do]"],
)
def test_a_template_with_code_is_refused_without_trust(repository: Make, setting: str) -> None:
    found = source(repository({**TEMPLATE, "copier.yml": setting + "\n"}))
    with pytest.raises(MlscaffoldError, match="--trust"):
        template.check_trust(found, trusted=False)
    template.check_trust(found, trusted=True)


def test_a_template_without_code_needs_no_trust(repository: Make) -> None:
    template.check_trust(source(repository()), trusted=False)


def test_unanswered_lists_every_question(repository: Make) -> None:
    found = source(repository())
    assert template.unanswered(found, "p", {"colour": "red"}) == {"name": "What is it called?"}
    assert not template.unanswered(found, "p", {"colour": "red", "name": "x"})


def test_a_folder_without_git_renders(tmp_path: Path) -> None:
    write(tmp_path / "t", TEMPLATE)
    template.render(source(tmp_path / "t"), tmp_path / "p", {}, ask=False)
    assert (tmp_path / "p" / "hello.txt").read_text() == "hello demo, red\n"
