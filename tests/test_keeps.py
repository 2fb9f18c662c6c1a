"""What scripts/keeps.py plays: our updates keep what it says they keep, and its page is current."""

from __future__ import annotations

import re
from pathlib import Path

import keeps
import pytest
from keeps_cases import CASES, Case, Project, has_mine
from keeps_updaters import Copier, Mlscaffold, write
from repositories import git

ROOT = Path(__file__).parent.parent


def case(part: str) -> Case:
    (found,) = (case for case in CASES if part in case.title)
    return found


@pytest.mark.parametrize(
    ("title", "verdict", "code"),
    [
        ("Both change the same line", "conflict", 1),
        ("The same, ignored by git", "kept", 1),
        ("A task changes a file and then fails", "refused", 2),
        ("The template deletes a file", "kept", 1),
        ("The template renames a file", "kept", 0),
    ],
)
def test_our_update_keeps_the_users_work(
    title: str, verdict: str, code: int, tmp_path: Path
) -> None:
    outcome = keeps.judge(case(title), Mlscaffold(), tmp_path)
    assert (outcome.verdict, outcome.code, outcome.is_truthful) == (verdict, code, True)


@pytest.mark.slow
@pytest.mark.parametrize("one", CASES, ids=lambda one: one.title)
def test_our_update_is_safe_and_truthful(one: Case, tmp_path: Path) -> None:
    outcome = keeps.judge(one, Mlscaffold(), tmp_path)
    assert (outcome.is_safe, outcome.is_truthful) == (True, True), outcome


@pytest.mark.slow
def test_our_update_that_is_killed_leaves_old_or_new(tmp_path: Path) -> None:
    assert keeps.judge_killed(Mlscaffold(), tmp_path, kills=4).verdict == "kept"


def test_a_loss_is_seen(tmp_path: Path) -> None:
    outcome = keeps.judge(case("The template deletes a file"), Copier(), tmp_path)
    assert str(outcome) == "**lost** · 0 ✗"


@pytest.mark.parametrize(
    ("files", "verdict"),
    [
        ({"a": "MINE\nTHEIRS\n"}, "kept"),
        ({"a": "THEIRS\n"}, "lost"),
        ({"a": "MINE\n"}, "incomplete"),
        ({"a": "<<<<<<< yours\nMINE\n=======\nTHEIRS\n>>>>>>> new\n"}, "conflict"),
        ({"a": "MINE\n", "a.rej": "+THEIRS\n"}, "conflict"),
    ],
)
def test_files_are_judged_by_what_is_left(
    files: dict[str, str], verdict: str, tmp_path: Path
) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, files)
    project = Project(tmp_path, tmp_path)
    assert keeps.verdict(Case("", {}, {}), project, is_refused=False) == verdict
    assert has_mine(project) is (verdict != "lost")


def test_the_page_has_every_case_and_no_other() -> None:
    text = (ROOT / "docs" / "updaters.md").read_text("utf-8")
    table = text.partition("| case |")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| ([^|]+?) \|", table)
    assert rows == keeps.titles()


def test_the_page_says_of_us_that_nothing_is_lost() -> None:
    text = (ROOT / "docs" / "updaters.md").read_text("utf-8")
    number = len(keeps.titles())
    (total,) = re.findall(r"kept, refused or shown as a conflict\*\* .* (\d+ of \d+) \|\n", text)
    assert total == f"{number} of {number}"
