"""Scores with intervals, paired differences, slices, calibration and importance."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from ..metrics import METRICS, Metric
from ..settings import ComputeParams

RESAMPLES = 1000
SPREAD = 10  # parts from which on a bootstrap is spread over processes; fewer are done before those have started
MOST_ROWS = 20_000  # rows that are resampled; more make the interval narrower than anyone can use


@dataclass(frozen=True)
class Interval:
    """A statistic and the span that holds it in 90 of 100 resamples (so 5 % lie below `low`)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class Judge:
    """How predictions are scored: the task's metric, and the classes that `y` counts."""

    task: str
    metric: str
    classes: list[Any]
    random_state: int = 0
    compute: ComputeParams = field(default_factory=ComputeParams)

    @property
    def score(self) -> Metric:
        return METRICS[self.task][self.metric]

    def point(self, y: np.ndarray, prediction: np.ndarray) -> float:
        """The score of all rows, each once."""
        return float(self.score(y, prediction, np.ones((1, len(y))))[0])

    def truth(self, values: pd.Series) -> np.ndarray:
        """Targets as numbers: themselves, or the position of their class."""
        if self.task == "regression":
            return values.to_numpy(float)
        return pd.Categorical(values, categories=self.classes).codes.astype(int)

    def predict(self, model: Any, X: pd.DataFrame) -> np.ndarray:
        """Predictions of shape (n,), or (n, classes) in the order of `classes`, whatever the model has seen."""
        if self.task == "regression":
            return np.asarray(model.predict(X), dtype=float)
        chances = pd.DataFrame(model.predict_proba(X), columns=model.classes_)
        return chances.reindex(columns=self.classes, fill_value=0.0).to_numpy(float)

    def __call__(self, model: Any, X: pd.DataFrame, y: pd.Series) -> float:
        """What scikit-learn calls a scorer."""
        return self.point(self.truth(y), self.predict(model, X))


