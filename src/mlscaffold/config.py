"""The organisation's settings: template, answers that need no asking, and whom to trust."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mlscaffold import files
from mlscaffold.errors import MlscaffoldError, unknown


@dataclass(frozen=True)
class Config:
    """What `config.toml` may hold.

    template: address of the template, instead of the built-in one
    answers: a table of answers to the template's questions, which are then not asked
    trust: addresses whose templates may run code; one that ends in "/" trusts all below it
    """

    template: str | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    trust: tuple[str, ...] = ()


def path() -> Path:
    """`MLSCAFFOLD_CONFIG`, else config.toml in the platform's config folder."""
    if given := os.environ.get("MLSCAFFOLD_CONFIG"):
        return Path(given)
    from platformdirs import user_config_path

    return user_config_path("mlscaffold", appauthor=False) / "config.toml"


def load() -> Config:
    """The settings; without a file, none. Raises MlscaffoldError naming the line or the key."""
    file = path()
    try:
        found = files.read_toml(file)
    except FileNotFoundError:
        if "MLSCAFFOLD_CONFIG" in os.environ:
            raise MlscaffoldError(
                f"MLSCAFFOLD_CONFIG names {file}, which does not exist."
            ) from None
        return Config()
    try:
        return _parse(found)
    except MlscaffoldError as error:
        raise MlscaffoldError(f"{file}: {error.message}") from None


def _parse(data: Mapping[str, Any]) -> Config:
    valid = [setting.name for setting in fields(Config)]
    for key in data:
        if key not in valid:
            raise unknown("key", key, valid)
    template, answers, trust = data.get("template"), data.get("answers", {}), data.get("trust", [])
    if template is not None and not isinstance(template, str):
        raise MlscaffoldError('template has to be text: template = "https://host/group/template"')
    if not isinstance(answers, dict):
        raise MlscaffoldError("answers has to be a table: [answers], then one line for each.")
    if not isinstance(trust, list) or not all(isinstance(entry, str) for entry in trust):
        raise MlscaffoldError(
            'trust has to be a list of addresses: trust = ["https://host/group/"]'
        )
    return Config(template, answers, tuple(trust))
