"""Looks for better parameters with scikit-learn's successive halving, on the training rows alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import Field

from ..data import contract as contracts
from ..data.split import Split
from ..features import as_input
from ..model import make_model
from ..settings import Section, Settings, read_yaml, validate
from . import evaluate, judging, train

FILE = Path("training/search.yaml")
RESULT = "best"


class Space(Section):
    """training/search.yaml: how many candidates, how many folds, and the values of each of the model's arguments."""

    candidates: int = Field(16, ge=2)
    folds: int = Field(3, ge=2)
    model: dict[str, list[Any]]


def search(settings: Settings, split: Split) -> dict[str, Any]:
    """The best arguments found, written as the overlay training/experiments/best.yaml."""
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV

    space = validate(Space, read_yaml(settings.root / FILE), str(FILE))
    contract = contracts.load(settings.root)
    X = as_input(split.train, contracts.features(contract))
    finder = HalvingRandomSearchCV(
        make_model(X, settings.params),
        {f"estimator__{name}": values for name, values in space.model.items()},
        n_candidates=space.candidates,
        cv=space.folds,
        scoring=_scorer(judging.judge_of(settings, contract)),
        min_resources="exhaust",
        random_state=settings.params.training.random_state,
        n_jobs=1,  # gradient boosting takes all cores by itself
    ).fit(X, train.target_of(split.train, settings))
    best = {
        name.removeprefix("estimator__"): value.item() if isinstance(value, np.generic) else value
        for name, value in finder.best_params_.items()
    }
    path = settings.root / "training" / "experiments" / f"{RESULT}.yaml"
    path.write_text(yaml.safe_dump({"model": best}), encoding="utf-8")
    return best


def _scorer(judge: evaluate.Judge) -> Callable[[Any, Any, Any], float]:
    """params.yaml's metric, as scikit-learn calls a scorer."""

    def score(estimator: Any, X: Any, y: Any) -> float:
        weights = np.ones((1, len(y)))
        return float(judge.score(judge.truth(y), judge.predict(estimator, X), weights)[0])

    return score
