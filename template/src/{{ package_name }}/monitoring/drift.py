"""How far a column has moved: measures of one window's values against those of the past."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

BINS = 10
MOST = 30  # values of a category that count on their own
EXPECTED = 10  # rows of a value that has vanished: fewer may be missing by chance


@dataclass(frozen=True)
class Measures:
    """Of one column in one window: the stability index, and missing and new or vanished values as shares of rows.

    `p_value` is that of Smirnov's test, where it has a place.
    """

    psi: float
    missing: float
    values: float
    p_value: float | None = None


def measure(past: pd.Series, now: pd.Series, *, beyond: float = 0.0) -> Measures:
    """The stability index, the missing values beyond the past's, and the new or vanished ones of a category.

    Numbers with an index below `beyond` are not tested.
    """
    before, here = past.dropna(), now.dropna()
    missing = float(now.isna().mean() - past.isna().mean())
    if before.empty or here.empty:
        return Measures(0.0, missing, 0.0)
    new = 0.0 if is_number(past) else novelty(before, here)
    index = psi(*shares(before, here)[1:])
    return Measures(index, missing, new, smirnov(before, here) if index >= beyond else None)


def is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def shares(past: pd.Series, now: pd.Series) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Labels of the bins, and the rows of either side in them: tenths of the past, or a category's values.

    What is new, or rare in the past, is one bin.
    """
    if is_number(past):
        past, now = past.to_numpy(float), now.to_numpy(float)
        edges = np.unique(np.quantile(past, np.linspace(0, 1, BINS + 1)[1:-1]))
        names = [f"≤ {edge:.3g}" for edge in edges] + [f"> {edges[-1]:.3g}"]
        before, here = (np.bincount(np.searchsorted(edges, side), minlength=len(names)) for side in (past, now))
        return names, before, here
    values, before, here = count(past, now)
    most = np.argsort(-before, kind="stable")[: min(MOST, np.count_nonzero(before))]
    before, here = (np.append(side[most], side.sum() - side[most].sum()) for side in (before, here))
    return [*values[most], "other"], before, here


def count(past: pd.Series, now: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values of a category as text, and the rows of either side that have each."""
    codes, values = pd.factorize(pd.concat([past, now]).astype(str))
    before, here = (np.bincount(side, minlength=len(values)) for side in np.split(codes, [len(past)]))
    return values.to_numpy(), before, here


def psi(past: np.ndarray, now: np.ndarray) -> float:
    """The population stability index (Siddiqi, Credit Risk Scorecards, 2006) of the rows in each bin.

    Half a row is added to every bin, so that an empty one counts and does not count for ever.
    """
    expected, actual = ((side + 0.5) / (side.sum() + 0.5 * len(side)) for side in (past, now))
    return float(((actual - expected) * np.log(actual / expected)).sum())


def smirnov(past: pd.Series, now: pd.Series) -> float | None:
    """The p-value of the two-sample Kolmogorov-Smirnov test (Smirnov, 1939): could both be of one distribution?

    None where it has no place: for a category.
    """
    from scipy.stats import ks_2samp

    if not is_number(past):
        return None
    return float(ks_2samp(past.to_numpy(float), now.to_numpy(float), method="asymp").pvalue)


def novelty(past: pd.Series, now: pd.Series) -> float:
    """The share of rows whose value the past does not know, and of the past's rows whose value has vanished."""
    _, before, here = count(past, now)
    gone = before[(here == 0) & (before / len(past) * len(now) >= EXPECTED)]
    return float(here[before == 0].sum() / len(now) + gone.sum() / len(past))


def season(past: pd.Series, now: pd.Series, *, leeway: int = 15) -> np.ndarray:
    """Which rows of the past are of the window's time of the year, give or take some days; dates both.

    All of them where the past is less than a year.
    """
    if past.max() - past.min() < pd.Timedelta(days=365):
        return np.ones(len(past), bool)
    middle = now.min() + (now.max() - now.min()) / 2
    days = (past.dt.day_of_year - middle.day_of_year).abs()
    return (np.minimum(days, 365 - days) <= (now.max() - middle).days + leeway).to_numpy(bool)
