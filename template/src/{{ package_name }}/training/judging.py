"""Judges a fitted model: predictions of all who compete, what the gates measure on them, and the record."""

import platform
import statistics
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from .. import persistence
from ..data import contract as contracts
from ..data import infer
from ..data import split as splits
from ..data.contract import as_input
from ..data.split import Split
from ..metrics import METRICS
from ..model import make_baselines
from ..settings import ProjectError, Settings, closest, flatten
from . import champion, evaluate, gates, records, rounds, train

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


def prepare(settings: Settings) -> tuple[Split, list[str]]:
    """The rows to learn from and to judge on, once the contract holds; and the names of their batches."""
    training = settings.params.training
    if training.metric not in (known := METRICS[training.kind]):
        raise ProjectError(f"training.metric: metrics.py has no {closest(training.metric, list(known))}")
    frame = contracts.check_batches(settings)
    splits.freeze(frame, settings)
    return splits.split(frame, settings), sorted(set(frame.index.get_level_values(0)))


def fit(settings: Settings, split: Split) -> Fitted:
    """Fits and keeps the bytes under reports/<id>, so that a later `promote` has them.

    ProjectError when nobody could load them: a champion must not be one that `serve` refuses.
    """
    inputs, model = train.inputs(settings), train.fit(split, settings)
    content = persistence.dump(model)
    persistence.trusted_types(content, settings.root, "The model")
    folder = rounds.folder(settings.root, inputs.id)
    persistence.write(folder / "model.skops", content)
    persistence.keep_code(folder / "code")
    return Fitted(inputs, model, content)


@threadpool_limits.wrap(limits=1)  # predictions of few rows: threads would only wait for each other
def judge(settings: Settings, split: Split, fitted: Fitted, batches: list[str], *, started: float) -> rounds.Round:
    """Asks every gate and writes the round's record; `started` is when the round began."""
    evidence, limits = gather(settings, split, fitted), gates.load(settings.root)
    answers = gates.judge(evidence, limits)
    verdict, reason = gates.verdict(answers)
    now, inputs, training = champion.load(settings.root), fitted.inputs, settings.params.training
    judge_, y, prediction = evidence.judge, evidence.holdout.y, evidence.holdout.candidate
    held = as_input(split.holdout, split.features)
    rows = {"train": len(split.train), "holdout": len(split.holdout), "window": len(split.window)}
    rolling, is_regression = settings.rolling, training.kind == "regression"
    record = rounds.Round(
        id=inputs.id,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - started, 1),
        task=training.task,
        target=settings.params.data.target,
        metric=training.metric,
        overrides=settings.overrides,
        changed=_changed(now, inputs, batches),
        rows=rows,
        batches=batches,
        scores=_scores(evidence),
        baselines={name: judge_.point(y, other) for name, other in evidence.baselines.items()},
        champion=now["id"] if now else None,
        comparison=_comparison(evidence),
        smallest_gain=gates.smallest_gain(evidence, limits),
        gates=[asdict(gate) for gate in answers],
        verdict=verdict,
        exit_code=gates.EXIT_CODES[verdict],
        reason=reason,
        slices=evidence.slices,
        calibration=evidence.calibration,
        confusion=None if is_regression else evaluate.confusion(judge_, y, prediction),
        residuals=_residuals(y, prediction) if is_regression else None,
        forecast=rolling.curve(split.holdout, prediction, settings.params.data) if rolling else None,
        importance=evaluate.importance(judge_, fitted.model, held, split.holdout[settings.params.data.target]),
        data={"md5": inputs.data, "rows": sum(rows.values()), "batches": len(batches)},
        code=inputs.code,
        lock=inputs.lock,
        params=inputs.params,
        model={**fitted.digest, "latency_ms": evidence.latency_ms},
        modules=records.module_digests(rounds.folder(settings.root, inputs.id) / "code"),
        environment={"python": platform.python_version(), "packages": {name: version(name) for name in PACKAGES}},
    )
    rounds.save(settings, record)
    return record


