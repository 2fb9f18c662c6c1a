"""Tells MLflow of a round, in a process of its own so that its imports run beside the fit.

The round starts it, and writes the path of the record to its standard input when there is one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def tracker(root: Path, name: str) -> Iterator[Callable[[Path, bool], None]]:
    """Starts the child; gives what hands it a record, and says whether it is the champion's.

    The child finishes on its own, at most seconds after the round. Without a record it logs nothing.
    """
    log = root / "reports" / "tracking.log"
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", __name__, str(root), name]
    with log.open("ab") as file:
        child = subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True, text=True
        )
    assert child.stdin is not None
    pipe = child.stdin

    def tell(record: Path, is_champion: bool) -> None:
        try:
            print(json.dumps([str(record), is_champion]), file=pipe, flush=True)
        except BrokenPipeError:
            print("MLflow was not told of this round: see reports/tracking.log", file=sys.stderr)

    try:
        yield tell
    finally:
        with suppress(BrokenPipeError):
            pipe.close()
        if os.environ.get("TRACKING_WAIT"):
            child.wait(60)


def main() -> None:
    from ..credentials import guard_stderr

    guard_stderr()
    sys.stdout = sys.stderr  # MLflow says there, too, what address it wrote to
    root, name = Path(sys.argv[1]), sys.argv[2]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    mlflow.set_experiment(name)
    if message := sys.stdin.read():
        path, is_champion = json.loads(message)
        write(mlflow, name, Path(path), is_champion=is_champion)


def write(mlflow: Any, name: str, path: Path, *, is_champion: bool) -> None:
    """One run for the round: flat parameters, scores, verdict; and the champion's alias when it was promoted."""
    record, client = json.loads(path.read_text(encoding="utf-8")), mlflow.MlflowClient()
    place = [client.get_experiment_by_name(name).experiment_id]
    known = client.search_runs(place, f"tags.id = '{record['id']}'", max_results=1)
    run = known[0] if is_champion and known else log_run(mlflow, record)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    if is_champion:
        uri = (path.parent / "model.skops").as_uri()
        version = client.create_model_version(name, uri, run_id=run.info.run_id)
        client.set_registered_model_alias(name, "champion", version.version)


def log_run(mlflow: Any, record: dict[str, Any]) -> Any:
    """Flat parameters, scores, and what says where the model comes from."""
    from ..settings import flatten

    with mlflow.start_run(run_name=record["id"]) as run:
        mlflow.log_params(flatten(record["params"]))
        mlflow.log_metrics({metric: span["value"] for metric, span in record["scores"].items()})
        mlflow.log_metric("seconds", record["seconds"])
        kept = ("id", "verdict", "reason", "champion", "code", "lock")
        mlflow.set_tags({key: str(record[key]) for key in kept} | {"data": record["data"]["md5"]})
    return run


if __name__ == "__main__":
    main()
