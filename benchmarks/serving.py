"""One prediction over HTTP, a server's throughput beside MLflow's, and a million rows in a batch.

All with the same model, the first champion of a new project. A bare `predict` has its row or its
rows as the model takes them. MLflow's server is `mlflow models serve` on one worker, its model with
the signature that MLflow's documentation asks for.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import BIN, Figure, medians, ratio, run, seconds

MLFLOW = "mlflow>=3.13,!=3.18.0"
ROW = {"date": "2015-03-05", "precipitation": 1.0, "temp_max": 10.0, "temp_min": 3.0, "wind": 2.0}
OURS = "/predict", json.dumps({"rows": [ROW]}).encode()
THEIRS = (
    "/invocations",
    json.dumps({"dataframe_split": {"columns": [*ROW], "data": [[*ROW.values()]]}}).encode(),
)
CLIENTS = 8  # at the same time
ROWS = 1_000_000

READ = """
import statistics, sys, time
from pathlib import Path
import pandas as pd
from pyarrow import parquet
from serving.data import contract as contracts, must_fail
from serving.data.contract import as_input
from serving.serving import predict
champion = predict.load(Path("."))
columns = contracts.features(champion.contract)
"""
# Prints the median seconds of one prediction for each line that it reads.
BARE_ONE = f"""{READ}
row = as_input(pd.DataFrame([{ROW}]).astype({{"date": "datetime64[us]"}}), columns)
for _ in sys.stdin:
    took = []
    for _ in range(200):
        started = time.perf_counter()
        champion.estimator.predict(row)
        took.append(time.perf_counter() - started)
    print(statistics.median(took), flush=True)
"""
BARE_BATCH = f"""{READ}
for batch in parquet.ParquetFile(sys.argv[1]).iter_batches(100_000):
    champion.estimator.predict(as_input(batch.to_pandas(), columns))
"""
TABLES = f"""{READ}
made = must_fail.make_rows(champion.contract, 1000)[columns]
for rows in {ROWS // 5}, {ROWS}:
    pd.concat([made] * (rows // 1000)).to_parquet(f"{{rows}}.parquet", index=False)
"""
SAVE = f"""{READ}
import mlflow.sklearn, yaml
from serving import persistence
X = as_input(must_fail.make_rows(champion.contract, 1000), columns)
signature = mlflow.models.infer_signature(X, champion.estimator.predict(X))
mlflow.sklearn.save_model(
    champion.estimator, "mlflow-model", signature=signature, pip_requirements=["scikit-learn"],
    serialization_format="skops",
    skops_trusted_types=yaml.safe_load(persistence.TRUSTED.read_text("utf-8")))
"""


def serve(folder: Path) -> Iterator[Figure]:
    """One prediction, the throughput of one worker, a million rows and their memory."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    project = folder / "serving"
    run(BIN / "mlscaffold", "new", project, "--defaults", "--run", cwd=folder)
    with_mlflow = (BIN / "uv", "run", "--frozen", "--with", MLFLOW)
    run(*with_mlflow, "python", "-c", SAVE, cwd=project)
    ours = (project / ".venv/bin/serving", "serve", "--port", "8765")
    theirs = (*with_mlflow, "mlflow", "models", "serve", "-m", "mlflow-model", "--env-manager")
    with server(project, *ours), bare(project) as one:
        http_, alone = medians(5, lambda: latency(8765, *OURS), one)
        reading = f"{http_ * 1000:.1f} ms against {alone * 1000:.1f} ms (bare predict)"
        yield Figure("one prediction over HTTP", http_ / alone, 3.0, reading)
        with server(project, *theirs, "local", "-p", "8766"):
            each = (lambda: throughput(8765, *OURS), lambda: throughput(8766, *THEIRS))
            mine, other = medians(3, *each)
    reading = f"{other:.0f} against our {mine:.0f} requests a second"
    yield Figure("throughput of MLflow's server", other / mine, 1 / 3, reading)
    yield from batch(project)


def batch(project: Path) -> Iterator[Figure]:
    """The whole command, which also checks the contract and writes; a script that does neither."""
    python, command = project / ".venv/bin/python", project / ".venv/bin/serving"
    run(python, "-c", TABLES, cwd=project)
    table, out = f"{ROWS}.parquet", "predicted.parquet"
    ours, peer = medians(
        3,
        lambda: seconds(lambda: run(command, "predict", table, out, cwd=project)),
        lambda: seconds(lambda: run(python, "-c", BARE_BATCH, table, cwd=project)),
    )
    yield ratio("a million rows in a batch", ours, peer, 1.3, "bare predict, nothing written")
    less, more = (
        peak(project, command, "predict", f"{rows}.parquet", out) for rows in (ROWS // 5, ROWS)
    )
    reading = f"{more:.0f} MiB against {less:.0f} MiB for a fifth of the rows"
    yield Figure("  its peak memory", more / less, 1.2, reading)


@contextmanager
def server(project: Path, *command: str | Path) -> Iterator[None]:
    """A server that answers."""
    port, started = int(command[-1]), time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen(list(map(str, command)), cwd=project, **quiet)
    try:
        while True:
            try:
                path, body = OURS if port == 8765 else THEIRS
                ask(http.client.HTTPConnection("127.0.0.1", port), path, body)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() - started > 120:
                    sys.exit(f"{' '.join(map(str, command))} does not answer")
                time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait()


@contextmanager
def bare(project: Path) -> Iterator[object]:
    """Measures a bare prediction, in a process that is ready for it."""
    python = str(project / ".venv/bin/python")
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([python, "-c", BARE_ONE], cwd=project, text=True, **pipe) as process:  # type: ignore[call-overload]

        def one() -> float:
            print(file=process.stdin, flush=True)
            return float(process.stdout.readline())

        one()
        yield one
        process.stdin.close()


def ask(client: http.client.HTTPConnection, path: str, body: bytes) -> None:
    client.request("POST", path, body, {"Content-Type": "application/json"})
    answer = client.getresponse()
    said = answer.read()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {said[:300]!r}")


def latency(port: int, path: str, body: bytes) -> float:
    """The median seconds of 200 requests, one after the other on one connection."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    return statistics.median(seconds(lambda: ask(client, path, body)) for _ in range(200))


def throughput(port: int, path: str, body: bytes) -> float:
    """Requests a second of some clients, each with one connection, in five seconds."""
    end, answered = time.monotonic() + 5, []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < end:
            ask(connection, path, body)
            answered.append(1)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    took = seconds(lambda: ([one.start() for one in clients], [one.join() for one in clients]))
    return len(answered) / took


def peak(project: Path, *command: str | Path) -> float:
    """The most memory (MiB resident) of a command."""
    process = subprocess.Popen(list(map(str, command)), cwd=project, stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return used.ru_maxrss / 1024
