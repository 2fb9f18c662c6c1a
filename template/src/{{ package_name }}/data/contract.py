"""The data contract: written by `data infer`, edited by people, checked against every batch.

data/contract.yaml is a pandera schema in YAML. Four keys of a column are ours, and taken off before
pandera reads it: `role` (feature, target, key, series, time, left out), `why` it is left out, `typical`, the
span that the median of a batch keeps to, and `spacing`, the step between two times of a forecast.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, Field

from ..persistence import write
from ..settings import COMMAND, ContractError, ProjectError, Settings, closest, read_yaml, validate
from . import sources

FILE = Path("data/contract.yaml")
BATCH = "batch of data/raw"  # the outer level of the index of all batches as one frame
ENOUGH = 20  # rows from which on a batch's median says something
HEADER = """\
# What the data has to look like: a pandera schema, inferred from the first data and yours to edit.
#   role      feature, target, key, series, time or left out (then with the reason, why)
#   in_range  the smallest and the largest value;  isin: the values of a category
#   typical   the span that the median of a batch keeps to; outside, the unit may have changed
#   spacing   the step between two times of a series, where the task is to forecast
#   nullable  whether a value may be missing; rows without a target are left out if it may
# A batch that breaks it stops the loop with exit code 30 and the champion stays.
"""
ADVICE = (
    "Nothing was trained and the champion stays. If the data is right, edit data/contract.yaml and run again. "
    "A batch that should not be there: delete its file in data/raw."
)
KINDS = {"float64": "a number", "boolean": "true or false", "str": "text", "datetime64[us]": "a date"}
BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
PANDERA_KEYS = {"checks", "coerce", "description", "dtype", "nullable", "regex", "required", "title", "unique"}
Contract = dict[str, Any]


@dataclass(frozen=True)
class Breach:
    """One way in which a batch breaks the contract; `row` counts from 1, None is all of them."""

    column: str
    row: int | None
    problem: str

    def __str__(self) -> str:
        return f"{self.column}: {self.problem}" + (f" (first in row {self.row})" if self.row else "")


class Column(BaseModel):
    """What every column says of itself; beside it stand pandera's own checks."""

    role: Literal["feature", "target", "key", "series", "time", "left out"]
    dtype: Literal["float64", "boolean", "str", "datetime64[us]"]
    nullable: bool
    typical: tuple[float, float] | None = None
    spacing: str | None = Field(None, pattern=r"^[1-9]\d* (second|minute|hour|day|month)s?$")


class Table(BaseModel):
    """data/contract.yaml as a whole."""

    columns: dict[str, Column]
    strict: bool
    unique: list[str] | None


def load(root: Path) -> Contract:
    """The contract; ProjectError when it is not there, or is none."""
    if not (root / FILE).exists():
        raise ProjectError(f"{FILE} is not there: type {COMMAND} data infer")
    contract = read_yaml(root / FILE)
    validate(Table, contract, str(FILE))
    if len(columns(contract, "target")) != 1 or not features(contract):
        raise ProjectError(f"{FILE}: one column must be the target, and at least one a feature or the time.")
    return contract


def save(root: Path, contract: Contract) -> None:
    write(root / FILE, HEADER + yaml.safe_dump(contract, sort_keys=False, allow_unicode=True, width=100))


def columns(contract: Contract, *roles: str) -> list[str]:
    """The columns that have one of the roles, in the contract's order."""
    return [name for name, rules in contract["columns"].items() if rules["role"] in roles]


def features(contract: Contract) -> list[str]:
    """What a model may learn from: the features, and when the row was seen."""
    return columns(contract, "feature", "time")


def is_forecast(contract: Contract) -> bool:
    return any("spacing" in rules for rules in contract["columns"].values())


def step(spacing: str) -> tuple[int, str]:
    """The spacing of a time column: "7 days" as (7, "days"), "1 month" as (1, "months")."""
    count, unit = spacing.split()
    return int(count), unit.rstrip("s") + "s"


