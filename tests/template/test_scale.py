"""A table larger than memory, and clusters that share the work: the answers stay the same."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from generated import UV, Render, demo, edit, run, start

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("scale")]

ROOT = Path(__file__).resolve().parents[2]
MAKE_TABLE = str(ROOT / "benchmarks/large_table.py")
# The most memory (bytes) that a command has, and after it its exit code.
PEAK = """
import resource, subprocess, sys
quiet = subprocess.DEVNULL
code = subprocess.run(sys.argv[1:], stdout=quiet, stderr=quiet).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, code)
"""


def make_table(project: Path, rows: int, *paths: Path) -> None:
    run(project, str(project / ".venv/bin/python"), MAKE_TABLE, str(rows), *map(str, paths))


def peak(project: Path, *command: str, expect: tuple[str, ...] = ("0",)) -> int:
    """The most memory of a command of the project, in bytes, which must succeed."""
    *_, most, code = run(project, sys.executable, "-c", PEAK, *command).split()
    assert code in expect
    return int(most)


@pytest.fixture(scope="module")
def project(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose table has 50,000 rows, in its environment, with a contract."""
    table = tmp_path_factory.mktemp("table") / "table.csv"
    answers = {
        "data_uri": str(table),
        "target": "left",
        "time_column": "seen",
        "key_columns": ["id"],
    }
    project = render({"project_name": "demo", **answers})
    run(project, UV, "sync", "--quiet")
    make_table(project, 50_000, table)
    start(project)
    return project


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_memory_of_a_check_hardly_grows_with_the_file(
    project: Path, tmp_path: Path, ending: str
) -> None:
    """But for eight bytes for each row's key, and the copies that looking for two takes."""
    peaks = []
    for millions in (1, 2):
        path = tmp_path / f"{millions}.{ending}"
        make_table(project, millions * 1_000_000, path)
        peaks.append(peak(project, str(project / ".venv/bin/demo"), "data", "check", str(path)))
    assert peaks[1] < 1.25 * peaks[0], peaks
    assert peaks[1] < 2**30, peaks


def test_memory_of_a_round_hardly_grows_with_the_table(project: Path, tmp_path: Path) -> None:
    """But for eight bytes for each key: as many rows of both tables are learnt from and judged."""
    peaks: dict[str, list[int]] = {"infer": [], "pull": [], "retrain": []}
    for rows in (1_000_000, 2_000_000):
        copy = tmp_path / str(rows)
        ignored = shutil.ignore_patterns(".venv", "raw", "holdout.parquet*")
        shutil.copytree(project, copy, ignore=ignored)
        params = yaml.safe_load((copy / "params.yaml").read_text(encoding="utf-8"))
        params["data"] |= {"uri": "table.parquet", "max_rows": 20_000}
        (copy / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        # A round becomes champion only on parameters that a commit has.
        run(copy, "git", "commit", "--quiet", "--all", "--message", "Another table")
        command = str(project / ".venv/bin/demo")
        run(copy, str(project / ".venv/bin/python"), MAKE_TABLE, str(rows), "table.parquet")
        peaks["infer"].append(peak(copy, command, "data", "infer"))
        peaks["pull"].append(peak(copy, command, "pull"))
        peaks["retrain"].append(peak(copy, command, "retrain", expect=("0", "10", "20")))
    for few, many in peaks.values():
        assert many < 1.25 * few, peaks


def test_a_broken_row_at_the_end_of_a_large_file_is_found(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    make_table(project, 1_000_000, path)
    rows = path.read_text(encoding="utf-8").splitlines()
    rows[-1] = rows[1]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    said = demo(project, "data", "check", str(path), expect=(30,))
    assert "id: 2 of 1,000,000 with a key that is there more than once (first in row 1)" in said


@contextmanager
def dask(project: Path) -> Iterator[str]:
    """A scheduler and two workers, each a process of its own."""
    command, address = str(project / ".venv/bin/dask"), "tcp://127.0.0.1:28786"
    place = ("--host", "127.0.0.1", "--port", "28786", "--no-dashboard")
    worker = (command, "worker", address, "--nthreads", "1", "--no-dashboard")
    with ExitStack() as stack:
        for started in ((command, "scheduler", *place), worker, worker):
            stack.enter_context(stopped_at_the_end(started, project))
            wait_for(28786)
        yield address


@contextmanager
def ray(project: Path) -> Iterator[str]:
    """One node with two workers."""
    command, address = str(project / ".venv/bin/ray"), "127.0.0.1:26379"
    head = (
        "--head",
        "--port",
        "26379",
        "--num-cpus",
        "2",
        "--include-dashboard",
        "false",
        "--block",
    )
    with stopped_at_the_end((command, "start", *head), project):
        wait_for(26379)
        time.sleep(10)  # the port answers before the node has joined
        yield address


@contextmanager
def stopped_at_the_end(command: tuple[str, ...], project: Path) -> Iterator[None]:
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    for _ in range(120):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise AssertionError(f"nobody listens at {port}")


BOOTSTRAP = """
import json, sys
import numpy as np
from demo.settings import ComputeParams
from demo.training import evaluate

chance = np.random.default_rng(0)
y, yes = chance.integers(0, 2, 20_000), chance.random(20_000)
compute = ComputeParams(**json.loads(sys.argv[1]))
judge = evaluate.Judge("classification", "roc_auc", ["no", "yes"], 0, compute)
assert len(evaluate._chunks(evaluate.RESAMPLES, len(y))) >= evaluate.SPREAD, "it is spread"
print(repr(evaluate.bootstrap(judge, y, np.column_stack([1 - yes, yes]))))
"""


@pytest.fixture(scope="module")
def here(project: Path) -> tuple[str, str]:
    """What one process answers, to a search that is short."""
    edit(project / "training/search.yaml", "candidates: 12", "candidates: 4")
    demo(project, "pull")
    return answers(project, backend="processes", workers=1)


def test_two_processes_search_and_resample_as_one_does(
    project: Path, here: tuple[str, str]
) -> None:
    assert answers(project, backend="processes", workers=2) == here


@pytest.mark.parametrize("cluster", [dask, ray])
def test_a_cluster_searches_and_resamples_as_one_machine_does(
    project: Path, here: tuple[str, str], cluster: Any
) -> None:
    run(project, UV, "sync", "--quiet", "--group", cluster.__name__)
    with cluster(project) as address:
        assert answers(project, backend=cluster.__name__, workers=2, address=address) == here


def answers(project: Path, **compute: Any) -> tuple[str, str]:
    """What a search finds, and the interval that a bootstrap gives, computed there."""
    path = project / "params.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(yaml.safe_dump(yaml.safe_load(before) | {"compute": compute}), encoding="utf-8")
    demo(project, "search")
    path.write_text(before, encoding="utf-8")
    best = (project / "training/experiments/best.yaml").read_text(encoding="utf-8")
    python = (str(project / ".venv/bin/python"), "-W", "ignore", "-c", BOOTSTRAP)
    [interval] = [
        line
        for line in run(project, *python, json.dumps(compute)).splitlines()
        if line.startswith("Interval(")
    ]
    return best, interval
