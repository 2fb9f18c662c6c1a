"""The CI that a project has on each forge, and its command lines."""

from __future__ import annotations

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


def ci_steps(project: Path, forge: str) -> list[str]:
    """The command lines of the job that tests the project."""
    first = pipelines(project, forge)[0]
    if forge == "github":
        return list(steps(first["jobs"]["test"]))
    if forge == "gitlab":
        return [*first["default"]["before_script"], *first["ci"]["script"]]
    [job] = [job for job in first["jobs"] if job["job"] == "ci"]
    return list(steps(job))
