from __future__ import annotations

import pytest

from mlscaffold import output


def test_tree_draws_folders_after_files() -> None:
    drawn = output.tree("churn", ["src/churn/cli.py", "src/a.py", "README.md"])
    assert drawn.splitlines() == [
        "churn/",
        "├── src/",
        "│   ├── churn/",
        "│   │   └── cli.py",
        "│   └── a.py",
        "└── README.md",
    ]


def test_a_step_is_one_plain_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with output.step("environment", "uv sync") as step:
        step.detail = "uv"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("✓ environment      uv ")


def test_a_step_that_fails_claims_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="x"), output.step("environment"):
        raise OSError("x")
    assert capsys.readouterr().err == ""


def test_plain_text_has_nothing_that_a_terminal_obeys() -> None:
    shown = output.plain("a\x1b[31mb\rc\td\ne\u202ef" + "\udcff")
    assert shown == "a�[31mb�c\td\ne�f�"


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
@pytest.mark.parametrize("name", ["demo", "a-name-as-long-as-a-name-of-a-project-can-be-50-signs"])
def test_what_to_type_next_fits_and_keeps_each_command_whole(
    columns: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setattr(output, "width", lambda: columns)
    following = [(f"cd {name}", ""), (f"uv run {name} retrain", "train and judge a first model")]
    lines = output.next_lines(following)
    assert lines[0] == f"Next:  cd {name}"
    assert any(typed in line for line in lines for typed, _ in following[1:])
    too_long = [line for line in lines if len(line) > columns]
    assert all(line.strip().startswith(("Next:", "uv run")) for line in too_long)
    assert not any("retrain" in line and "judge" in line for line in too_long)
    assert not any(line.endswith(" ") for line in lines)
