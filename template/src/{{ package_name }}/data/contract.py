"""The data contract: written by `data infer`, edited by people, checked against every batch.

data/contract.yaml is a pandera schema in YAML. Five keys of a column are ours, and taken off before
pandera reads it: `role` (feature, target, key, series, time, left out), `why` it is left out, `typical`, the
span that the median of a batch keeps to, `form`, how a date is written, and `spacing`, the step between two
times of a forecast.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import AfterValidator, BaseModel, Field

from ..persistence import write
from ..settings import COMMAND, ContractError, ProjectError, Settings, closest, read_yaml, validate
from . import dates, sources

FILE = Path("data/contract.yaml")
BATCH = "batch of data/raw"  # the outer level of the index of all batches as one frame
ENOUGH = 20  # rows from which on a batch's median says something
MEDIAN_ROWS = 200_000  # rows that a median is taken of
HEADER = """\
# What the data has to look like: a pandera schema, inferred from the first data and yours to edit.
#   role      feature, target, key, series, time or left out (then with the reason, why)
#   in_range  the smallest and the largest value;  isin: the values of a category
#   typical   the span that the median of a batch keeps to; outside, the unit may have changed
#   form      how a date is written where the source has it as text, by an example; or as 2024-12-31
#   spacing   the step between two times of a series, where the task is to forecast
#   nullable  whether a value may be missing; rows without a target are left out if it may
# A batch that breaks it stops the loop with exit code 30 and the champion stays.
"""
ADVICE = (
    "Nothing was trained and the champion stays. If the data is right, edit data/contract.yaml and run again. "
    "A batch that should not be there: delete its file in data/raw."
)
KINDS = {
    "float64": "a number",
    "Int64": "a whole number",
    "boolean": "true or false",
    "str": "text",
    "datetime64[us]": "a date",
}
DATE = "datetime64[us]"
BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
OURS = ("role", "why", "typical", "form", "spacing")
PANDERA_KEYS = {"checks", "coerce", "description", "dtype", "nullable", "regex", "required", "title", "unique"}
Contract = dict[str, Any]


@dataclass(frozen=True)
class Breach:
    """One way in which a table breaks the contract: in which of its rows, of how many; `row` is the first, from 1.

    Without `bad` it is not a matter of single rows.
    """

    column: str
    row: int | None
    problem: str
    bad: int = 0
    rows: int = 0
    example: str = ""

    def __str__(self) -> str:
        count = f"{self.bad:,} of {self.rows:,} " if self.bad else ""
        example = f", for example {self.example}" if self.example else ""
        return f"{self.column}: {count}{self.problem}{example}" + (f" (first in row {self.row})" if self.row else "")


def _known_form(form: str) -> str:
    if form not in dates.FORMS:
        raise ValueError(f"dates can be written as {', '.join(dates.FORMS)}, not as {form}")
    return form


class Column(BaseModel):
    """What every column says of itself; beside it stand pandera's own checks."""

    role: Literal["feature", "target", "key", "series", "time", "left out"]
    dtype: Literal["float64", "Int64", "boolean", "str", "datetime64[us]"]
    nullable: bool
    typical: tuple[float, float] | None = None
    form: Annotated[str, AfterValidator(_known_form)] | None = None
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


def beside(name: str, contract: Contract) -> str:
    """The name of what stands beside the table's own columns, as the model's id: with a _ more if a column has it."""
    while name in contract["columns"]:
        name += "_"
    return name


def is_forecast(contract: Contract) -> bool:
    return any("spacing" in rules for rules in contract["columns"].values())


def step(spacing: str) -> tuple[int, str]:
    """The spacing of a time column: "7 days" as (7, "days"), "1 month" as (1, "months")."""
    count, unit = spacing.split()
    return int(count), unit.rstrip("s") + "s"


def coerce(
    frame: pd.DataFrame, contract: Contract, forms: dict[str, str] | None = None
) -> tuple[pd.DataFrame, list[Breach]]:
    """The frame in the contract's types, and the cells that do not read as such.

    `forms` says how the dates of a column are written, where the frame is not the whole table.
    """
    typed, breaches = frame.copy(), []
    for name, rules in contract["columns"].items():
        if name in frame:
            form = rules.get("form") or (forms or {}).get(name)
            typed[name] = _as_type(frame[name], rules["dtype"], form)
            bad = typed[name].isna() & frame[name].notna()
            breaches += _breach(name, f"not {KINDS[rules['dtype']]}", bad, frame[name])
    return typed, breaches


