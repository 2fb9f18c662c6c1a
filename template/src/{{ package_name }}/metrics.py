"""How good a prediction is; higher is better, as scikit-learn's scorers have it. Yours to edit.

A metric takes the truth `y` of shape (n,), a prediction, and weights of shape (b, n) for b resamples; it returns
b scores. A prediction is of shape (n,) for regression and (n, classes) for classification, where `y` counts classes.
A score that cannot be computed, as the AUC of one class, is NaN.
"""

from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def roc_auc(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve; of several classes the one-vs-rest mean, weighted by how often each is there."""
    if prediction.shape[1] == 2:
        return _binary_auc(y == 1, prediction[:, 1], weights)[0]
    total, share = np.zeros(len(weights)), np.zeros(len(weights))
    for label in range(prediction.shape[1]):
        area, rows = _binary_auc(y == label, prediction[:, label], weights)
        defined = ~np.isnan(area)
        total[defined] += area[defined] * rows[defined]
        share[defined] += rows[defined]
    return np.divide(total, share, out=np.full(len(total), np.nan), where=share > 0)


def accuracy(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _mean(prediction.argmax(axis=1) == y, weights)


def neg_log_loss(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    chances = prediction[np.arange(len(y)), y].clip(1e-15)
    return _mean(np.log(chances), weights)


def r2(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    spread = _mean(y**2, weights) - _mean(y, weights) ** 2
    error = _mean((y - prediction) ** 2, weights)
    return 1 - np.divide(error, spread, out=np.full(len(error), np.nan), where=spread > 1e-12)


def neg_root_mean_squared_error(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return -np.sqrt(_mean((y - prediction) ** 2, weights))


def neg_mean_absolute_error(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return -_mean(np.abs(y - prediction), weights)


METRICS: dict[str, dict[str, Metric]] = {
    "classification": {"roc_auc": roc_auc, "accuracy": accuracy, "neg_log_loss": neg_log_loss},
    "regression": {
        "r2": r2,
        "neg_root_mean_squared_error": neg_root_mean_squared_error,
        "neg_mean_absolute_error": neg_mean_absolute_error,
    },
}


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(axis=1)


def _binary_auc(is_positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weighted Mann-Whitney statistic, ties counted half, and the positives' weight."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    ordered, positive = weights[:, order], is_positive[order]
    up = np.add.reduceat(ordered * positive, starts, axis=1)
    down = np.add.reduceat(ordered * ~positive, starts, axis=1)
    below = down.cumsum(axis=1) - down / 2
    pairs = up.sum(axis=1) * down.sum(axis=1)
    wins = (up * below).sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0), up.sum(axis=1)
