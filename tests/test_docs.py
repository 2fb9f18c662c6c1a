"""The reference pages say what the code says."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def docs() -> ModuleType:
    """scripts/docs.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_script", ROOT / "scripts" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_current() -> None:
    """In a process of its own: other tests change commands while they run."""
    command = [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_changed_page_is_stale(
    docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    (tmp_path / "commands.md").write_text(docs.commands_page(), "utf-8")
    (tmp_path / "questions.md").write_text(docs.questions_page() + "more\n", "utf-8")
    assert docs.stale_pages() == ["questions.md", "gates.md"]


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(((?!https?:)[^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(("heading", "least"), [("What can run", 15), ("Secrets", 5)])
def test_each_line_of_a_table_of_trust_has_a_test(heading: str, least: int) -> None:
    """The tests that the page names are there, and no line is without one."""
    page = (ROOT / "docs" / "trust.md").read_text("utf-8")
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "template").rglob("test_*.py.jinja")]
    written = "\n".join(path.read_text("utf-8") for path in files)
    section = page.partition(f"## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(lines) > least
    for line in lines:
        tests = re.findall(r"`(test_\w+)`", line.split("|")[-2])
        assert tests, line
        for name in tests:
            assert f"def {name}(" in written, name
