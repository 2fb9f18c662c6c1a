"""The project's image, made by its own command: it answers without rights, and writes nothing."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

import image
import pytest
import tools
from generated import ENVIRONMENT, Render, champion, commit, demo, start

pytestmark = pytest.mark.slow
# What makes programs, and what installs them: an image that only answers has no use for either.
BUILD_TOOLS = {
    "cc",
    "gcc",
    "g++",
    "c++",
    "clang",
    "ld",
    "as",
    "make",
    "cmake",
    "uv",
    "uvx",
    "pip",
    "pip3",
    "git",
}
# Builds what `kubectl apply -k FOLDER` would send: there is no cluster.
KUBECTL = '#!/bin/sh\n[ "$1 $2" = "apply -k" ] && exec {kubectl} kustomize "$3"\n'


@pytest.mark.skipif(bool(image.missing()), reason=f"building an image needs {image.missing()}")
@pytest.mark.skipif(not tools.kubectl(), reason="building manifests needs kubectl or npm")
def test_image_gives_the_answers_of_the_project(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A champion goes to stage, into an image, and answers over HTTP and in a batch as here."""
    (tmp_path / "kubectl").write_text(KUBECTL.format(kubectl=tools.kubectl()))
    (tmp_path / "kubectl").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PATH"]])
    for name, value in (
        ("PATH", path),
        ("CONTAINER_TOOL", "buildah"),
        ("IMAGE", "mlscaffold-test"),
        ("STORAGE_DRIVER", "vfs"),
        ("BUILDAH_ISOLATION", "chroot"),
    ):
        monkeypatch.setitem(ENVIRONMENT, name, value)
    project = render({"project_name": "demo", "license": "MIT"})
    start(project)
    assert "PROMOTE" in demo(project, "retrain")
    commit(project, "First round")
    demo(project, "promote", "--to", "stage")
    commit(project, "To stage")
    assert '["stage"]' in demo(project, "deploy", "--changed")
    assert "prod has no champion" in demo(project, "deploy", "prod", expect=(2,))

    batch = min((project / "data/raw").glob("*.parquet"))
    demo(project, "predict", str(batch), "predictions.jsonl")
    lines = (project / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    (project / "predictions.jsonl").unlink()

    image.make_bases(project)
    said = demo(project, "deploy", "stage")
    [name] = [line.split()[-1] for line in said.splitlines() if line.startswith("stage runs ")]
    assert name.startswith(f"mlscaffold-test:{champion(project)}-")
    assert said.count(f"image: {name}\n") == 2, "the app's and the batch's"
    config = image.configuration(name)
    assert config["User"] not in {"", "0", "root"}
    with image.served(name, config) as address:
        answer = ask(f"{address}/predict", {"rows": [features(row) for row in rows]})
    assert answer["model"] == champion(project)
    assert answer["predictions"] == [row["prediction"] for row in rows]

    with image.mounted(name) as root:
        volume = tmp_path / "volume"
        volume.mkdir()
        (volume / "in.parquet").write_bytes(batch.read_bytes())
        image.run(root, config, volume, "demo", "predict", "/tmp/in.parquet", "/tmp/out.jsonl")
        assert (volume / "out.jsonl").read_text(encoding="utf-8").splitlines() == lines
        folders = [root / "app/.venv/bin", *root.glob("usr/*bin"), *root.glob("usr/local/*bin")]
        programs = {path.name for folder in folders for path in folder.iterdir()}
        assert "python" in programs
        assert not programs & BUILD_TOOLS
        assert not [*root.glob("app/.venv/lib/python*/site-packages/pip")]
    image.remove(name)


def features(row: dict[str, object]) -> dict[str, object]:
    return {name: row[name] for name in ("date", "precipitation", "temp_max", "temp_min", "wind")}


def ask(address: str, body: dict[str, object]) -> dict[str, object]:
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as answer:
        return dict(json.load(answer))
