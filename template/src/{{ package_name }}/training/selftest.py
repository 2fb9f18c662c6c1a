"""Does the gate let through what is no better? Measured on this project's own holdout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ..data.split import Split
from ..settings import Settings
from . import gates, judging

REPETITIONS = 200
ROWS = 500  # of the holdout; more make the answer slower, not another


@dataclass(frozen=True)
class SelfTest:
    """The share of equal models that the gate would have promoted, and the smallest gain it can see."""

    repetitions: int
    false_promotion_rate: float
    limit: float
    smallest_gain: float

    @property
    def passed(self) -> bool:
        return self.false_promotion_rate <= self.limit


@threadpool_limits.wrap(limits=1)
def run(settings: Settings, split: Split, fitted: judging.Fitted) -> SelfTest:
    """Judges pairs of equal models with the gate's own decision.

    Two baselines of different kind disagree row by row. Exchanging their predictions in a random half of the rows
    gives two models that are equal by construction (a randomisation test, Fisher 1935), so every promotion is false.
    """
    evidence = judging.gather(settings, split, fitted)
    limits = gates.load(settings.root)
    scene = evidence.holdout
    generator = np.random.default_rng(settings.params.training.random_state)
    rows = generator.permutation(len(scene.y))[:ROWS]
    y, one, two = scene.y[rows], scene.candidate[rows], evidence.baselines["linear"][rows]
    promoted = 0
    for _ in range(REPETITIONS):
        pair = exchange(y, one, two, generator)
        promoted += bool(gates.champion_gate(evidence.judge, pair, None, limits).passed)
    return SelfTest(
        REPETITIONS,
        promoted / REPETITIONS,
        limits.false_promotions,
        judging.smallest_gain(evidence, limits),
    )


def exchange(
    y: np.ndarray, one: np.ndarray, two: np.ndarray, generator: np.random.Generator
) -> gates.Scored:
    """Two models that are equally good: each takes each row's prediction from either, by the toss of a coin."""
    swap = generator.random(len(y)) < 0.5
    shape = (-1, *[1] * (one.ndim - 1))
    swap = swap.reshape(shape)
    return gates.Scored(y, np.where(swap, two, one), np.where(swap, one, two))