def coerce(frame: pd.DataFrame, contract: Contract) -> tuple[pd.DataFrame, list[Breach]]:
    """The frame in the contract's types, and the cells that do not read as such."""
    typed, breaches = frame.copy(), []
    for name, rules in contract["columns"].items():
        if name in frame:
            typed[name] = _as_type(frame[name], rules["dtype"])
            bad = typed[name].isna() & frame[name].notna()
            if bad.any():
                value = frame.loc[bad, name].iloc[0]
                problem = f"{_of(bad)} not {KINDS[rules['dtype']]}, for example {value!r}"
                breaches.append(Breach(name, _first(bad), problem))
    return typed, breaches


def check(frame: pd.DataFrame, contract: Contract) -> tuple[pd.DataFrame, list[Breach]]:
    """The frame in the contract's types, and every way in which it breaks the contract."""
    typed, wrong = coerce(frame, contract)
    names = list(_check_names(frame, contract))
    found = [*names, *wrong]
    for look in (_check_values, _check_time, _check_medians):
        known = {breach.column for breach in found}
        if look is not _check_values or not names:
            found += [breach for breach in look(typed, contract) if breach.column not in known]
    return typed, found


def check_batches(settings: Settings) -> pd.DataFrame:
    """All batches as one typed frame, indexed by their names; ContractError if one is bad."""
    contract, data = load(settings.root), settings.params.data
    if [data.target] != columns(contract, "target") or (data.time and data.time not in contract["columns"]):
        raise ProjectError(
            f"params.yaml: data.target or data.time is another than {FILE} has: type {COMMAND} data infer"
        )
    typed, lines = {}, []
    for path in sources.batch_paths(settings.root):
        typed[path.stem], found = check(sources.read_batch(path), contract)
        lines += [f"contract ✗ {path.relative_to(settings.root)}"] if found else []
        lines += [f"  {breach}" for breach in found]
    if not lines:
        frame = pd.concat(typed, names=[BATCH])
        lines = [f"contract ✗ data/raw\n  {breach}" for breach in _check_across(frame, contract)]
    if lines:
        raise ContractError("\n".join([*lines, ADVICE]))
    return frame[list(contract["columns"])].dropna(subset=columns(contract, "target"))


def check_file(path: Path, contract: Contract) -> list[Breach]:
    """Every way in which one file breaks the contract; ContractError when it is no table."""
    if not path.is_file():
        raise ProjectError(f"{path} is not a file.")
    return check(sources.read_batch(path, texts(contract)), contract)[1]


def texts(contract: Contract) -> list[str]:
    """The columns that are text even where their values look like numbers, as 007."""
    return [name for name, rules in contract["columns"].items() if rules["dtype"] == "str"]


def _as_type(column: pd.Series, dtype: str) -> pd.Series:
    """The column in a dtype of the contract; a cell that does not read as such is missing."""
    if dtype == "float64":
        return pd.to_numeric(column, errors="coerce").astype("float64")
    if dtype == "boolean":
        return column.astype(str).str.lower().map(BOOLEANS).astype("boolean")
    if dtype.startswith("datetime64"):
        dates = sources.as_dates(column)
        return sources.to_dates(column) if dates is None else dates
    return column.where(column.isna(), column.astype(str)).astype("str")


