"""The CI that a project has on each forge, and its command lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

WORKFLOWS = ("ci", "deploy", "retrain", "template", "train")
FILES = {
    "github": [f".github/workflows/{name}.yml" for name in WORKFLOWS],
    "gitlab": [".gitlab-ci.yml", ".gitlab/retrain.yml"],
    "azure": ["azure-pipelines.yml", ".azure/deploy.yml", ".azure/retrain.yml"],
}


def pipelines(project: Path, forge: str) -> list[Any]:
    return [yaml.safe_load((project / name).read_text(encoding="utf-8")) for name in FILES[forge]]


def steps(node: Any) -> Iterator[str]:
    """Every command line of a pipeline or a job, in their order, whatever the forge calls it."""
    for key, value in node.items() if isinstance(node, dict) else ():
        if key in {"run", "script", "bash", "before_script"}:
            yield from [value] if isinstance(value, str) else value
        else:
            yield from steps(value)
    for value in node if isinstance(node, list) else ():
        yield from steps(value)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a pipeline."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict | list):
            yield from nodes(value)


def job_steps(project: Path, forge: str, name: str) -> list[dict[str, Any]]:
    """The steps of a job that run a command, as its pipeline has them."""
    every = list(nodes(pipelines(project, forge)))
    if forge == "gitlab":
        lines = [*every[0]["default"]["before_script"], *every[0][name]["script"]]
        return [{"script": line} for line in lines]
    found = [node for node in every if name in (node.get("job"), node.get("deployment"))]
    found += [node["jobs"][name] for node in every if name in (node.get("jobs") or ())]
    job = found[0]
    listed = job.get("steps") or job["strategy"]["runOnce"]["deploy"]["steps"]
    kept = [step for step in listed if {"run", "script", "bash"} & step.keys()]
    return [step | {"env": job.get("env", {}) | step.get("env", {})} for step in kept]


def command(step: dict[str, Any]) -> str:
    return str(next(step[key] for key in ("run", "script", "bash") if key in step))


def filled(text: str, given: dict[str, str]) -> str:
    """A text with the values of a forge's variables and secrets in it.

    For one that is not given GitHub has "", and Azure the text as it stands.
    """

    def value(match: re.Match[str]) -> str:
        named = re.findall(r"[\w.]+", match[1] or match[2])
        names = (re.sub(r"^(secrets|vars)\.", "", name).upper() for name in named)
        values = (given.get(name.replace(".", "_")) for name in names)
        return next(filter(None, values), "" if match[1] else match[0])

    return re.sub(r"\$\{\{(.*?)\}\}|\$\(([\w.]+)\)", value, text)
