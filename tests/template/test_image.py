"""Images of projects: they answer or predict without rights, and write nothing to their root."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from pathlib import Path

import image
import pytest
import tools
from generated import ENVIRONMENT, Render, champion, commit, demo, run, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(image.missing()), reason=f"building an image needs {image.missing()}"),
    pytest.mark.skipif(not tools.kubectl(), reason="building manifests needs kubectl or npm"),
]
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
TRAINING = {"alembic", "dvc", "matplotlib", "mlflow", "pandera", "pytest"}
# What a batch image is made of beside its own files: a champion, and what it was promoted with.
LIVE = ("uv.lock", "data/contract.yaml", "deployment/champion.json", "deployment/model.skops")
SIGNED = "deployment/trusted_keys.pem"
# Builds what `kubectl apply -k FOLDER` would send: there is no cluster.
KUBECTL = '#!/bin/sh\n[ "$1 $2" = "apply -k" ] && exec {kubectl} kustomize "$3"\n'


def test_images_give_the_answers_of_the_project(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signed champion goes to stage, into an image for both and into one for a batch.

    They share what takes long, the layers and the round, so one test makes them all.
    """
    (tmp_path / "kubectl").write_text(KUBECTL.format(kubectl=tools.kubectl()))
    (tmp_path / "kubectl").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PATH"]])
    variables = {"PATH": path, "CONTAINER_TOOL": "buildah", "IMAGE": "mlscaffold-test"}
    for name, value in {**variables, **image.BUILDAH}.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    project = render({"project_name": "demo", "license": "MIT"})
    start(project)
    monkeypatch.setitem(ENVIRONMENT, "CHAMPION_KEY", ask_for_signatures(project, tmp_path))
    assert "PROMOTE" in demo(project, "retrain")
    commit(project, "First round")
    demo(project, "promote", "--to", "stage")
    commit(project, "To stage")
    monkeypatch.delitem(ENVIRONMENT, "CHAMPION_KEY")
    assert '["stage"]' in demo(project, "deploy", "--changed", "--since", "HEAD^")
    assert "prod has no champion" in demo(project, "deploy", "prod", expect=(2,))

    batch = min((project / "data/raw").glob("*.parquet"))
    demo(project, "predict", str(batch), "predictions.jsonl")
    lines = (project / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    (project / "predictions.jsonl").unlink()
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "in.parquet").write_bytes(batch.read_bytes())

    image.make_bases(project)
    with image.layers():
        said = demo(project, "deploy", "stage")
        [name] = [line.split()[-1] for line in said.splitlines() if line.startswith("stage runs ")]
        assert name.startswith(f"mlscaffold-test:{champion(project)}-")
        assert said.count(f"image: {name}\n") == 2, "the app's and the batch's"
        answers_over_http(name, champion(project), lines)
        predicts_a_file(name, volume, lines, "demo", "predict")
        refuses_what_no_round_made(name, volume, champion(project))

        image.build(batch_project(render, project), "mlscaffold-test-batch")
        entry = image.configuration("mlscaffold-test-batch")["Entrypoint"]
        predicts_a_file("mlscaffold-test-batch", volume, lines, *entry)


def ask_for_signatures(project: Path, folder: Path) -> str:
    """A private key whose public half the project trusts, made as trusted_keys.pem says."""
    key, keys = folder / "champion.pem", project / SIGNED
    run(project, "openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key))
    public = run(project, "openssl", "pkey", "-in", str(key), "-pubout")
    keys.write_text(keys.read_text(encoding="utf-8") + public, encoding="utf-8")
    return key.read_text(encoding="utf-8")


def batch_project(render: Render, project: Path) -> Path:
    """The same project with the files of one that only predicts in batches."""
    made = render({"project_name": "demo", "license": "MIT", "consumption": "batch"})
    for name in (*LIVE, SIGNED):
        shutil.copyfile(project / name, made / name)
    for name in ("code", "rounds"):
        folder = f"deployment/{name}"
        shutil.copytree(project / folder, made / folder, dirs_exist_ok=True)
    return made


def answers_over_http(name: str, id_: str, lines: list[str]) -> None:
    config, rows = image.configuration(name), [json.loads(line) for line in lines]
    with image.served(name, config) as address:
        answer = ask(f"{address}/predict", {"rows": [features(row) for row in rows]})
    assert answer["model"] == id_
    assert answer["predictions"] == [row["prediction"] for row in rows]


def predicts_a_file(name: str, volume: Path, lines: list[str], *command: str) -> None:
    """What the project says of a file, the image says too; and there is nothing else in it."""
    config, out = image.configuration(name), volume / "out.jsonl"
    assert config["User"] not in {"", "0", "root"}
    with image.mounted(name) as root:
        image.run(root, config, volume, *command, "/tmp/in.parquet", "/tmp/out.jsonl")
        assert out.read_text(encoding="utf-8").splitlines() == lines
        assert out.stat().st_uid == int(config["User"])
        image.run(root, config, volume, *command, "/tmp/in.parquet", "/app/out.jsonl", expect=2)
        programs = image.programs(root)
        assert "python" in programs
        assert not programs & BUILD_TOOLS
        [packages] = root.glob("app/.venv/lib/python*/site-packages")
        there = {path.name for path in packages.iterdir()}
        assert "sklearn" in there
        assert not there & {"pip", *TRAINING}
    out.unlink()


def refuses_what_no_round_made(name: str, volume: Path, id_: str) -> None:
    """An image in which somebody changed the code that the champion is loaded with."""
    config = image.configuration(name)
    with image.mounted(name) as root:
        with (root / f"app/deployment/code/{id_}/features.py").open("a") as code:
            code.write("print('not reviewed')\n")
        command = ("demo", "predict", "/tmp/in.parquet", "/tmp/out.jsonl")
        said = image.run(root, config, volume, *command, expect=2)
    assert f"{id_}/features.py: not as in deployment/rounds/{id_}.json" in said
    assert "not reviewed" not in said
    assert not (volume / "out.jsonl").exists()


def features(row: dict[str, object]) -> dict[str, object]:
    return {name: row[name] for name in ("date", "precipitation", "temp_max", "temp_min", "wind")}


def ask(address: str, body: dict[str, object]) -> dict[str, object]:
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as answer:
        return dict(json.load(answer))
