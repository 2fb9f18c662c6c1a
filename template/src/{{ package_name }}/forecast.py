"""What a forecast knows when it is made, and the model that makes it. Yours to edit."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from . import model
from .settings import Params

LAGS = (0, 1, 2, 3, 6, 13)  # steps before the origin, the last date whose values are known
SPANS = (7, 28)  # steps up to the origin that a mean and a spread are taken of


def needed(season: int) -> int:
    """How many steps of history a forecast needs: the longest that a feature looks back. A gate checks it."""
    return max(*LAGS, *SPANS, season) + 1


def make_features(
    history: pd.DataFrame, dates: pd.DatetimeIndex, horizon: int, *, target: str, others: list[str], season: int
) -> dict[str, Any]:
    """What is known at each origin of the target `horizon` steps later. Only look back: a gate sees it if you do not.

    `history[name]` has a row for each origin, evenly spaced, and a column for each series, NaN where the data has no
    row. A feature has that shape, or a value for each origin. `dates` are those of the target: the model sees their
    month and weekday anyway, the horizon and the names of the series too.
    """
    y = history[target]
    features: dict[str, Any] = {"level": y.rolling(season, min_periods=1).mean()}
    features |= {f"{target} lag {lag}": y.shift(lag) for lag in LAGS}
    for span in SPANS:
        past = y.rolling(span, min_periods=2)
        features |= {f"{target} mean {span}": past.mean(), f"{target} spread {span}": past.std()}
    # The newest value at the target's place in the season.
    features[f"{target} last season"] = y.shift(-horizon % season)
    features |= {f"{name} lag 0": history[name] for name in others}
    if (dates.hour != dates.hour[0]).any():
        features["hour"] = dates.hour
    return features


class AboveLevel(HistGradientBoostingRegressor):
    """Learns by how much the target is above its level, the first column: trees alone cannot follow a trend."""

    def fit(self, X: np.ndarray, y: Any, sample_weight: Any = None) -> Self:
        self.level_ = float(np.nanmean(X[:, 0]))
        super().fit(X, np.asarray(y) - self._level(X), sample_weight)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return super().predict(X) + self._level(X)

    def _level(self, X: np.ndarray) -> np.ndarray:
        return np.nan_to_num(X[:, 0], nan=self.level_)


def make_model(X: pd.DataFrame, params: Params) -> Pipeline:
    """The pipeline of model.py, whose numbers come first and keep their order, above the level."""
    pipeline = model.make_model(X, params)
    return pipeline.set_params(estimator=AboveLevel(**pipeline["estimator"].get_params()))
