"""The pinned development environment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requirements


@pytest.mark.slow
def test_pins_are_what_the_dependencies_resolve_to(tmp_path: Path) -> None:
    again = tmp_path / "requirements-dev.txt"
    shutil.copyfile(requirements.PINS, again)
    requirements.compile_pins(again)
    assert again.read_text() == requirements.PINS.read_text()


def test_pins_name_no_address() -> None:
    assert "://" not in requirements.PINS.read_text()
