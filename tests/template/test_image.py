"""The project's image answers as a user without rights, and writes nothing."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import image
import pytest
from generated import Render, champion, demo, start

pytestmark = pytest.mark.slow
NAME = "localhost/mlscaffold-test"


@pytest.mark.skipif(bool(image.missing()), reason=f"building an image needs {image.missing()}")
def test_image_gives_the_answers_of_the_project(render: Render) -> None:
    project = render({"project_name": "demo", "license": "MIT"})
    start(project)
    assert "PROMOTE" in demo(project, "retrain")
    batch = min((project / "data/raw").glob("*.parquet"))
    demo(project, "predict", str(batch), "predictions.jsonl")
    lines = (project / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    config = image.build(project, NAME)
    assert config["User"] not in {"", "0", "root"}
    with image.served(NAME, config) as address:
        answer = ask(f"{address}/predict", {"rows": [features(row) for row in rows]})
    assert answer["model"] == champion(project)
    assert answer["predictions"] == [row["prediction"] for row in rows]


def features(row: dict[str, object]) -> dict[str, object]:
    return {name: row[name] for name in ("date", "precipitation", "temp_max", "temp_min", "wind")}


def ask(address: str, body: dict[str, object]) -> dict[str, object]:
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as answer:
        return dict(json.load(answer))
