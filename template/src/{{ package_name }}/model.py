"""The model, and the linear one that it has to beat. Yours to edit."""

import pandas as pd
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from .features import make_preprocessor
from .settings import Params, ProjectError, closest


def make_model(X: pd.DataFrame, params: Params) -> Pipeline:
    """The unfitted pipeline; `params.model` are the estimator's keyword arguments."""
    is_regression = params.training.kind == "regression"
    maker = HistGradientBoostingRegressor if is_regression else HistGradientBoostingClassifier
    known = maker().get_params()
    for name in params.model:
        if name not in known:
            raise ProjectError(f"model: {maker.__name__} has no argument {closest(name, list(known))}")
    estimator = maker(**{"random_state": params.training.random_state} | params.model)
    features = make_preprocessor(X, max_categories=params.features.max_categories)
    return Pipeline([("features", features), ("estimator", estimator)])


def make_baselines(X: pd.DataFrame, params: Params) -> dict[str, Pipeline]:
    """What any model has to beat: a constant, and a linear model on the same columns."""
    is_regression = params.training.kind == "regression"
    features = make_preprocessor(X, max_categories=params.features.max_categories, is_linear=True)
    linear = Ridge() if is_regression else LogisticRegression(max_iter=300)
    dummy = DummyRegressor() if is_regression else DummyClassifier(strategy="prior")
    return {
        "dummy": Pipeline([("estimator", dummy)]),
        "linear": Pipeline([("features", features), ("estimator", linear)]),
    }
