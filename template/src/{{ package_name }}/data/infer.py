"""What a table says of itself: its contract, and the columns that give the target away."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, combinations
from typing import Any

import numpy as np
import pandas as pd

from ..settings import Params, ProjectError, Settings, closest
from . import contract as contracts
from . import dates, sources

SAMPLE = 2000  # rows; a column that gives the target away does so in any two thousand
CLASSES = 100  # values of a target, at most
STRONGEST = 10  # columns of which every pair is tried
SUSPICIOUS = {"classification": 0.99, "regression": 0.98}  # AUC, R²


@dataclass(frozen=True)
class Leak:
    """Columns from which a small tree reads the target, and how well it does so out of fold."""

    columns: tuple[str, ...]
    score: float


class Seen:
    """What the cells of a column, which comes in chunks, have shown so far.

    Distinct values are kept as long as they are `few`; of the kinds in `counted` the hashes of all are. Of a column
    that is text in some files and not in others, the text is.
    """

    def __init__(self, few: int, counted: set[str]) -> None:
        self.few, self.counted, self.count, self.hashed = few, counted, 0, 0
        self.kinds, self.forms, self.values = set[str](), [*dates.FORMS], set[Any]()
        self.low, self.high, self.is_whole, self.is_finite = math.inf, -math.inf, True, True
        self.hashes = [np.empty(0, "uint64")]

    def add(self, column: pd.Series) -> None:
        cells = column.dropna()
        if cells.empty:
            return
        self.count += len(cells)
        self.kinds.add(kind := _kind(cells))
        if kind == "str":
            self.forms = sources.date_forms([cells], self.forms)
        elif kind == "float64":
            numbers = cells.astype(float)
            cells = cells[finite := np.isfinite(numbers)]
            self.low, self.high = min(self.low, numbers[finite].min()), max(self.high, numbers[finite].max())
            self.is_whole &= bool((numbers % 1 == 0).all())
            self.is_finite &= bool(finite.all())
        if len(self.values) <= self.few:
            self.values |= set(cells.unique()[: self.few + 1])
        if kind in self.counted:
            self.hashed += len(cells)
            self.hashes.append(np.unique(contracts.row_hashes(cells.to_frame())))

    @property
    def kind(self) -> str:
        if self.kinds and self.kinds <= {"str", contracts.DATE} and self.forms:
            return contracts.DATE
        return min(self.kinds) if len(self.kinds) == 1 else "str"

    @property
    def distinct(self) -> int:
        return len(np.unique(np.concatenate(self.hashes)))


def infer(settings: Settings) -> tuple[contracts.Contract, int]:
    """The contract that the source keeps, columns that leak left out, and how many rows it has."""
    data, training, rows = settings.params.data, settings.params.training, 0
    sample = contracts.Sample(2**62 if settings.rolling else SAMPLE)  # a step from date to date needs every row
    with sources.gathered(settings) as batches:
        contract = infer_contract(map(sources.batch_chunks, batches.values()), settings.params)
        for frame in chain.from_iterable(map(sources.batch_chunks, batches.values())):
            sample.add(frame.reindex(columns=list(contract["columns"])).dropna(subset=[data.target]))
            rows += len(frame)
    typed = contracts.coerce(sample.frame, contract)[0].dropna(subset=[data.target])
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
    return contract, rows


def infer_contract(batches: Iterable[Iterable[pd.DataFrame]], params: Params) -> contracts.Contract:
    """The contract that batches in chunks keep, with a margin around their numbers.

    ProjectError when the target cannot be learnt. Leaks are looked for elsewhere.
    """
    seen, rows, sample, medians = dict[str, Seen](), 0, contracts.Sample(contracts.MEDIAN_ROWS), []
    for chunks in batches:
        part = contracts.Sample(contracts.MEDIAN_ROWS)
        for frame in chunks:
            rows += len(frame)
            for name in frame:
                seen.setdefault(str(name), _unseen(str(name), params)).add(frame[name])
            numbers = frame.select_dtypes("number", exclude="timedelta").astype(float)
            for each in (sample, part):
                each.add(numbers[np.isfinite(numbers)])
        medians.append(part.frame.median())
    for name in filter(None, [params.data.target, params.data.time, *params.data.key]):
        if name not in seen:
            raise ProjectError(f"The table has no column {closest(name, list(seen))}")
    _check_names(seen, params)
    _check_time(seen, params)
    _check_target(seen[params.data.target], params)
    usual = pd.concat([sample.frame.quantile([0.005, 0.995]), pd.DataFrame(medians)])
    found = {name: _infer_column(column, name, rows, usual, params) for name, column in seen.items()}
    return {"schema_type": "dataframe", "columns": found, "strict": True, "unique": params.data.key or None}


def _unseen(name: str, params: Params) -> Seen:
    """Only of what may be a key by mistake all values are counted: text, and whole numbers that are called an id."""
    data = params.data
    named = re.search(r"(?i)(^|[_ .-])(id|key|uuid|guid|number|no|nr|index)$|^Unnamed: ", name)
    numbers = {"float64"} if named or re.search(r"[a-z]I[dD]$", name) else set()
    known = name in (data.target, data.time, *data.key)
    return Seen(max(params.features.max_categories, CLASSES), set() if known else {"str"} | numbers)


def find_leaks(frame: pd.DataFrame, target: str, task: str, features: list[str]) -> list[Leak]:
    """The single features, then the pairs of other features, that score suspiciously well.

    A tree with cross-validation on a sample; pairs of numbers also as sum, difference and ratio.
    """
    sample = frame.sample(min(SAMPLE, len(frame)), random_state=0)
    if task == "classification":  # a class that is there once cannot be cross-validated
        labels = sample[target].astype(str)
        labels = labels[labels.map(labels.value_counts()) > 1]
        sample = sample.loc[labels.index].assign(**{target: labels})
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


def _infer_column(seen: Seen, name: str, rows: int, usual: pd.DataFrame, params: Params) -> contracts.Contract:
    role, why = _role(seen, name, params)
    rules: contracts.Contract = {"role": role} | ({"why": why} if why else {})
    rules |= {"dtype": _dtype(seen, role), "nullable": seen.count < rows}
    if seen.kind == contracts.DATE and "str" in seen.kinds and seen.forms[0] != sources.ISO_FORM:
        rules["form"] = seen.forms[0]
    if role == "feature" and seen.kind == "float64":
        ends = usual[name].min(), usual[name].max()
        return rules | {
            "in_range": _span(seen),
            "typical": [_rounded(ends[0], math.floor), _rounded(ends[1], math.ceil)],
        }
    return rules | (_limits(seen, role, params) if role in {"feature", "target"} else {})


def _dtype(seen: Seen, role: str) -> str:
    """The column's kind; but of whole numbers that name something every digit counts, as in an id of 19 digits."""
    is_name = role in {"key", "series"} or (role == "left out" and seen.hashed)
    if seen.kind != "float64" or not (is_name and seen.is_whole and seen.is_finite):
        return seen.kind
    return "Int64" if seen.low >= -(2**63) and seen.high < 2**63 else "str"


