"""The data contract: inferred from the first data, edited by people, checked against every batch.

data/contract.yaml is a pandera schema in YAML. Three keys of a column are ours, and taken off before
pandera reads it: `role` (feature, target, key, time, left out), `why` it is left out, and `typical`,
the span that the median of a batch keeps to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ..errors import ContractError, ProjectError
from ..settings import Params, Settings, read_yaml
from . import sources

FILE = Path("data/contract.yaml")
BATCH = "batch of data/raw"  # the outer level of the index of all batches as one frame
ENOUGH = 20  # rows from which on a batch's median says something
HEADER = """\
# What the data has to look like: a pandera schema, inferred from the first data and yours to edit.
#   role      feature, target, key, time or left out (then with the reason, why)
#   in_range  the smallest and the largest value;  isin: the values of a category
#   typical   the span that the median of a batch keeps to; outside, the unit may have changed
#   nullable  whether a value may be missing; rows without a target are left out if it may
# A batch that breaks it stops the loop with exit code 30 and the champion stays.
"""
Contract = dict[str, Any]


@dataclass(frozen=True)
class Breach:
    """One way in which a batch breaks the contract; `row` counts from 1, None is all of them."""

    batch: str
    column: str
    row: int | None
    problem: str

    def __str__(self) -> str:
        place = f" (first in row {self.row})" if self.row else ""
        return f"{self.column}: {self.problem}{place}"


def load(root: Path) -> Contract:
    return read_yaml(root / FILE)


def save(root: Path, contract: Contract) -> None:
    text = yaml.safe_dump(contract, sort_keys=False, allow_unicode=True, width=100)
    (root / FILE).write_text(HEADER + text, encoding="utf-8")


def columns(contract: Contract, *roles: str) -> list[str]:
    """The columns that have one of the roles, in the contract's order."""
    return [name for name, column in contract["columns"].items() if column["role"] in roles]


def features(contract: Contract) -> list[str]:
    """What a model may learn from: the features, and when the row was seen."""
    return columns(contract, "feature", "time")


def infer(frame: pd.DataFrame, params: Params) -> Contract:
    """The contract that a frame of batches keeps, with a margin around its numbers.

    ProjectError when the target cannot be learnt. Leaks are looked for elsewhere.
    """
    found = {str(name): _infer_column(frame[name], str(name), params) for name in frame}
    _check_target(frame[params.data.target], found[params.data.target], params)
    keys = params.data.key or None
    return {"schema_type": "dataframe", "columns": found, "strict": True, "unique": keys}


def coerce(frame: pd.DataFrame, contract: Contract, name: str) -> tuple[pd.DataFrame, list[Breach]]:
    """The frame in the contract's types, and the cells that do not read as such."""
    typed, breaches = frame.copy(), []
    for column, rules in contract["columns"].items():
        if column not in frame:
            continue
        typed[column] = _as_type(frame[column], rules["dtype"])
        bad = typed[column].isna() & frame[column].notna()
        if bad.any():
            value = frame.loc[bad, column].iloc[0]
            problem = f"{_of(bad)} not {KINDS[rules['dtype']]}, for example {value!r}"
            breaches.append(Breach(name, column, _first(bad), problem))
    return typed, breaches


def check(frame: pd.DataFrame, contract: Contract, *, name: str) -> list[Breach]:
    """Every way in which the frame breaks the contract; the order is the contract's."""
    typed, wrong_type = coerce(frame, contract, name)
    bad = {breach.column for breach in wrong_type}
    breaches = [*_check_names(frame, contract, name), *wrong_type]
    if not breaches or all(breach.row for breach in breaches):
        breaches += [b for b in _check_values(typed, contract, name) if b.column not in bad]
    breaches += [b for b in _check_time(typed, contract, name) if b.column not in bad]
    medians = list(_check_medians(typed, contract, name))
    known = {breach.column for breach in breaches}
    return breaches + [breach for breach in medians if breach.column not in known]


def check_batches(settings: Settings) -> pd.DataFrame:
    """All batches as one typed frame, indexed by their names; ContractError if one is bad."""
    contract = load(settings.root)
    typed, lines = {}, []
    for path in sources.batch_paths(settings.root):
        batch = sources.read_batch(path)
        found = check(batch, contract, name=path.stem)
        lines += [f"contract ✗ {path.relative_to(settings.root)}"] if found else []
        lines += [f"  {breach}" for breach in found]
        typed[path.stem] = coerce(batch, contract, path.stem)[0]
    if not lines:
        frame = pd.concat(typed, names=[BATCH])
        lines = [f"contract ✗ data/raw\n  {b}" for b in _check_across(frame, contract)]
    if lines:
        raise ContractError("\n".join([*lines, ADVICE]))
    return frame[list(contract["columns"])].dropna(subset=columns(contract, "target"))


