"""What Renovate keeps up here: every pin of the template is one that its settings find."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PINS = {
    "github-actions": r"uses: \S+@[0-9a-f]{40} # v[\d.]+",
    "dockerfile": r"ARG \w+=\S+:\S+",
    "docker-compose": r"image: [\w/]+:v[\d.]+",
    "devcontainer": r"\"image\": \"\w+:[\d.]+\"",
    "regex": r"uv==[\d.]+|pip-audit@[\d.]+|version: \d+[\d.]+|image: ghcr\S+",
}


@pytest.fixture
def settings() -> dict[str, Any]:
    return dict(json.loads((ROOT / ".github/renovate.json").read_text(encoding="utf-8")))


def pinned(pin: str, *, below: str) -> dict[str, int]:
    """How many pins of a kind each file of the template has."""
    counts = {}
    for path in (ROOT / "template").rglob("*.jinja"):
        name = path.relative_to(ROOT).as_posix()
        if re.search(below, name):
            counts[name] = len(re.findall(pin, path.read_text(encoding="utf-8")))
    return {name: count for name, count in counts.items() if count}


def fits(manager: dict[str, Any], name: str) -> bool:
    return any(re.search(pattern[1:-1], name) for pattern in manager["managerFilePatterns"])


def read_by_expressions(settings: dict[str, Any], name: str) -> Iterator[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    for manager in settings["customManagers"]:
        if fits(manager, name):
            for expression in manager["matchStrings"]:
                yield from re.findall(expression.replace("(?<", "(?P<"), text)


@pytest.mark.parametrize(
    ("manager", "below"),
    [
        ("github-actions", r"/\.github/"),
        ("dockerfile", r"Dockerfile"),
        ("docker-compose", r"compose\.yaml"),
        ("devcontainer", r"devcontainer"),
    ],
)
def test_a_manager_reads_each_file_that_has_pins(
    settings: dict[str, Any], manager: str, below: str
) -> None:
    names = pinned(PINS[manager], below=below)
    assert names
    assert all(fits(settings[manager], name) for name in names)


def test_expressions_read_what_no_manager_does(settings: dict[str, Any]) -> None:
    names = pinned(PINS["regex"], below=r"/\.(github|gitlab|azure)|azure-pipelines")
    assert len(names) > 5
    for name, count in names.items():
        assert len(list(read_by_expressions(settings, name))) == count, name
