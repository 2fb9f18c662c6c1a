"""What the model sees of a row. Yours to edit."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler


class CalendarFeatures(TransformerMixin, BaseEstimator):
    """Month, weekday and the day's place in the year (as a circle) of each date; no year, which would only grow."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Dates of shape (rows, columns) as numbers of shape (rows, 4 x columns)."""
        parts = []
        for name in X.columns:
            dates = pd.to_datetime(X[name]).dt
            angle = 2 * np.pi * dates.day_of_year / 365.25
            parts += [dates.month, dates.day_of_week, np.sin(angle), np.cos(angle)]
        return np.column_stack(parts).astype(float)


def make_preprocessor(X: pd.DataFrame, *, max_categories: int, is_linear: bool = False) -> ColumnTransformer:
    """Numbers, categories and dates, each prepared for trees, or for a linear model."""
    dates = [name for name in X if X[name].dtype.kind == "M"]
    numbers = [name for name in X if X[name].dtype.kind == "f"]
    texts = [name for name in X if name not in {*dates, *numbers}]
    if is_linear:
        number: Any = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
        text: Any = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=max_categories)
        calendar: Any = make_pipeline(CalendarFeatures(), SimpleImputer(keep_empty_features=True), StandardScaler())
    else:
        number, calendar = "passthrough", CalendarFeatures()
        text = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=max_categories)
    return ColumnTransformer([("numbers", number, numbers), ("texts", text, texts), ("dates", calendar, dates)])
