"""Judges a fitted model: predictions of all who compete, what the gates measure on them, and the record."""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from .. import persistence
from ..data import contract as contracts
from ..data import leakage
from ..data import split as splits
from ..data.split import HOLDOUT, Split
from ..errors import ProjectError
from ..features import as_input
from ..metrics import METRICS
from ..model import make_baselines
from ..settings import Settings, closest, flatten
from . import champion, evaluate, gates, rounds, train

INTENDED_USE = Path("docs/intended_use.md")
PACKAGES = ("numpy", "pandas", "scikit-learn", "skops")


@dataclass(frozen=True)
class Fitted:
    """A model that is still to be judged: its bytes, and what it was made from."""

    inputs: train.Inputs
    model: Any
    content: bytes

    @property
    def digest(self) -> dict[str, Any]:
        return {"md5": persistence.md5(self.content), "size": len(self.content)}


def fit(settings: Settings, split: Split) -> Fitted:
    """Fits and keeps the bytes under reports/<id>, so that a later `promote` has them."""
    check_metric(settings)
    inputs = train.inputs(settings)
    model = train.fit(split, settings)
    content = persistence.dump(model)
    folder = rounds.folder(settings.root, inputs.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.skops").write_bytes(content)
    return Fitted(inputs, model, content)


def prepare(settings: Settings) -> tuple[Split, list[str]]:
    """The rows to learn from and to judge on, once the contract holds; and the names of their batches."""
    frame = contracts.check_batches(settings)
    if not (settings.root / HOLDOUT).exists() and (settings.root / f"{HOLDOUT}.dvc").exists():
        raise ProjectError(f"{HOLDOUT} is not here: type uv run dvc pull")
    splits.freeze(frame, settings)
    return splits.split(frame, settings), sorted(set(frame.index.get_level_values(0)))


def identify(settings: Settings) -> str:
    """The id of the model that this project makes now."""
    return train.inputs(settings).id


@threadpool_limits.wrap(limits=1)  # predictions of few rows: threads would only wait for each other
def judge(
    settings: Settings, split: Split, fitted: Fitted, batches: list[str], *, started: float
) -> rounds.Round:
    """Asks every gate and writes the round's record; `started` is when the round began."""
    evidence = gather(settings, split, fitted)
    limits = gates.load(settings.root)
    answers = gates.judge(evidence, limits)
    verdict, reason = gates.verdict(answers)
    now = champion.load(settings.root)
    y, prediction = evidence.holdout.y, evidence.holdout.candidate
    task = settings.params.training.task
    record = rounds.Round(
        id=fitted.inputs.id,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - started, 1),
        task=task,
        target=settings.params.data.target,
        metric=settings.params.training.metric,
        overrides=settings.overrides,
        changed=_changed(now, fitted.inputs, batches),
        rows={
            "train": len(split.train),
            "holdout": len(split.holdout),
            "window": len(split.window),
        },
        batches=batches,
        scores=_scores(evidence),
        baselines={name: _score(evidence.judge, y, p) for name, p in evidence.baselines.items()},
        champion=now["id"] if now else None,
        comparison=_comparison(evidence),
        smallest_gain=smallest_gain(evidence, limits),
        gates=[_plain(asdict(gate)) for gate in answers],
        verdict=verdict,
        exit_code=gates.EXIT_CODES[verdict],
        reason=reason,
        slices=evidence.slices,
        calibration=evidence.calibration,
        confusion=evaluate.confusion(evidence.judge, y, prediction)
        if task == "classification"
        else None,
        residuals=_residuals(y, prediction) if task == "regression" else None,
        importance=_importance(settings, split, fitted, evidence),
        data={
            "md5": fitted.inputs.data,
            "rows": sum(map(len, (split.train, split.holdout, split.window))),
            "batches": len(batches),
        },
        code=fitted.inputs.code,
        lock=fitted.inputs.lock,
        params=fitted.inputs.params,
        model={**fitted.digest, "latency_ms": evidence.latency_ms},
        environment={
            "python": platform.python_version(),
            "packages": {name: version(name) for name in PACKAGES},
        },
    )
    rounds.save(settings, record)
    return record


def gather(settings: Settings, split: Split, fitted: Fitted) -> gates.Evidence:
    """Predictions of all who compete on the same rows, and what the gates measure on them."""
    contract = contracts.load(settings.root)
    columns = contracts.features(contract)
    judge_ = judge_of(settings, contract)
    holdout = scored(settings, judge_, split.holdout, fitted.model, columns)
    limits = gates.load(settings.root)
    return gates.Evidence(
        judge=judge_,
        holdout=holdout,
        window=scored(settings, judge_, split.window, fitted.model, columns)
        if len(split.window)
        else None,
        baselines=baseline_predictions(settings, split, judge_, columns),
        leaks=_leaks(settings, split, columns),
        slices=evaluate.slices(
            judge_, split.holdout[columns], holdout.y, holdout.candidate, min_rows=limits.slice_rows
        ),
        calibration=evaluate.calibration(judge_, holdout.y, holdout.candidate),
        latency_ms=_latency(fitted.model, as_input(split.holdout, columns)),
        size=len(fitted.content),
        intended_use=intended_use(settings.root),
    )


def check_metric(settings: Settings) -> None:
    """ProjectError when params.yaml asks for a metric that metrics.py does not have."""
    training = settings.params.training
    if training.metric not in (known := METRICS[training.task]):
        raise ProjectError(
            f"training.metric: metrics.py has no {closest(training.metric, list(known))}"
        )