def _kind(cells: pd.Series) -> str:
    if pd.api.types.is_datetime64_any_dtype(cells):
        return contracts.DATE
    kind = pd.api.types.infer_dtype(cells)
    if kind == "boolean":
        return "boolean"
    is_number = kind in {"decimal", "integer", "floating"} or pd.api.types.is_numeric_dtype(cells)
    return "float64" if is_number else "str"


def _role(seen: Seen, name: str, params: Params) -> tuple[str, str]:
    """The role of a column and, for one that is left out, the reason."""
    data = params.data
    if name in (data.target, data.time, *data.key):
        key = "series" if params.forecast else "key"
        return "target" if name == data.target else "time" if name == data.time else key, ""
    if len(seen.values) <= 1:
        return "left out", "constant"
    if _is_like_a_key(seen, params):
        return "left out", f"{seen.distinct:,} values in {seen.hashed:,} rows, like a key"
    return "feature", ""


def _is_like_a_key(seen: Seen, params: Params) -> bool:
    """Text that is nearly always new, and whole numbers that never repeat and are called an id."""
    if seen.kind == "str":
        return seen.distinct > max(params.features.max_categories, 0.3 * seen.hashed)
    return seen.kind == "float64" and seen.is_whole and 0 < seen.distinct == seen.hashed


def _limits(seen: Seen, role: str, params: Params) -> contracts.Contract:
    """What the values of a category or the target keep to."""
    if seen.kind == "float64":
        is_class = params.training.task == "classification"
        return {"isin": sorted(map(float, seen.values))} if is_class else {"in_range": _span(seen)}
    if seen.kind == "str" and (role == "target" or len(seen.values) <= params.features.max_categories):
        return {"isin": sorted(map(str, seen.values))}
    return {}


def _check_names(seen: dict[str, Seen], params: Params) -> None:
    taken = {"prediction", "horizon"} if params.forecast else {"prediction"}
    if names := sorted(taken & seen.keys()):
        raise ProjectError(
            f"The column {names[0]} is called like what is kept beside the table's columns: rename it at its source."
        )


def _check_time(seen: dict[str, Seen], params: Params) -> None:
    name = params.data.time
    if name and seen[name].kind != contracts.DATE:
        example = next(iter(seen[name].values), "nothing")
        raise ProjectError(
            f"The time column {name} holds no dates, but {str(example)!r} for example: write 2024-12-31 or "
            "2024-12-31 14:05 at its source, or set data.time in params.yaml."
        )


def _check_target(seen: Seen, params: Params) -> None:
    """What cannot be learnt is said here, before anything is written."""
    name, task, kind = params.data.target, params.training.task, seen.kind
    if len(seen.values) < 2:
        raise ProjectError(f"The target {name} has one value only: nothing can be learnt.")
    if not seen.is_finite:
        raise ProjectError(f"The target {name} is infinite in some rows: mend them at their source.")
    if task != "classification" and kind != "float64":
        raise ProjectError(f"The target {name} is {contracts.KINDS[kind]}, not a number: set training.task.")
    if task == "classification" and (len(seen.values) > CLASSES or kind == contracts.DATE):
        raise ProjectError(f"The target {name} has so many values that they are no categories: set training.task.")


def _span(seen: Seen) -> dict[str, float]:
    """The observed span with a quarter of it on either side, rounded; never negative stays so."""
    low, high = seen.low, seen.high
    margin = (high - low) / 4 or abs(high) / 4 or 1.0
    unit = 10.0 ** math.floor(math.log10(margin))
    bottom = 0.0 if low >= 0 else math.floor((low - margin) / unit) * unit
    top = math.ceil((high + margin) / unit) * unit
    return {"min_value": float(f"{bottom:.10g}"), "max_value": float(f"{top:.10g}")}


def _rounded(end: float, outwards: Callable[[Decimal], int]) -> float:
    """The end of a span in four digits, outwards: rounded inwards the data itself would be outside."""
    if not end:
        return 0.0
    number = Decimal(float(end))
    unit = Decimal(10) ** (number.adjusted() - 3)
    return float(outwards(number / unit) * unit)


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