def gather(settings: Settings, split: Split, fitted: Fitted) -> gates.Evidence:
    """Predictions of all who compete on the same rows, and what the gates measure on them."""
    contract, limits, data = contracts.load(settings.root), gates.load(settings.root), settings.params.data
    columns, judge_, rolling = split.features, judge_of(settings, contract), settings.rolling
    now = champion.load(settings.root)
    rival = champion.load_model(settings.root, now) if now else None
    theirs = split
    if rolling and now:
        theirs = rolling.tables(split.rows, settings, champion.code_folder(settings.root, now["id"]))

    def scored(part: str) -> gates.Scored:
        """A column that the champion knew and that is gone is missing to it; its own forecast.py makes its table."""
        frame = getattr(split, part)
        y, said = judge_.truth(frame[data.target]), judge_.predict(fitted.model, as_input(frame, columns))
        blocks = rolling.blocks(frame[data.time], settings) if rolling else None
        if rival is None:
            return gates.Scored(y, said, None, blocks)
        known = list(rival.feature_names_in_)
        seen = getattr(theirs, part).reindex(columns=known)
        return gates.Scored(y, said, judge_.predict(rival, as_input(seen, known)), blocks)

    holdout, held = scored("holdout"), as_input(split.holdout, columns)
    X, y = as_input(split.train, columns), train.target_of(split.train, settings)
    made = make_baselines(X, settings.params)
    baselines = {name: judge_.predict(model.fit(X, y), held) for name, model in made.items()}
    sliced, suspects, suspected = split.holdout[columns], split.train, columns
    if rolling and split.rows:
        baselines[rolling.NAIVE] = split.holdout[rolling.NAIVE].fillna(y.mean()).to_numpy()
        sliced = sliced.assign(horizon=sliced["horizon"].astype(int).astype("category"))
        suspects, suspected = rolling.changes(split.rows.train, data), contracts.columns(contract, "feature")
    return gates.Evidence(
        judge=judge_,
        holdout=holdout,
        window=scored("window") if len(split.window) else None,
        baselines=baselines,
        leaks=infer.find_leaks(suspects, data.target, judge_.task, suspected),
        slices=evaluate.slices(
            judge_, sliced, holdout.y, holdout.candidate, min_rows=limits.slice_rows, blocks=holdout.blocks
        ),
        calibration=evaluate.calibration(judge_, holdout.y, holdout.candidate),
        latency_ms=_latency(fitted.model, held),
        size=len(fitted.content),
        intended_use=intended_use(settings.root),
        look_ahead=rolling.look_ahead(split, settings) if rolling else None,
        scale=rolling.scale(split.train, data.target) if rolling else None,
    )


def self_test(settings: Settings) -> gates.SelfTest:
    """How often the gate of this project promotes what is no better, measured on its own holdout."""
    parts = prepare(settings)[0]
    return gates.self_test(gather(settings, parts, fit(settings, parts)), gates.load(settings.root))


def judge_of(settings: Settings, contract: contracts.Contract) -> evaluate.Judge:
    training = settings.params.training
    classes = contract["columns"][settings.params.data.target].get("isin", [False, True])
    return evaluate.Judge(training.kind, training.metric, classes, training.random_state, settings.params.compute)


def intended_use(root: Path) -> str:
    path = root / INTENDED_USE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return " ".join(line for line in lines if not line.startswith(("#", "<!--")))


def _scores(evidence: gates.Evidence) -> dict[str, dict[str, float]]:
    y, prediction = evidence.holdout.y, evidence.holdout.candidate
    judges = {metric: replace(evidence.judge, metric=metric) for metric in METRICS[evidence.judge.task]}
    blocks, error = evidence.holdout.blocks, "neg_mean_absolute_error"
    scores = {
        metric: asdict(evaluate.bootstrap(judge_, y, prediction, blocks=blocks)) for metric, judge_ in judges.items()
    }
    if evidence.scale and error in scores:
        scaled = {key: value / evidence.scale for key, value in scores[error].items()}
        scores["neg_mean_absolute_scaled_error"] = scaled
    return scores


def _comparison(evidence: gates.Evidence) -> dict[str, Any] | None:
    if evidence.holdout.champion is None:
        return None
    found: dict[str, Any] = {"holdout": None, "window": None}
    for name, scene in (("holdout", evidence.holdout), ("window", evidence.window)):
        if scene is not None:
            span = gates.difference(evidence.judge, scene)
            found[name] = {"difference": span.value, "low": span.low, "high": span.high}
    return found


def _changed(now: champion.Pointer | None, inputs: train.Inputs, batches: list[str]) -> dict[str, list[str]]:
    """What is different from the champion's round, in words."""
    if now is None:
        return {"data": [], "code": [], "params": []}
    old, new = flatten(now["params"]), flatten(inputs.params)
    params = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    added = len(batches) - now["data"]["batches"]
    data = f"{added:+d} batches" if added else "rows or contract"
    code = {"features, model or data code": now["code"] != inputs.code, "uv.lock": now["lock"] != inputs.lock}
    return {
        "data": [data] if now["data"]["md5"] != inputs.data else [],
        "code": [name for name, is_other in code.items() if is_other],
        "params": [f"{key} {old.get(key)} → {new.get(key)}" for key in params],
    }


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