def as_input(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The columns in types that scikit-learn takes: float64, object with NaN, datetime64."""
    X = frame[columns].copy()
    for name in columns:
        if pd.api.types.is_bool_dtype(X[name]):
            X[name] = X[name].astype("float64")
        elif not pd.api.types.is_numeric_dtype(X[name]) and X[name].dtype.kind != "M":
            X[name] = X[name].astype(object).where(X[name].notna(), np.nan)
    return X


def check(frame: pd.DataFrame, contract: Contract) -> tuple[pd.DataFrame, list[Breach]]:
    """The frame in the contract's types, and every way in which it breaks the contract."""
    checker = Checker(contract)
    return checker.add(frame), checker.breaches()


class Sample:
    """At most so many random rows of a table that comes in chunks: in its order, and the same however it is cut."""

    def __init__(self, most: int) -> None:
        self.most, self.frame, self.chances, self.chance = most, pd.DataFrame(), np.empty(0), np.random.default_rng(0)

    def add(self, frame: pd.DataFrame) -> None:
        """Keeps the rows with the smallest random numbers of all so far."""
        chances = np.append(self.chances, self.chance.random(len(frame)))
        kept = np.sort(np.argpartition(chances, self.most)[: self.most]) if len(chances) > self.most else slice(None)
        self.frame, self.chances = pd.concat([self.frame, frame], ignore_index=True).iloc[kept], chances[kept]


class Checker:
    """Checks a table that comes in chunks, and says at the end what is wrong with all of it.

    It keeps eight bytes of each row, a hash of its key: of ten million different keys, two have the same hash with
    a chance of three in a million. Medians are those of MEDIAN_ROWS random rows, if there are more.
    """

    def __init__(self, contract: Contract, forms: dict[str, str] | None = None) -> None:
        self.contract, self.forms, self.rows = contract, forms, 0
        self.found: dict[tuple[str, str], Breach] = {}
        self.keys: list[np.ndarray] = []
        self.sample = Sample(MEDIAN_ROWS)

    def add(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The chunk in the contract's types."""
        typed, found = coerce(frame, self.contract, self.forms)
        names = list(_check_names(frame, self.contract))
        found += names
        for look in [_check_time] if names else [_check_values, _check_time]:
            known = {breach.column for breach in found}
            found += [breach for breach in look(typed, self.contract) if breach.column not in known]
        for breach in found:
            self._note(breach)
        key = self.contract["unique"]
        if key and set(key) <= set(typed):
            self.keys.append(row_hashes(typed, key).to_numpy())
        numbers = [name for name, rules in self.contract["columns"].items() if "typical" in rules and name in typed]
        self.sample.add(typed[numbers])
        self.rows += len(typed)
        return typed

    def breaches(self) -> list[Breach]:
        """Every way in which the table breaks the contract."""
        found = [replace(breach, rows=self.rows) for breach in self.found.values()]
        if self.keys:
            twice = repeated(keys := np.concatenate(self.keys))
            name = ", ".join(self.contract["unique"])
            found += _breach(name, "with a key that is there more than once", np.isin(keys, twice))
        return [*found, *_check_medians(self.sample.frame, self.contract)]

    def _note(self, breach: Breach) -> None:
        row = breach.row and breach.row + self.rows
        before = self.found.setdefault((breach.column, breach.problem), replace(breach, row=row, bad=0))
        self.found[breach.column, breach.problem] = replace(before, bad=before.bad + breach.bad)


def check_batches(settings: Settings) -> pd.DataFrame:
    """All batches as one typed frame, indexed by their names; ContractError if one is bad.

    Of more than `data.max_rows` it is a sample: the rows whose keys have the smallest hash, the same every time.
    """
    most, kept, rows = settings.params.data.max_rows, [], 0
    for name, typed in typed_batches(settings):
        kept.append(pd.concat({name: typed}, names=[BATCH]))
        rows += len(typed)
        if most and rows > 2 * most:
            kept = [_sample(pd.concat(kept), most, settings)]
            rows = most
    frame = pd.concat(kept)
    return _sample(frame, most, settings) if most and len(frame) > most else frame


def typed_batches(settings: Settings) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each batch in chunks of typed rows that have a target; after the last, ContractError if anything is wrong."""
    contract, data = load(settings.root), settings.params.data
    if [data.target] != columns(contract, "target") or (data.time and data.time not in contract["columns"]):
        raise ProjectError(
            f"params.yaml: data.target or data.time is another than {FILE} has: type {COMMAND} data infer"
        )
    keys: dict[str, np.ndarray] = {}
    targets: set[Any] = set()
    lines: list[str] = []
    for path in sources.batch_paths(settings.root):
        forms, chunks = _chunks(path, contract)
        checker, hashes = Checker(contract, forms), []
        for frame in chunks:
            typed = checker.add(frame)
            if not contract["unique"]:
                hashes.append(row_hashes(typed).to_numpy())
            if not checker.found:
                typed = typed.set_axis(range(checker.rows - len(typed), checker.rows))
                typed = typed[list(contract["columns"])].dropna(subset=[data.target])
                targets.update(typed[data.target].unique()[:2])
                yield path.stem, typed
        keys[path.stem] = np.concatenate(hashes or checker.keys or [np.empty(0, "uint64")])
        found = checker.breaches()
        lines += [f"contract ✗ {path.relative_to(settings.root)}"] if found else []
        lines += [f"  {breach}" for breach in found]
    if not lines:
        lines = [f"contract ✗ data/raw\n  {breach}" for breach in _check_across(keys, targets, contract)]
    if lines:
        raise ContractError("\n".join([*lines, ADVICE]))


def check_file(path: Path, contract: Contract) -> list[Breach]:
    """Every way in which one file breaks the contract; ContractError when it is no table."""
    if not path.is_file():
        raise ProjectError(f"{path} is not a file.")
    forms, chunks = _chunks(path, contract, texts(contract))
    checker = Checker(contract, forms)
    for frame in chunks:
        checker.add(frame)
    return checker.breaches()


def row_hashes(frame: pd.DataFrame, key: list[str] | None = None) -> pd.Series:
    """One 64-bit number for each row's key, or for all its values if there is no key."""
    return pd.util.hash_pandas_object(frame[key] if key else frame, index=False)


def repeated(keys: np.ndarray) -> np.ndarray:
    """The values that are there more than once."""
    ordered = np.sort(keys)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _chunks(path: Path, contract: Contract, texts: Sequence[str] = ()) -> tuple[dict[str, str], Iterator[pd.DataFrame]]:
    """A file in chunks, and how its dates are written where one chunk alone could be read two ways."""
    chunks = sources.batch_chunks(path, texts)
    head = list(islice(chunks, 2))
    rules = contract["columns"]
    unsure = [name for name in head[0] if rules.get(name, {}).get("dtype") == DATE and "form" not in rules[name]]
    written = [name for name in unsure if pd.api.types.is_string_dtype(head[0][name])]
    if len(head) == 1 or not written:
        return {}, chain(head, chunks)
    forms = {}
    for name in written:
        found = sources.date_forms(frame[name] for frame in sources.batch_chunks(path, texts))
        forms[name] = (found or [sources.ANY_FORM])[0]
    return forms, chain(head, chunks)


def _sample(frame: pd.DataFrame, rows: int, settings: Settings) -> pd.DataFrame:
    """Hashed twice: the first hash decides in `split` which rows are held out."""
    order = pd.util.hash_array(row_hashes(frame, settings.params.data.key).to_numpy())
    return frame.iloc[np.sort(np.argsort(order, kind="stable")[:rows])]


def texts(contract: Contract) -> list[str]:
    """The columns that are text even where their values look like numbers, as 007."""
    return [name for name, rules in contract["columns"].items() if rules["dtype"] == "str"]


def _as_type(column: pd.Series, dtype: str, form: str | None) -> pd.Series:
    """The column in a dtype of the contract; a cell that does not read as such is missing."""
    if dtype == "float64":
        return pd.to_numeric(column, errors="coerce").astype("float64")
    if dtype == "Int64":
        return _as_whole(column)
    if dtype == "boolean":
        return column.astype(str).str.lower().map(BOOLEANS).astype("boolean")
    if dtype.startswith("datetime64"):
        return sources.to_dates(column, form or (sources.date_forms([column]) or [sources.ANY_FORM])[0])
    return column.where(column.isna(), column.astype(str)).astype("str")


def _as_whole(column: pd.Series) -> pd.Series:
    """Whole numbers with all their digits, of which a float would keep sixteen."""
    numbers = pd.to_numeric(column, errors="coerce", dtype_backend="numpy_nullable")
    is_whole = (numbers % 1 == 0) & numbers.between(-(2**63), 2**63 - 1)
    return numbers.where(is_whole.fillna(False)).astype("Int64")


def _check_names(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    missing = [name for name in contract["columns"] if name not in frame]
    extra = [str(name) for name in frame if name not in contract["columns"]]
    for name in missing:
        near = get_close_matches(name, extra, n=1, cutoff=0.5)
        yield Breach(name, None, "missing" + (f"; was it renamed to {near[0]!r}?" if near else ""))
    for name in extra:
        yield Breach(name, None, "the contract does not know this column")


def _check_values(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    """What pandera says of the values, column by column; of the keys, Checker does."""
    import pandera.pandas as pa

    try:
        _schema(contract).validate(frame.reset_index(drop=True), lazy=True)
    except pa.errors.SchemaErrors as errors:
        for (column, rule), failed in errors.failure_cases.groupby(["column", "check"], sort=False, dropna=False):
            for problem, cells in _name(failed, str(rule), contract["columns"].get(column, {})):
                row, value = cells["index"].min(), cells["failure_case"].iloc[0]
                example = "" if pd.isna(value) else _shown(value)
                yield Breach(
                    str(column), None if pd.isna(row) else int(row) + 1, problem, len(cells), len(frame), example
                )


def _schema(contract: Contract) -> Any:
    """The contract without what is ours, as pandera reads it; what pandera would leave out is an error."""
    import pandera.pandas as pa
    from pandera.io.pandas_io import deserialize_schema

    plain = deepcopy(contract) | {"unique": None}
    for name, rules in plain["columns"].items():
        for ours in OURS:
            rules.pop(ours, None)
        for key in rules.keys() - PANDERA_KEYS:
            if not hasattr(pa.Check, key):
                raise ProjectError(f"{FILE}: {name}: there is no check {closest(key, dir(pa.Check))}")
    try:
        return deserialize_schema(plain)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ProjectError(f"{FILE} has a check that pandera cannot read: {error}") from None


def _name(failed: pd.DataFrame, rule: str, rules: Contract) -> Iterator[tuple[str, pd.DataFrame]]:
    """What is wrong, in words, and the cells of which it is true."""
    if rule.startswith("in_range") and rules["dtype"] == "float64":
        values, low, high = (
            failed["failure_case"].astype(float),
            *(rules["in_range"][f"{end}_value"] for end in ("min", "max")),
        )
        infinite = np.isinf(values)
        sides = {
            "infinite": infinite,
            f"above {high:g}": ~infinite & (values > high),
            f"below {low:g}": ~infinite & (values < low),
        }
        yield from ((words, failed[bad]) for words, bad in sides.items() if bad.any())
    elif rule.startswith("isin"):
        yield "with a new value", failed
    else:
        yield "missing" if rule == "not_nullable" else f"fail {rule}", failed


def _check_time(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    tomorrow = pd.Timestamp.now("UTC").tz_localize(None) + pd.Timedelta(days=1)
    for name in columns(contract, "time"):
        if name in frame:
            yield from _breach(name, "in the future", frame[name] > tomorrow, frame[name])


def _check_medians(frame: pd.DataFrame, contract: Contract) -> Iterator[Breach]:
    for name, rules in contract["columns"].items():
        if name in frame and "typical" in rules and frame[name].count() >= ENOUGH:
            median, (low, high) = float(frame[name].median()), rules["typical"]
            if not low <= median <= high:
                usual = f"was always between {low:g} and {high:g}"
                yield Breach(name, None, f"the median is {median:g}, and {usual}: has the unit changed?")


def _check_across(keys: dict[str, np.ndarray], targets: set[Any], contract: Contract) -> Iterator[Breach]:
    """Keys that are in two batches, without a key batches of which all rows are, and a target with nothing to learn."""
    every = np.concatenate(list(keys.values()))
    twice = repeated(np.concatenate([np.unique(part) for part in keys.values()]))
    shared = {name: int(np.isin(part, twice).sum()) for name, part in keys.items()}
    if not contract["unique"]:  # where most rows are alike, or they are few, they do not tell where they are from
        tells = 3 * len(np.unique(every)) > len(every)
        shared = {name: bad for name, bad in shared.items() if tells and bad == len(keys[name]) >= ENOUGH}
    if bad := {name: count for name, count in shared.items() if count}:
        what = "keys" if contract["unique"] else "rows"
        problem = f"{sum(bad.values()):,} of {len(every):,} {what} are in several batches: {', '.join(list(bad)[:3])}"
        yield Breach(", ".join(contract["unique"] or [what]), None, f"{problem}; was a file renamed?")
    if len(targets) < 2:
        yield Breach(columns(contract, "target")[0], None, "it has one value only: nothing can be learnt")


def _breach(column: str, problem: str, bad: Any, values: pd.Series | None = None) -> list[Breach]:
    """The breach that a mask of rows stands for, with the first of their values; none where no row is bad."""
    rows = np.flatnonzero(bad)
    if not len(rows):
        return []
    example = "" if values is None else _shown(values.iloc[rows[0]])
    return [Breach(column, int(rows[0]) + 1, problem, len(rows), len(bad), example)]


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