def judge_of(settings: Settings, contract: contracts.Contract) -> evaluate.Judge:
    training = settings.params.training
    classes = contract["columns"][settings.params.data.target].get("isin", [False, True])
    return evaluate.Judge(training.task, training.metric, classes, training.random_state)


def scored(
    settings: Settings, judge_: evaluate.Judge, frame: pd.DataFrame, model: Any, columns: list[str]
) -> gates.Scored:
    """The candidate's and the champion's predictions; a column that the champion knew and is gone is missing to it."""
    y = judge_.truth(frame[settings.params.data.target])
    prediction = judge_.predict(model, as_input(frame, columns))
    if champion.load(settings.root) is None:
        return gates.Scored(y, prediction, None)
    rival = persistence.load(settings.root / champion.MODEL, root=settings.root)
    known = list(rival.feature_names_in_)
    return gates.Scored(
        y, prediction, judge_.predict(rival, as_input(frame.reindex(columns=known), known))
    )


def baseline_predictions(
    settings: Settings, split: Split, judge_: evaluate.Judge, columns: list[str]
) -> dict[str, np.ndarray]:
    X, y = as_input(split.train, columns), train.target_of(split.train, settings)
    held = as_input(split.holdout, columns)
    made = make_baselines(X, settings.params)
    return {name: judge_.predict(model.fit(X, y), held) for name, model in made.items()}


def smallest_gain(evidence: gates.Evidence, limits: gates.Thresholds) -> float:
    """The gain over its rival (the champion, else the linear model) that this holdout could tell from chance."""
    rival = evidence.holdout.champion
    if rival is None or np.array_equal(rival, evidence.holdout.candidate):
        rival = evidence.baselines["linear"]
    scene = gates.Scored(evidence.holdout.y, evidence.holdout.candidate, rival)
    span = gates.difference(evidence.judge, scene, gates.tail_of(limits))
    return float(span.value - span.low)


def _leaks(settings: Settings, split: Split, columns: list[str]) -> list[str]:
    data, training = settings.params.data, settings.params.training
    found = leakage.find(split.train, target=data.target, task=training.task, features=columns)
    return [f"{' and '.join(leak.columns)} ({leak.score:.3f})" for leak in found]


def _scores(evidence: gates.Evidence) -> dict[str, dict[str, float]]:
    found = {}
    for metric in METRICS[evidence.judge.task]:
        judge_ = evaluate.Judge(evidence.judge.task, metric, evidence.judge.classes)
        found[metric] = asdict(
            evaluate.bootstrap(judge_, evidence.holdout.y, evidence.holdout.candidate)
        )
    return found


def _score(judge_: evaluate.Judge, y: np.ndarray, prediction: np.ndarray) -> float:
    return float(judge_.score(y, prediction, np.ones((1, len(y))))[0])


def _comparison(evidence: gates.Evidence) -> dict[str, Any] | None:
    if evidence.holdout.champion is None:
        return None
    found: dict[str, Any] = {"holdout": None, "window": None}
    for name, scene in (("holdout", evidence.holdout), ("window", evidence.window)):
        if scene is not None:
            span = gates.difference(evidence.judge, scene)
            found[name] = {"difference": span.value, "low": span.low, "high": span.high}
    return found


def _changed(
    now: dict[str, Any] | None, inputs: train.Inputs, batches: list[str]
) -> dict[str, list[str]]:
    """What is different from the champion's round, in words."""
    if now is None:
        return {"data": [], "code": [], "params": []}
    old, new = flatten(now["params"]), flatten(inputs.params)
    params = [
        f"{key} {old.get(key)} → {new.get(key)}"
        for key in sorted(old | new)
        if old.get(key) != new.get(key)
    ]
    added = len(batches) - now["data"]["batches"]
    data = (
        [f"{added:+d} batches" if added else "rows or contract"]
        if now["data"]["md5"] != inputs.data
        else []
    )
    code = ["features, model or data code"] if now["code"] != inputs.code else []
    code += ["uv.lock"] if now["lock"] != inputs.lock else []
    return {"data": data, "code": code, "params": params}


def _importance(
    settings: Settings, split: Split, fitted: Fitted, evidence: gates.Evidence
) -> list[dict[str, Any]]:
    columns = contracts.features(contracts.load(settings.root))
    return evaluate.importance(
        evidence.judge, fitted.model, split.holdout, evidence.holdout.y, columns
    )


def _residuals(y: np.ndarray, prediction: np.ndarray) -> dict[str, list[float]]:
    rows = np.linspace(0, len(y) - 1, min(500, len(y))).astype(int)
    return {"predicted": prediction[rows].tolist(), "observed": y[rows].tolist()}


def _latency(model: Any, X: pd.DataFrame) -> float:
    """Median milliseconds for the prediction of one row."""
    times = []
    for row in range(min(20, len(X))):
        started = time.perf_counter()
        model.predict(X.iloc[[row]])
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def intended_use(root: Path) -> str:
    path = root / INTENDED_USE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return " ".join(line for line in lines if not line.startswith(("#", "<!--")))


def _plain(gate: dict[str, Any]) -> dict[str, Any]:
    """Python's own numbers, which JSON can hold."""
    return {
        key: value.item() if isinstance(value, np.generic) else value for key, value in gate.items()
    }
