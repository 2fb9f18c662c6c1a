"""Names and answers that a project may have; copier.yml holds the same rules for plain Copier."""

from __future__ import annotations

import keyword
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlscaffold import credentials
from mlscaffold.errors import MlscaffoldError

NAME = re.compile(r"[a-z]([a-z0-9_-]{0,48}[a-z0-9])?")
LONGEST_FOLDER = 100
LONGEST_ANSWER = 2000

WINDOWS = {"con", "prn", "aux", "nul"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in range(10)
}
# One list for every Python that a project may run on: `type` is a word of the language since 3.12.
KEYWORDS = {word.lower() for word in (*keyword.kwlist, *keyword.softkwlist, "type")}
# The packages and programs of a project's environment, by the names to install and to import.
PACKAGES = set(
    """
    alembic attr attrs click conftest copier cryptography dask dateutil detect_secrets docs dvc
    fastapi fsspec git h11 httpx ibis jinja2 joblib kubernetes lightgbm matplotlib mlflow
    mlflow_skinny mlscaffold mypy nbformat nbstripout numpy optuna packaging pandas
    pandas_stubs pandera pip pluggy pre_commit pre_commit_hooks prometheus_client psutil
    pyarrow pydantic pygments pygit2 pytest pytest_cov python pyyaml ray requests rich
    ruamel ruff scikit_learn scipy setuptools sklearn skops sqlalchemy src starlette
    statsmodels tabulate tests threadpoolctl torch tqdm types_pyyaml typing_extensions urllib3 uv
    uvicorn wheel xgboost yaml
    """.split()  # noqa: SIM905 - a table to read
)

# Control characters, and characters without a width that change how the text around them is shown.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_TEMPLATE_SYNTAX = re.compile(r"\{\{|\{%|\{#")


def check_destination(destination: Path) -> None:
    """Raises unless destination can become a new folder: a sane name, and nothing there yet."""
    name = destination.name
    if ".." in destination.parts:
        raise MlscaffoldError(
            f"{_shown(destination)}: leave out '..'; give the folder's whole path instead."
        )
    if problem := _folder_problem(name):
        raise MlscaffoldError(f"{_shown(destination)}: the folder's name {problem}.")
    if destination.is_dir():
        if any(destination.iterdir()):
            raise MlscaffoldError(
                f"{_shown(destination)} exists and is not empty; name another folder."
            )
    elif os.path.lexists(destination):
        raise MlscaffoldError(f"{_shown(destination)} is a file; name another folder.")


def project_name(destination: Path) -> str:
    """The project's name that a folder of this name suggests: `My Churn` gives `my-churn`."""
    return re.sub(r"[ .]", "-", destination.name.lower())


def check_project_name(name: str) -> None:
    """Raises unless name can be a package, a command and a folder on every system."""
    if not NAME.fullmatch(name):
        raise MlscaffoldError(
            f"project_name {_shown(name)}: a name starts with a letter and has at most 50 "
            'lower-case letters, digits, "-" and "_"; for example churn-model.'
        )
    if owner := reserved_by(name):
        raise MlscaffoldError(
            f'project_name "{name}" is taken by {owner}; add a word, for example {name}-model.'
        )


def reserved_by(name: str) -> str | None:
    """Who already uses name as the name of a package; None if it is free."""
    package = name.replace("-", "_")
    owners: dict[str, Iterable[str]] = {
        "Python's language": KEYWORDS,
        "Windows": WINDOWS,
        "a package or folder of the project": PACKAGES,
        "Python's standard library": sys.stdlib_module_names,
    }
    return next((owner for owner, names in owners.items() if package in names), None)


def check_answers(answers: Mapping[str, Any]) -> None:
    """Raises if an answer holds a credential, an unseen character or template syntax."""
    refuse_credentials(answers)
    for question, answer in answers.items():
        for text in _texts(answer):
            if problem := _text_problem(text, LONGEST_ANSWER):
                raise MlscaffoldError(f"{question}: the answer {problem}; write it without.")


def refuse_credentials(answers: Mapping[str, Any], *, again: bool = False) -> None:
    """Raise if an answer holds a credential; with again, it stands in the project already."""
    for question, answer in answers.items():
        kind = next(filter(None, map(credentials.find, _texts(answer))), None)
        if kind and again:
            raise MlscaffoldError(
                f"{question}: the recorded answer holds what looks like {kind}, and git has it "
                "too. Replace it where it was made, set NAME to the new one in the environment, "
                f"and add --data '{question}=...', with ${{NAME}} in its place."
            )
        if kind:
            raise MlscaffoldError(
                f"{question}: the answer holds what looks like {kind}, and it would be written "
                "into the project; write ${NAME} and set NAME in the environment."
            )


def _texts(answer: Any) -> Iterable[str]:
    """Yield each text in an answer; what stands in it several times is looked at once."""
    waiting, seen = [answer], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, Mapping):
                waiting.extend((*value.keys(), *value.values()))
            elif isinstance(value, (list, tuple)):
                waiting.extend(value)


def _folder_problem(name: str) -> str | None:
    if not name:
        return "is empty"
    if name.startswith("-"):
        return "starts with '-', which commands take for an option"
    if name.split(".")[0].strip().lower() in WINDOWS:
        return "belongs to a device on Windows"
    if re.search(r'[<>:"/\\|?*]', name) or name.endswith((".", " ")):
        return "has a character that Windows refuses"
    return _text_problem(name, LONGEST_FOLDER)


def _text_problem(text: str, longest: int) -> str | None:
    if len(text) > longest:
        return f"has {len(text)} characters, of {longest} allowed"
    if _UNSEEN.search(text):
        return "holds a control character or one that cannot be seen"
    if _TEMPLATE_SYNTAX.search(text):
        return "holds template syntax ({{, {% or {#)"
    return None


def _shown(name: object) -> str:
    """A name as it can be printed on one line, short and with escapes for what cannot be seen."""
    text = ascii(str(name)) if _UNSEEN.search(str(name)) else str(name) or '""'
    return text if len(text) <= 60 else f"{text[:57]}..."
