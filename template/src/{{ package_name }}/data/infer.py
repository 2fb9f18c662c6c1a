"""What a table says of itself: its contract, and the columns that give the target away."""

import math
import re
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ..settings import Params, ProjectError, Settings, closest
from . import contract as contracts
from . import sources

SAMPLE = 2000  # rows; a column that gives the target away does so in any two thousand
STRONGEST = 10  # columns of which every pair is tried
SUSPICIOUS = {"classification": 0.99, "regression": 0.98}  # AUC, R²


@dataclass(frozen=True)
class Leak:
    """Columns from which a small tree reads the target, and how well it does so out of fold."""

    columns: tuple[str, ...]
    score: float


def infer(settings: Settings) -> tuple[contracts.Contract, pd.DataFrame]:
    """The contract that the source keeps, columns that leak left out, and its rows."""
    data, training = settings.params.data, settings.params.training
    with sources.gathered(settings) as batches:
        tables = {name: sources.read_batch(path) for name, path in batches.items()}
    frame = pd.concat(tables, names=[contracts.BATCH])
    for name in filter(None, [data.target, data.time, *data.key]):
        if name not in frame:
            raise ProjectError(f"The table has no column {closest(name, list(map(str, frame)))}")
    contract = infer_contract(frame, settings.params)
    typed = contracts.coerce(frame, contract)[0].dropna(subset=[data.target])
    if rolling := settings.rolling:
        contract["columns"][data.time]["spacing"] = rolling.spacing(typed, data)
        typed = rolling.changes(typed, data)
    measure = "R²" if training.kind == "regression" else "AUC"
    for leak in find_leaks(typed, data.target, training.kind, contracts.columns(contract, "feature")):
        *others, name = leak.columns
        beside = f"together with {others[0]}" if others else "alone"
        rules = contract["columns"][name]
        why = f"gives {data.target} away: {measure} {leak.score:.3f} {beside}"
        kept = {"dtype": rules["dtype"], "nullable": rules["nullable"]}
        contract["columns"][name] = {"role": "left out", "why": why, **kept}
    if not contracts.features(contract):
        raise ProjectError("No column is left to learn from: all are keys, constant or leak.")
    return contract, frame


def infer_contract(frame: pd.DataFrame, params: Params) -> contracts.Contract:
    """The contract that a frame of batches keeps, with a margin around its numbers.

    ProjectError when the target cannot be learnt. Leaks are looked for elsewhere.
    """
    found = {str(name): _infer_column(frame[name], str(name), params) for name in frame}
    _check_target(frame[params.data.target], found[params.data.target]["dtype"], params)
    return {"schema_type": "dataframe", "columns": found, "strict": True, "unique": params.data.key or None}


def find_leaks(frame: pd.DataFrame, target: str, task: str, features: list[str]) -> list[Leak]:
    """The single features, then the pairs of other features, that score suspiciously well.

    A tree with cross-validation on a sample; pairs of numbers also as sum, difference and ratio.
    """
    sample = frame.sample(min(SAMPLE, len(frame)), random_state=0)
    if task == "classification":  # a class that is there once cannot be cross-validated
        labels = sample[target].astype(str)
        sample = sample[labels.map(labels.value_counts()) > 1].assign(**{target: labels})
    if sample[target].nunique() < 2:
        return []
    values = {name: _as_numbers(sample[name]) for name in features}
    alone = {name: _score(values[name][:, None], sample[target], task) for name in features}
    limit = SUSPICIOUS[task]
    leaks = [Leak((name,), score) for name, score in alone.items() if score >= limit]
    ranked = sorted((name for name in features if alone[name] < limit), key=lambda name: -alone[name])
    for first, second in combinations(ranked[:STRONGEST], 2):
        score = _score(_together(values[first], values[second]), sample[target], task)
        # Two honest columns may score well together; a leak leaps.
        if score >= limit and score - max(alone[first], alone[second]) > 0.02:
            leaks.append(Leak((first, second), score))
    return leaks


def _infer_column(column: pd.Series, name: str, params: Params) -> contracts.Contract:
    dates = sources.as_dates(column)
    kind = _kind(column, dates)
    values = (column if dates is None else dates).dropna()
    role, why = _role(values, name, kind, params)
    rules: contracts.Contract = {"role": role} | ({"why": why} if why else {})
    rules |= {"dtype": kind, "nullable": bool(column.isna().any())}
    return rules | (_limits(values, kind, role, params) if role in {"feature", "target"} else {})


def _kind(column: pd.Series, dates: pd.Series | None) -> str:
    if dates is not None:
        return "datetime64[us]"
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "boolean":
        return "boolean"
    is_number = kind in {"decimal", "integer", "floating"} or pd.api.types.is_numeric_dtype(column)
    return "float64" if is_number else "str"


