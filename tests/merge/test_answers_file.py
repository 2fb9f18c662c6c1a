from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from projects import LONG, edit, kinds, planned, project, template
from repositories import commit, git

from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, journal
from mlscaffold.merge.answers_file import merge_texts

BASE = "# by the template\n_commit: v1\n_src_path: t\nname: ann\nold: gone\n"
THEIRS = "# by the template\n_commit: v2\n_src_path: t\nmany: [1]\nname: bob\nnew: z\n"


def merged(ours: str, base: str = BASE, theirs: str = THEIRS) -> str:
    old, mine, new = map(yaml.safe_load, (base, ours, theirs))
    own = {key: value for key, value in mine.items() if key not in {**old, **new}}
    text = merge_texts(base, ours, theirs, own=own)
    assert yaml.safe_load(text) == {**new, **own}
    return text


def test_answers_are_the_new_ones_in_the_order_of_the_template() -> None:
    assert merged(BASE) == THEIRS


def test_keys_and_comments_of_the_user_stay_where_they_are() -> None:
    ours = (
        "# mine above\n"
        + BASE.replace("name: ann\n", "# who\nname: ann  # our name\nowner: x\n\n")
        + "list:\n  - a  # first\n  # inside\n  - b\n# the end\n"
    )
    assert merged(ours) == (
        "# mine above\n# by the template\n_commit: v2\n_src_path: t\nmany: [1]\n# who\n"
        "# our name\nname: bob\nnew: z\nowner: x\n\n"
        "list:\n  - a  # first\n  # inside\n  - b\n# the end\n"
    )


def test_a_comment_in_an_answer_that_stays_stays_in_it() -> None:
    ours = BASE.replace("_src_path: t\n", "_src_path: t  # the fork\n")
    assert "_src_path: t  # the fork\n" in merged(ours)


def test_a_comment_beside_a_question_that_vanished_stays() -> None:
    assert "# because of x\n" in merged(BASE.replace("old: gone", "old: gone  # because of x"))


def test_text_of_an_answer_that_looks_like_a_comment_is_none() -> None:
    ours = BASE + "note: |\n  # no comment\n  more\n\nquoted: 'a # b'\n"
    assert merged(ours).endswith("note: |\n  # no comment\n  more\n\nquoted: 'a # b'\n")


@pytest.mark.parametrize(
    "ours",
    [
        "{_commit: v1, _src_path: t, name: ann, old: gone, owner: x}\n",
        "? _commit\n: v1\n? owner\n: x\n",
        "# c\n_commit: v1\nowner: &a x\ntwice: *a\nname: *a\n",
        "---\n_commit: v1\nowner: x\n...\n",
        "_commit: v1\nowner: x",
        "%YAML 1.1\n---\n_commit: v1\nowner: x\n",
    ],
)
def test_a_file_of_any_form_keeps_the_users_keys(ours: str) -> None:
    assert "owner" in yaml.safe_load(merged(ours))


def test_a_users_own_lines_survive_updates(tmp_path: Path) -> None:
    config = {"copier.yml": "name: ann\n", "a": LONG}
    template(tmp_path / "t", config, {"copier.yml": "name: ann\nnew: z\n"}, {"a": "3\n"})
    folder = project(tmp_path / "t", tmp_path / "p")
    file = folder / ".copier-answers.yml"
    edit(folder, {file.name: f"# team\n{file.read_text()}_subdirectory: use\nowner: x\n# end\n"})
    for tag in ("v2", "v3"):
        with planned(folder, tag) as plan, journal.locked(plan.objects.repository):
            apply.apply([plan])
        git(folder, "commit", "-qam", tag)
        text = file.read_text()
        assert text.startswith(f"# team\n_commit: {tag}\n")
        assert text.endswith("name: ann\nnew: z\n_subdirectory: use\nowner: x\n# end\n")


def test_a_version_that_renders_no_answers_file_is_refused(tmp_path: Path) -> None:
    name = "{% if keep %}{{ _copier_conf.answers_file }}{% endif %}.jinja"
    old = {"copier.yml": "keep: true\n", "a": "1\n"}
    source = template(tmp_path / "t", old)
    git(source, "mv", "{{ _copier_conf.answers_file }}.jinja", name)
    commit(source, {"a": "2\n"}, tag="v2")
    folder = project(source, tmp_path / "p")
    with planned(folder) as plan:
        assert kinds(plan) == {"a": "update"}
    message = r"renders no answers file \(\.copier-answers\.yml\).*--data NAME=ANSWER"
    with pytest.raises(MlscaffoldError, match=message), planned(folder, data={"keep": "false"}):
        pass