ADVICE = (
    "Nothing was trained and the champion stays. "
    "If the data is right, edit data/contract.yaml and run again."
)
KINDS = {
    "float64": "a number",
    "boolean": "true or false",
    "str": "text",
    "datetime64[us]": "a date",
}


def _infer_column(column: pd.Series, name: str, params: Params) -> Contract:
    dates = sources.as_dates(column)
    kind = _kind(column, dates)
    values = (dates if dates is not None else column).dropna()
    role, why = _role(values, name, kind, params)
    rules: Contract = {"role": role}
    rules |= {"why": why} if why else {}
    rules |= {"dtype": kind, "nullable": bool(column.isna().any())}
    if kind == "float64":
        numbers = values.astype(float)
        rules["in_range"] = dict(
            zip(("min_value", "max_value"), _span(numbers.min(), numbers.max()), strict=True)
        )
        if params.training.task == "classification" and role == "target":
            rules["isin"] = sorted(numbers.unique().tolist())
            del rules["in_range"]
        elif role == "feature":
            rules["typical"] = _typical(numbers)
    elif kind == "str" and role in {"feature", "target"}:
        known = sorted(values.astype(str).unique().tolist())
        if role == "target" or len(known) <= params.features.max_categories:
            rules["isin"] = known
    return rules


def _kind(column: pd.Series, dates: pd.Series | None) -> str:
    if dates is not None:
        return "datetime64[us]"
    if pd.api.types.infer_dtype(column, skipna=True) == "boolean":
        return "boolean"
    numbers = pd.api.types.infer_dtype(column, skipna=True) in {"decimal", "integer", "floating"}
    return "float64" if numbers or pd.api.types.is_numeric_dtype(column) else "str"


def _role(values: pd.Series, name: str, kind: str, params: Params) -> tuple[str, str]:
    data = params.data
    if name == data.target:
        return "target", ""
    if name == data.time:
        return "time", ""
    if name in data.key:
        return "key", ""
    if values.nunique() <= 1:
        return "left out", "constant"
    if _is_like_a_key(values, name, kind, params):
        return "left out", f"{values.nunique():,} values in {len(values):,} rows, like a key"
    return "feature", ""


def _is_like_a_key(values: pd.Series, name: str, kind: str, params: Params) -> bool:
    """Text that is nearly always new, and whole numbers that never repeat and are called an id."""
    if kind == "str":
        return values.nunique() > max(params.features.max_categories, 0.3 * len(values))
    named = re.search(r"(?i)(^|[_ .-])(id|key|uuid|guid|number|no|nr|index)$|^Unnamed: ", name)
    camel = re.search(r"[a-z]I[dD]$", name)
    whole = kind == "float64" and (values.astype(float) % 1 == 0).all()
    return bool(whole and values.is_unique and (named or camel))


def _check_target(values: pd.Series, rules: Contract, params: Params) -> None:
    """What cannot be learnt is said here, before anything is written."""
    name, task, known = params.data.target, params.training.task, values.nunique()
    if known < 2:
        raise ProjectError(f"The target {name} has one value only: nothing can be learnt.")
    if task == "regression" and rules["dtype"] != "float64":
        kind = KINDS[rules["dtype"]]
        raise ProjectError(f"The target {name} is {kind}, not a number: set training.task.")
    if task == "classification" and (known > 100 or rules["dtype"].startswith("datetime")):
        raise ProjectError(
            f"The target {name} has {known:,} values, which are no categories: set training.task."
        )


def _span(low: float, high: float) -> tuple[float, float]:
    """The observed span with a quarter of it on either side, rounded; never negative stays so."""
    margin = (high - low) / 4 or abs(high) / 4 or 1.0
    unit = 10.0 ** math.floor(math.log10(margin))
    bottom = math.floor((low - margin) / unit) * unit
    top = math.ceil((high + margin) / unit) * unit
    return float(f"{0.0 if low >= 0 else bottom:.10g}"), float(f"{top:.10g}")


def _typical(numbers: pd.Series) -> list[float]:
    """The span of nearly all values, and of the medians of the batches that are known."""
    span = numbers.quantile([0.005, 0.995]).tolist()
    if numbers.index.nlevels > 1:
        span += numbers.groupby(level=0).median().tolist()
    return [float(f"{min(span):.4g}"), float(f"{max(span):.4g}")]


def _as_type(column: pd.Series, dtype: str) -> pd.Series:
    """The column in a dtype of the contract; a cell that does not read as such is missing."""
    if dtype == "float64":
        return pd.to_numeric(column, errors="coerce").astype("float64")
    if dtype == "boolean":
        words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
        return column.astype(str).str.lower().map(words).astype("boolean")
    if dtype.startswith("datetime64"):
        dates = sources.as_dates(column)
        return sources.to_dates(column) if dates is None else dates
    return column.where(column.isna(), column.astype(str)).astype("str")


