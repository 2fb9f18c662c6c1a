"""The gates between a fitted model and the champion's place, in the order in which they are judged.

Thresholds stand in training/gates.yaml. A gate passes, fails, or does not apply (None) and says why.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from ..data.infer import Leak
from ..settings import Section, read_yaml, validate
from .evaluate import Interval, Judge, bootstrap, calibration_error

FILE = Path("training/gates.yaml")
EXIT_CODES = {"promote": 0, "keep": 10, "block": 20}
REPETITIONS = 200  # pairs of equal models that the self-test judges
ROWS = 500  # of the holdout in the self-test; more make the answer slower, not another


class Thresholds(Section):
    """training/gates.yaml."""

    floor: float
    accepted_leaks: list[str] = Field([])
    false_promotions: float = Field(0.05, gt=0, lt=0.5)
    slice_gap: float = Field(gt=0)
    slice_rows: int = Field(30, ge=5)
    calibration_error: float = Field(gt=0)
    latency_ms: float = Field(gt=0)
    size_mb: float = Field(gt=0)


@dataclass(frozen=True)
class Gate:
    """What one gate said; `limit` is the threshold that `value` was held against."""

    name: str
    passed: bool | None
    message: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Scored:
    """Rows that no model was trained on, with the predictions of those who compete on them."""

    y: np.ndarray
    candidate: np.ndarray
    champion: np.ndarray | None
    blocks: np.ndarray | None = None  # rows of a forecast that are not independent have the same number


@dataclass(frozen=True)
class Evidence:
    """All that the gates look at; `window` is None while there are too few new rows."""

    judge: Judge
    holdout: Scored
    window: Scored | None
    baselines: dict[str, np.ndarray]
    leaks: list[Leak]
    slices: list[dict[str, Any]]
    calibration: list[dict[str, float]]
    latency_ms: float
    size: int
    intended_use: str
    look_ahead: list[str] | None = None  # of a forecast: the features that know what is later
    scale: float | None = None  # of a forecast: the unit of MASE


@dataclass(frozen=True)
class SelfTest:
    """The share of equal models that the gate would have promoted, and the smallest gain it can see."""

    repetitions: int
    false_promotion_rate: float
    limit: float
    smallest_gain: float
    passed: bool


def load(root: Path) -> Thresholds:
    return validate(Thresholds, read_yaml(root / FILE), str(FILE))


def judge(evidence: Evidence, limits: Thresholds) -> list[Gate]:
    """Every gate's word, in order; none is left out because an earlier one failed."""
    return [
        Gate("contract", True, "the data keeps data/contract.yaml"),
        _leakage(evidence, limits),
        *_look_ahead(evidence),
        _floor(evidence, limits),
        *_baselines(evidence, limits),
        champion_gate(evidence.judge, evidence.holdout, evidence.window, limits),
        _slices(evidence, limits),
        _calibration(evidence, limits),
        _at_most("latency", evidence.latency_ms, limits.latency_ms, "ms for one row"),
        _at_most("size", evidence.size / 2**20, limits.size_mb, "MiB"),
        _card(evidence),
    ]


def verdict(gates: list[Gate]) -> tuple[str, str]:
    """`promote`, `keep` (no better than the champion) or `block` (unfit whoever is champion), and the reason."""
    failed = [gate for gate in gates if gate.passed is False]
    unfit = [gate for gate in failed if gate.name != "champion"]
    if unfit:
        return "block", "; ".join(f"{gate.name}: {gate.message}" for gate in unfit)
    if failed:
        return "keep", failed[0].message
    return "promote", next(gate.message for gate in gates if gate.name == "champion")


def champion_gate(judge_: Judge, holdout: Scored, window: Scored | None, limits: Thresholds) -> Gate:
    """Better than the champion on the holdout or on the newest window, and not worse on the other.

    "Better" is a one-sided paired bootstrap; two chances share the allowed share of false promotions.
    """
    if holdout.champion is None:
        return Gate("champion", True, "first champion")
    scenes = {"holdout": holdout} | ({"newest window": window} if window else {})
    tail = tail_of(limits, len(scenes))
    spans = {name: difference(judge_, scene, tail) for name, scene in scenes.items()}
    better = [name for name, span in spans.items() if span.low > 0]
    worse = [name for name, span in spans.items() if span.high < 0]
    best = max(spans.values(), key=lambda span: span.low)
    said = ", ".join(f"{span} on the {name}" for name, span in spans.items())
    passed = bool(better) and not worse
    word = "better" if passed else "not better"
    return Gate("champion", passed, f"{word} than the champion: {said}", best.low, 0.0)


def tail_of(limits: Thresholds, scenes: int = 1) -> float:
    """The share of resamples that may contradict a gain: a quarter of the false promotions that are allowed.

    Measured with equal models on a few hundred rows with a few large errors, a percentile bootstrap promotes up to
    twice as often as it says; the rest is for the self-test's own chance error, 1.5 points in 200 pairs.
    """
    return limits.false_promotions / 4 / scenes


def difference(judge_: Judge, scene: Scored, tail: float = 0.05) -> Interval:
    """By how much the candidate beats the champion, on the same rows."""
    assert scene.champion is not None
    return bootstrap(judge_, scene.y, scene.candidate, scene.champion, blocks=scene.blocks, tail=tail)