def _check_names(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    missing = [name for name in contract["columns"] if name not in frame]
    extra = [str(name) for name in frame if name not in contract["columns"]]
    for name in missing:
        near = get_close_matches(name, extra, n=1, cutoff=0.5)
        yield Breach(name, None, "missing" + (f"; was it renamed to {near[0]!r}?" if near else ""))
    for name in extra:
        yield Breach(name, None, "the contract does not know this column")


def _check_values(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    """What pandera says of the values, one breach for each column and rule."""
    import pandera.pandas as pa

    try:
        _schema(contract).validate(frame.reset_index(drop=True), lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases.groupby(["column", "check"], sort=False, dropna=False)
        for (column, rule), failed in cases:
            name = ", ".join(contract["unique"]) if rule == "multiple_fields_uniqueness" else str(column)
            row = failed["index"].iloc[0]
            problem = _describe(frame, contract, name, str(rule), failed)
            yield Breach(name, None if pd.isna(row) else int(row) + 1, problem)


def _schema(contract: Contract) -> Any:
    """The contract without what is ours, as pandera reads it; what pandera would leave out is an error."""
    import pandera.pandas as pa
    from pandera.io.pandas_io import deserialize_schema

    plain = deepcopy(contract)
    for name, rules in plain["columns"].items():
        for ours in ("role", "why", "typical", "spacing"):
            rules.pop(ours, None)
        for key in rules.keys() - PANDERA_KEYS:
            if not hasattr(pa.Check, key):
                raise ProjectError(f"{FILE}: {name}: there is no check {closest(key, dir(pa.Check))}")
    try:
        return deserialize_schema(plain)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ProjectError(f"{FILE} has a check that pandera cannot read: {error}") from None


def _describe(frame: pd.DataFrame, contract: Contract, name: str, rule: str, failed: pd.DataFrame) -> str:
    share = f"{len(failed):,} of {len(frame):,}"
    if rule == "multiple_fields_uniqueness":
        return f"the key is there more than once, in {share} rows"
    if rule == "not_nullable":
        return f"{share} missing"
    if rule.startswith("isin"):
        values = ", ".join(f'"{value}"' for value in failed["failure_case"].unique()[:3])
        return f"new value {values} in {len(failed):,} rows"
    if rule.startswith("in_range"):
        return _describe_range(frame[name], contract["columns"][name])
    return f"{share} fail {rule}"


def _describe_range(values: pd.Series, rules: Contract) -> str:
    if np.isinf(values).any():
        return f"{_of(np.isinf(values))} infinite"
    low, high = rules["in_range"]["min_value"], rules["in_range"]["max_value"]
    sides = {f"above {high:g}": values > high, f"below {low:g}": values < low}
    said = ", ".join(f"{_of(bad)} {words}" for words, bad in sides.items() if bad.any())
    usual, median = np.median(rules.get("typical") or [low, high]), values.median()
    hint = ""
    if usual and median and 4 < abs(median / usual) < 1e5:
        hint = f". The median is {median / usual:.0f} times the usual: has the unit changed?"
    return f"{said} ({values.min():g} to {values.max():g}){hint}"


def _check_time(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    tomorrow = pd.Timestamp.now("UTC").tz_localize(None) + pd.Timedelta(days=1)
    for name in columns(contract, "time"):
        if name in frame and (future := frame[name] > tomorrow).any():
            problem = f"{_of(future)} in the future, the latest {frame[name].max():%Y-%m-%d}"
            yield Breach(name, _first(future), problem)


def _check_medians(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    for name, rules in contract["columns"].items():
        if name in frame and "typical" in rules and frame[name].count() >= ENOUGH:
            median, (low, high) = float(frame[name].median()), rules["typical"]
            if not low <= median <= high:
                usual = f"was always between {low:g} and {high:g}"
                yield Breach(name, None, f"the median is {median:g}, and {usual}: has the unit changed?")


def _check_across(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    """Keys that are in two batches, and a target with nothing to learn."""
    if contract["unique"]:
        twice = frame.duplicated(contract["unique"], keep=False)
        if twice.any():
            batches = ", ".join(sorted(set(frame.index[twice].get_level_values(BATCH)))[:3])
            yield Breach(", ".join(contract["unique"]), None, f"{_of(twice)} keys are in several batches: {batches}")
    [target] = columns(contract, "target")
    if frame[target].nunique() < 2:
        yield Breach(target, None, "it has one value only: nothing can be learnt")


def _of(bad: pd.Series) -> str:
    return f"{int(bad.sum()):,} of {len(bad):,}"


def _first(bad: pd.Series) -> int:
    return int(np.flatnonzero(bad.to_numpy())[0]) + 1
