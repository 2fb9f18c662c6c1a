"""The report of a round: one HTML file that needs nothing else, and Markdown for the pull request."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jinja2

from ..settings import Settings
from . import plots, rounds
from .names import metric_name
from .rounds import Round


def write(settings: Settings, record: Round) -> Path:
    """Writes reports/<id>/report.html and report.md, and returns the path of the first."""
    folder = rounds.folder(settings.root, record.id)
    folder.mkdir(parents=True, exist_ok=True)
    drawings = plots.draw(record)
    for name in ("report.md", "report.html"):
        text = render(f"{name}.j2", settings, record=record, drawings=drawings)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "report.html"


def render(template: str, settings: Settings, **values: Any) -> str:
    """A template that stands beside this module, with the filters that all of them use."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "signed": signed, "name": metric_name, "cell": cell}
    return environment.get_template(template).render(package=settings.package, **values)


def number(value: float | None) -> str:
    """Three decimals, or three digits of what is larger."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def signed(value: float) -> str:
    return f"{value:+.3f}"


def cell(value: Any) -> str:
    """Text that stays in its cell of a Markdown table and calls nobody."""
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;").replace("@", "&#64;")