def _role(values: pd.Series, name: str, kind: str, params: Params) -> tuple[str, str]:
    """The role of a column and, for one that is left out, the reason."""
    data = params.data
    if name in (data.target, data.time, *data.key):
        key = "series" if params.forecast else "key"
        return "target" if name == data.target else "time" if name == data.time else key, ""
    if values.replace([math.inf, -math.inf], None).nunique() <= 1:
        return "left out", "constant"
    if _is_like_a_key(values, name, kind, params):
        return "left out", f"{values.nunique():,} values in {len(values):,} rows, like a key"
    return "feature", ""


def _is_like_a_key(values: pd.Series, name: str, kind: str, params: Params) -> bool:
    """Text that is nearly always new, and whole numbers that never repeat and are called an id."""
    if kind == "str":
        return values.nunique() > max(params.features.max_categories, 0.3 * len(values))
    named = re.search(r"(?i)(^|[_ .-])(id|key|uuid|guid|number|no|nr|index)$|^Unnamed: ", name)
    is_whole = kind == "float64" and (values.astype(float) % 1 == 0).all()
    return bool(is_whole and values.is_unique and (named or re.search(r"[a-z]I[dD]$", name)))


def _limits(values: pd.Series, kind: str, role: str, params: Params) -> contracts.Contract:
    """What the values of a feature or the target keep to."""
    if kind == "float64":
        numbers = values.astype(float)
        numbers = numbers[np.isfinite(numbers)]
        if role == "feature":
            return {"in_range": _span(numbers), "typical": _typical(numbers)}
        is_class = params.training.task == "classification"
        return {"isin": sorted(numbers.unique().tolist())} if is_class else {"in_range": _span(numbers)}
    if kind == "str" and (role == "target" or values.nunique() <= params.features.max_categories):
        return {"isin": sorted(values.astype(str).unique().tolist())}
    return {}


def _check_target(values: pd.Series, kind: str, params: Params) -> None:
    """What cannot be learnt is said here, before anything is written."""
    name, task, known = params.data.target, params.training.task, values.nunique()
    if known < 2:
        raise ProjectError(f"The target {name} has one value only: nothing can be learnt.")
    if kind == "float64" and np.isinf(values.astype(float)).any():
        raise ProjectError(f"The target {name} is infinite in some rows: mend them at their source.")
    if task != "classification" and kind != "float64":
        raise ProjectError(f"The target {name} is {contracts.KINDS[kind]}, not a number: set training.task.")
    if task == "classification" and (known > 100 or kind.startswith("datetime")):
        raise ProjectError(f"The target {name} has {known:,} values, which are no categories: set training.task.")


def _span(numbers: pd.Series) -> dict[str, float]:
    """The observed span with a quarter of it on either side, rounded; never negative stays so."""
    low, high = numbers.min(), numbers.max()
    margin = (high - low) / 4 or abs(high) / 4 or 1.0
    unit = 10.0 ** math.floor(math.log10(margin))
    bottom = 0.0 if low >= 0 else math.floor((low - margin) / unit) * unit
    top = math.ceil((high + margin) / unit) * unit
    return {"min_value": float(f"{bottom:.10g}"), "max_value": float(f"{top:.10g}")}


def _typical(numbers: pd.Series) -> list[float]:
    """The span of nearly all values, and of the medians of the batches that are known."""
    span = numbers.quantile([0.005, 0.995]).tolist()
    if numbers.index.nlevels > 1:
        span += numbers.groupby(level=0).median().tolist()
    return [float(f"{min(span):.4g}"), float(f"{max(span):.4g}")]


def _as_numbers(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(column):
        # Whether there is a date may give the target away; which one only says when.
        return column.isna().to_numpy(float)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column.astype("float64").fillna(-9e9).clip(-9e15, 9e15).to_numpy()
    return pd.factorize(column)[0].astype(float)


def _together(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    ratio = np.divide(first, second, out=np.zeros_like(first), where=second != 0)
    return np.column_stack([first, second, first + second, first - second, ratio])


def _score(X: np.ndarray, y: Any, task: str) -> float:
    """R², or of several classes the AUC of one against the rest, weighted by how often each is there."""
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if task == "regression":
        tree, folds, measure = DecisionTreeRegressor, KFold, "r2"
    else:
        tree, folds, measure = DecisionTreeClassifier, StratifiedKFold, "roc_auc_ovr_weighted"
    model = tree(min_samples_leaf=3, random_state=0)
    return float(cross_val_score(model, X, y, cv=folds(2, shuffle=True, random_state=0), scoring=measure).mean())