def bootstrap(
    judge: Judge,
    y: np.ndarray,
    prediction: np.ndarray,
    other: np.ndarray | None = None,
    *,
    blocks: np.ndarray | None = None,
    tail: float = 0.05,
    resamples: int = RESAMPLES,
) -> Interval:
    """The score's interval, or of the difference to `other` on the same resamples (a paired bootstrap).

    Poisson weights stand for drawing rows with replacement (Hanley and MacGibbon, 2006). `tail` is the share of
    resamples on either side of the interval. Rows with the same number in `blocks` are drawn together.
    """
    if len(y) > MOST_ROWS:
        generator = np.random.default_rng(judge.random_state)
        rows = generator.choice(len(y), MOST_ROWS, replace=False)
        y, prediction = y[rows], prediction[rows]
        other = None if other is None else other[rows]
        blocks = None if blocks is None else blocks[rows]
    jobs = [(judge, y, prediction, other, blocks, *part) for part in enumerate(_chunks(resamples, len(y)))]
    found = _spread(judge, jobs) if len(jobs) >= SPREAD else [_resample(*job) for job in jobs]
    value = judge.point(y, prediction) - (0.0 if other is None else judge.point(y, other))
    low, high = np.nanquantile(np.concatenate(found), [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def slices(
    judge: Judge,
    frame: pd.DataFrame,
    y: np.ndarray,
    prediction: np.ndarray,
    *,
    min_rows: int,
    blocks: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """The score for each value of each category with at most ten values, and for each quarter of the year.

    Of a forecast also for each horizon; a slice of less than five blocks would have no interval.
    """
    found = []
    for name in frame.columns:
        for value, rows in _groups(frame[name]):
            drawn = None if blocks is None else blocks[rows]
            if (count := int(rows.sum())) >= min_rows and (drawn is None or len(np.unique(drawn)) >= 5):
                span = bootstrap(judge, y[rows], prediction[rows], blocks=drawn, resamples=200)
                place = {"column": name, "value": value, "rows": count}
                found.append(place | {"score": span.value, "low": span.low, "high": span.high})
    return [item for item in found if not np.isnan(item["score"])]


def calibration(judge: Judge, y: np.ndarray, prediction: np.ndarray) -> list[dict[str, float]]:
    """Mean prediction and mean outcome in ten bins of equal size; of a class, the chance of the likeliest."""
    if judge.task == "regression":
        predicted, observed = prediction, y
    else:
        predicted, observed = prediction.max(axis=1), (prediction.argmax(axis=1) == y).astype(float)
    bins = np.array_split(np.argsort(predicted, kind="stable"), min(10, len(y)))
    return [
        {"predicted": float(predicted[rows].mean()), "observed": float(observed[rows].mean()), "rows": len(rows)}
        for rows in bins
    ]


def calibration_error(judge: Judge, y: np.ndarray, bins: list[dict[str, float]]) -> float:
    """The mean distance between prediction and outcome over the bins; for numbers in standard deviations of y."""
    weights = [b["rows"] for b in bins]
    error = np.average([abs(b["predicted"] - b["observed"]) for b in bins], weights=weights)
    return float(error / (y.std() or 1.0)) if judge.task == "regression" else float(error)


def importance(judge: Judge, model: Any, X: pd.DataFrame, y: pd.Series) -> list[dict[str, Any]]:
    """What the score loses when a column is shuffled (permutation importance, Breiman 2001), largest first."""
    from sklearn.inspection import permutation_importance

    rows = np.random.default_rng(judge.random_state).permutation(len(X))[:1000]
    X, y = X.iloc[rows], y.iloc[rows]
    found = permutation_importance(model, X, y, scoring=judge, n_repeats=3, random_state=judge.random_state)
    losses = zip(X.columns, found.importances_mean, found.importances_std, strict=True)
    named = [{"feature": name, "mean": float(mean), "std": float(std)} for name, mean, std in losses]
    return sorted(named, key=lambda item: -item["mean"])


def confusion(judge: Judge, y: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
    counts = np.zeros((len(judge.classes),) * 2, dtype=int)
    np.add.at(counts, (y, prediction.argmax(axis=1)), 1)
    return {"labels": [str(label) for label in judge.classes], "counts": counts.tolist()}


def _spread(judge: Judge, jobs: list[tuple[Any, ...]]) -> list[np.ndarray]:
    from joblib import Parallel, delayed

    from .compute import spread

    with spread(judge.compute):
        return list(Parallel()(delayed(_resample)(*job) for job in jobs))


def _resample(
    judge: Judge,
    y: np.ndarray,
    prediction: np.ndarray,
    other: np.ndarray | None,
    blocks: np.ndarray | None,
    chunk: int,
    size: int,
) -> np.ndarray:
    """The scores, or differences, of one part of the resamples, seeded by its number."""
    weights = _weights((judge.random_state, chunk), size, len(y) if blocks is None else int(blocks.max()) + 1)
    if blocks is not None:
        weights = weights[:, blocks]
        weights = weights[weights.any(axis=1)]  # of few blocks none may be drawn
    scores = judge.score(y, prediction, weights)
    return scores if other is None else scores - judge.score(y, other, weights)


@lru_cache(maxsize=1)
def _weights(seed: tuple[int, int], resamples: int, rows: int) -> np.ndarray:
    """How often each row is drawn in each resample; the gates ask for the same again and again."""
    drawn = np.random.default_rng(seed).poisson(1.0, size=(resamples, rows))
    return drawn.astype(np.float32)


def _chunks(resamples: int, rows: int) -> list[int]:
    size = max(1, min(resamples, 2_000_000 // max(rows, 1)))
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def _groups(column: pd.Series) -> list[tuple[str, np.ndarray]]:
    if column.dtype.kind == "M":
        column = "quarter " + column.dt.quarter.astype("Int64").astype(str)
    elif pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return []
    values = column.dropna().unique()
    known = sorted(values) if 1 < len(values) <= 10 or column.dtype == "category" else []
    return [(str(value), (column == value).fillna(False).to_numpy(bool)) for value in known]
