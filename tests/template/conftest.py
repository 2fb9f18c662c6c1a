"""Renders of the template in the working tree, shared by the tests of a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_copie.plugin import Copie

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it lies in the working tree, without the repository's history around it."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copy(ROOT / "copier.yml", folder)
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(ROOT / "template", folder / "template", ignore=ignore)
    return folder


@pytest.fixture(scope="session")
def render(copie_session: Copie, template: Path) -> Callable[[dict[str, Any]], Path]:
    """Renders a project with some answers, once per set of answers."""
    done: dict[str, Path] = {}

    def render(answers: dict[str, Any]) -> Path:
        if repr(answers) not in done:
            result = copie_session.copy(extra_answers=answers, template_dir=template)
            if result.exception:
                raise result.exception
            assert result.project_dir is not None
            done[repr(answers)] = result.project_dir
        return done[repr(answers)]

    return render
