"""Looks for columns that give the target away: alone, or two of them together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

SAMPLE = 2000  # rows; a column that gives the target away does so in any two thousand
STRONGEST = 10  # columns of which every pair is tried
SUSPICIOUS = {"classification": 0.99, "regression": 0.98}  # AUC, R²


@dataclass(frozen=True)
class Leak:
    """Columns from which a small tree reads the target, and how well it does so out of fold."""

    columns: tuple[str, ...]
    score: float


def find(
    frame: pd.DataFrame, *, target: str, task: str, features: list[str], random_state: int = 0
) -> list[Leak]:
    """The single features, then the pairs of other features, that score suspiciously well.

    A tree with cross-validation on a sample; pairs of numbers also as sum, difference and ratio.
    """
    sample = frame.sample(min(SAMPLE, len(frame)), random_state=random_state)
    y = sample[target] if task == "regression" else sample[target].astype(str)
    values = {name: _as_numbers(sample[name]) for name in features}
    alone = {name: _score(values[name][:, None], y, task) for name in features}
    limit = SUSPICIOUS[task]
    leaks = [Leak((name,), score) for name, score in alone.items() if score >= limit]
    ranked = sorted(
        (name for name in features if alone[name] < limit), key=lambda name: -alone[name]
    )
    for first, second in combinations(ranked[:STRONGEST], 2):
        score = _score(_together(values[first], values[second]), y, task)
        # Two honest columns may score well together; a leak leaps.
        if score >= limit and score - max(alone[first], alone[second]) > 0.02:
            leaks.append(Leak((first, second), score))
    return leaks


def _as_numbers(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(column):
        # Whether there is a date may give the target away; which one only says when.
        return column.isna().to_numpy(float)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.astype("float64").fillna(-9e9).to_numpy()
    return pd.factorize(column)[0].astype(float)


def _together(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    ratio = np.divide(first, second, out=np.zeros_like(first), where=second != 0)
    return np.column_stack([first, second, first + second, first - second, ratio])


def _score(X: np.ndarray, y: pd.Series, task: str) -> float:
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    folds = KFold(2, shuffle=True, random_state=0)
    maker = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    scores = []
    for train, test in folds.split(X):
        tree = maker(min_samples_leaf=3, random_state=0).fit(X[train], y.iloc[train])
        if task == "regression":
            scores.append(r2_score(y.iloc[test], tree.predict(X[test])))
        else:
            scores.append(_auc(tree, X[test], y.iloc[test]))
    return float(np.mean(scores))


def _auc(tree: object, X: np.ndarray, y: pd.Series) -> float:
    """One-vs-rest area under the curve, weighted by how often each class is there."""
    from sklearn.metrics import roc_auc_score

    chances = tree.predict_proba(X)  # type: ignore[attr-defined]
    scores, weights = [], []
    for position, label in enumerate(tree.classes_):  # type: ignore[attr-defined]
        is_label = (y == label).to_numpy()
        if is_label.any() and not is_label.all():
            scores.append(roc_auc_score(is_label, chances[:, position]))
            weights.append(is_label.sum())
    return float(np.average(scores, weights=weights)) if scores else 0.5