def _check_names(frame: pd.DataFrame, contract: Contract, name: str) -> Iterator[Breach]:
    missing = [column for column in contract["columns"] if column not in frame]
    extra = [str(column) for column in frame if column not in contract["columns"]]
    for column in missing:
        near = get_close_matches(column, extra, n=1, cutoff=0.5)
        hint = f"; was it renamed to {near[0]!r}?" if near else ""
        yield Breach(name, column, None, f"missing{hint}")
    for column in extra:
        yield Breach(name, column, None, "the contract does not know this column")


def _check_values(frame: pd.DataFrame, contract: Contract, name: str) -> Iterator[Breach]:
    """What pandera says of the values, one breach for each column and rule."""
    import pandera.pandas as pa

    try:
        _schema(contract).validate(frame.reset_index(drop=True), lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        for (column, rule), failed in cases.groupby(["column", "check"], sort=False, dropna=False):
            yield _describe(frame, contract, name, str(column), str(rule), failed)


def _schema(contract: Contract) -> Any:
    from pandera.io import pandas_io

    ours = {"role", "why", "typical"}
    plain = {
        column: {key: value for key, value in rules.items() if key not in ours}
        for column, rules in contract["columns"].items()
    }
    return pandas_io.from_yaml(yaml.safe_dump(contract | {"columns": plain}))


def _describe(
    frame: pd.DataFrame, contract: Contract, name: str, column: str, rule: str, failed: pd.DataFrame
) -> Breach:
    row = int(failed["index"].iloc[0]) + 1
    share = f"{len(failed):,} of {len(frame):,}"
    if rule == "multiple_fields_uniqueness":
        key = ", ".join(contract["unique"])
        return Breach(name, key, row, f"the key is there more than once, in {share} rows")
    if rule == "not_nullable":
        return Breach(name, column, row, f"{share} missing")
    if rule.startswith("isin"):
        values = ", ".join(f'"{value}"' for value in failed["failure_case"].unique()[:3])
        return Breach(name, column, row, f"new value {values} in {len(failed):,} rows")
    if rule.startswith("in_range"):
        return Breach(name, column, row, _describe_range(frame[column], contract, column, share))
    return Breach(name, column, row, f"{share} fail {rule}")


def _describe_range(values: pd.Series, contract: Contract, column: str, share: str) -> str:
    rules = contract["columns"][column]
    low, high = rules["in_range"]["min_value"], rules["in_range"]["max_value"]
    if np.isinf(values).any():
        return f"{int(np.isinf(values).sum()):,} of {len(values):,} infinite"
    above, below = values > high, values < low
    parts = [f"{_of(above)} above {high:g}"] if above.any() else []
    parts += [f"{_of(below)} below {low:g}"] if below.any() else []
    return f"{', '.join(parts)} ({values.min():g} to {values.max():g}){_unit_hint(values, rules)}"


def _unit_hint(values: pd.Series, rules: Contract) -> str:
    usual = np.median(rules.get("typical") or list(rules["in_range"].values()))
    median = values.median()
    if not usual or not median or not 4 < abs(median / usual) < 1e5:
        return ""
    return f". The median is {median / usual:.0f} times the usual: has the unit changed?"


def _check_time(frame: pd.DataFrame, contract: Contract, name: str) -> Iterator[Breach]:
    tomorrow = pd.Timestamp.now("UTC").tz_localize(None) + pd.Timedelta(days=1)
    for column in columns(contract, "time"):
        if column in frame:
            future = frame[column] > tomorrow
            if future.any():
                latest = frame[column].max()
                problem = f"{_of(future)} in the future, the latest {latest:%Y-%m-%d}"
                yield Breach(name, column, _first(future), problem)


def _check_medians(frame: pd.DataFrame, contract: Contract, name: str) -> Iterator[Breach]:
    for column, rules in contract["columns"].items():
        if column not in frame or "typical" not in rules or frame[column].count() < ENOUGH:
            continue
        median, (low, high) = float(frame[column].median()), rules["typical"]
        if not low <= median <= high:
            usual = f"was always between {low:g} and {high:g}"
            problem = f"the median is {median:g}, and {usual}: has the unit changed?"
            yield Breach(name, column, None, problem)


def _check_across(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    """Keys that are in two batches, and a target with nothing to learn."""
    if contract["unique"]:
        twice = frame.duplicated(contract["unique"], keep=False)
        if twice.any():
            batches = ", ".join(sorted(set(frame.index[twice].get_level_values(BATCH)))[:3])
            key = ", ".join(contract["unique"])
            yield Breach("raw", key, None, f"{_of(twice)} keys are in several batches: {batches}")
    [target] = columns(contract, "target")
    if frame[target].nunique() < 2:
        yield Breach("raw", target, None, "it has one value only: nothing can be learnt")


def _of(bad: pd.Series) -> str:
    return f"{int(bad.sum()):,} of {len(bad):,}"


def _first(bad: pd.Series) -> int:
    return int(np.flatnonzero(bad.to_numpy())[0]) + 1


def names_of(breaches: Sequence[Breach]) -> str:
    return "; ".join(map(str, breaches))