def smallest_gain(evidence: Evidence, limits: Thresholds) -> float:
    """The gain over its rival (the champion, else the linear model) that this holdout could tell from chance."""
    scene = evidence.holdout
    if scene.champion is None or np.array_equal(scene.champion, scene.candidate):
        scene = replace(scene, champion=evidence.baselines["linear"])
    span = difference(evidence.judge, scene, tail_of(limits))
    return span.value - span.low


@threadpool_limits.wrap(limits=1)
def self_test(evidence: Evidence, limits: Thresholds) -> SelfTest:
    """Does the gate let through what is no better? Judges pairs of equal models with the gate's own decision.

    Two models of different kind disagree row by row. Exchanging their predictions in a random half of the rows, or
    blocks, gives two models that are equal by construction (a randomisation test, Fisher 1935), so every promotion is
    false.
    """
    scene, chance = evidence.holdout, np.random.default_rng(evidence.judge.random_state)
    rows = chance.permutation(len(scene.y))[:ROWS]
    y, one, two = scene.y[rows], scene.candidate[rows], evidence.baselines["linear"][rows]
    blocks = None if scene.blocks is None else scene.blocks[rows]
    pairs = (exchange(y, one, two, chance, blocks) for _ in range(REPETITIONS))
    promoted = sum(bool(champion_gate(evidence.judge, pair, None, limits).passed) for pair in pairs)
    rate = promoted / REPETITIONS
    allowed = limits.false_promotions
    return SelfTest(REPETITIONS, rate, allowed, smallest_gain(evidence, limits), rate <= allowed)


def exchange(
    y: np.ndarray, one: np.ndarray, two: np.ndarray, chance: np.random.Generator, blocks: np.ndarray | None = None
) -> Scored:
    """Two models that are equally good: each takes each row's prediction from either, by the toss of a coin."""
    coins = chance.random(len(y)) < 0.5
    swap = (coins if blocks is None else coins[blocks]).reshape(-1, *[1] * (one.ndim - 1))
    return Scored(y, np.where(swap, two, one), np.where(swap, one, two), blocks)


def _leakage(evidence: Evidence, limits: Thresholds) -> Gate:
    leaks = [leak for leak in evidence.leaks if not set(leak.columns) <= set(limits.accepted_leaks)]
    if not leaks:
        return Gate("leakage", True, "no column or pair of columns gives the target away")
    named = "; ".join(f"{' and '.join(leak.columns)} ({leak.score:.3f})" for leak in leaks)
    way = "if they are known before the outcome is, a reviewer lists them in accepted_leaks of training/gates.yaml"
    return Gate("leakage", False, f"the target is given away by {named}; {way}")


def _look_ahead(evidence: Evidence) -> list[Gate]:
    if evidence.look_ahead is None:
        return []
    said = "no feature knows what is later than the origin, or older than forecast.py says"
    if named := ", ".join(evidence.look_ahead):
        said = f"changed with rows later than the origin, or older than `needed` in forecast.py says: {named}"
    return [Gate("look-ahead", not named, said)]


def _floor(evidence: Evidence, limits: Thresholds) -> Gate:
    span = bootstrap(evidence.judge, evidence.holdout.y, evidence.holdout.candidate, blocks=evidence.holdout.blocks)
    message = f"{evidence.judge.metric} {span.value:.3f} [{span.low:.3f}, {span.high:.3f}]"
    return Gate("floor", span.value >= limits.floor, message, span.value, limits.floor)


def _baselines(evidence: Evidence, limits: Thresholds) -> list[Gate]:
    """Better than the constant, and than last season, beyond doubt; not clearly worse than the linear model, which is
    the simpler choice.
    """
    scenes = {name: replace(evidence.holdout, champion=other) for name, other in evidence.baselines.items()}
    spans = {name: difference(evidence.judge, scene, limits.false_promotions) for name, scene in scenes.items()}
    dummy, linear, naive = spans["dummy"], spans["linear"], spans.get("seasonal naive")
    last = naive and Gate("seasonal naive", naive.low > 0, f"{naive} against the last season", naive.low, 0.0)
    return [
        Gate("dummy", dummy.low > 0, f"{dummy} against a constant", dummy.low, 0.0),
        *([last] if last else []),
        Gate("linear", linear.high >= 0, f"{linear} against a linear model", linear.high, 0.0),
    ]


def _slices(evidence: Evidence, limits: Thresholds) -> Gate:
    if not evidence.slices:
        return Gate("slices", None, f"no slice has {limits.slice_rows} rows")
    whole = evidence.judge.point(evidence.holdout.y, evidence.holdout.candidate)
    worst = min(evidence.slices, key=lambda item: item["high"])
    gap = whole - worst["high"]
    message = f"the worst is {worst['column']} = {worst['value']}: {worst['score']:.3f} against {whole:.3f}"
    return Gate("slices", gap <= limits.slice_gap, message, gap, limits.slice_gap)


def _calibration(evidence: Evidence, limits: Thresholds) -> Gate:
    error = calibration_error(evidence.judge, evidence.holdout.y, evidence.calibration)
    return _at_most("calibration", error, limits.calibration_error, "mean error")


def _at_most(name: str, value: float, limit: float, unit: str) -> Gate:
    return Gate(name, value <= limit, f"{value:.3g} {unit}, at most {limit:g}", value, limit)


def _card(evidence: Evidence) -> Gate:
    if len(evidence.intended_use.split()) < 5:
        return Gate("model card", False, "docs/intended_use.md does not say what the model is for")
    return Gate("model card", True, "its intended use is written down")
