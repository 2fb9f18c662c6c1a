"""Batches made up from the contract alone: a good one, and bad ones that must be refused, each for its own reason."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ..persistence import write as write_file
from ..settings import COMMAND, ContractError, ProjectError, Settings
from . import contract as contracts

FOLDER = Path("data/must_fail")
ROWS = 25
FIRST_DAY, HALF_A_YEAR = pd.Timestamp("2024-01-01"), 182 * 24 * 60  # minutes
TEXTS = 40  # of a feature of free text; more would look like a key
GOOD = "good.csv"
HEADER = """\
# Each batch beside this file breaks the contract; the refusal must name the column, with the words.
# Was a rule relaxed on purpose? Then take the batch that it stopped, and its lines here, away.
"""


def write(settings: Settings) -> list[str]:
    """Makes the bad batches anew, and good.csv which must pass; returns their names.

    A problem that this table cannot have (a new category without categories) gets no batch.
    """
    folder, contract = settings.root / FOLDER, contracts.load(settings.root)
    shutil.rmtree(folder, ignore_errors=True)
    good = make_rows(contract, ROWS)
    write_file(folder / GOOD, good.to_csv(index=False))
    reasons = {}
    for number, (name, column, words, content) in enumerate(_bad_batches(good, contract), start=1):
        file = f"{number:02}-{name}.csv"
        write_file(folder / file, content)
        reasons[file] = {"column": column, "words": words}
    text = yaml.safe_dump(reasons, sort_keys=False, allow_unicode=True)
    write_file(folder / "reasons.yaml", HEADER + text)
    return list(reasons)


def make_rows(contract: contracts.Contract, rows: int) -> pd.DataFrame:
    """Rows that keep the contract, made up from it alone: no cell is anyone's. The same rows every time."""
    chance = np.random.default_rng(0)
    made = {name: _make_column(rules, rows, chance) for name, rules in contract["columns"].items()}
    return pd.DataFrame(made)


def _make_column(rules: contracts.Contract, rows: int, chance: np.random.Generator) -> pd.Series:
    role, kind = rules["role"], rules["dtype"]
    order = np.arange(rows) if role in {"key", "time"} else chance.permutation(rows) * (role != "series")
    if "isin" in rules:
        values: Any = np.array(rules["isin"], dtype=object)[order % len(rules["isin"])]
    elif kind == "float64":
        limits = rules.get("typical") or [*rules.get("in_range", {}).values()] or [-0.5, rows - 0.5]
        values = min(limits) + (max(limits) - min(limits)) * (order + 0.5) / rows
    elif "spacing" in rules:
        count, unit = contracts.step(rules["spacing"])
        values = pd.date_range(end=FIRST_DAY, periods=rows, freq=pd.DateOffset(**{unit: count}))
    elif kind == "boolean":
        values = order % 2 == 0
    elif kind == "str":
        values = [f"text {number % TEXTS if role == 'feature' else number}" for number in order]
    else:
        values = FIRST_DAY + pd.to_timedelta(order * HALF_A_YEAR // rows, "min")
    column = pd.Series(values, dtype=object if "isin" in rules else None)
    may_miss = rules["nullable"] and role in {"feature", "left out"}
    return column.mask(chance.permutation(rows) % 10 == 0) if may_miss else column


def refusal(path: Path, contract: contracts.Contract) -> str:
    """Why the contract refuses the batch, "" if it does not."""
    try:
        return "; ".join(map(str, contracts.check_file(path, contract)))
    except ContractError as error:
        return error.message


def survivors(settings: Settings) -> list[str]:
    """Bad batches that pass, or fail for another reason, and a good one that fails."""
    folder, contract = settings.root / FOLDER, contracts.load(settings.root)
    if not (folder / "reasons.yaml").exists():
        raise ProjectError(f"{FOLDER} is empty: type {COMMAND} data infer")
    wrong = []
    for file, reason in yaml.safe_load((folder / "reasons.yaml").read_text("utf-8")).items():
        said = refusal(folder / file, contract)
        if reason["words"] not in said or reason["column"] not in said:
            expected = f"{reason['column']}: … {reason['words']}"
            wrong.append(f"{file} must be refused with {expected!r}, but: {said or 'it passed'}")
    if said := refusal(folder / GOOD, contract):
        wrong.append(f"{GOOD} must pass, but: {said}")
    return wrong


Bad = tuple[str, str, str, str | bytes]


def _bad_batches(good: pd.DataFrame, contract: contracts.Contract) -> Iterator[Bad]:
    """Name, column, words of the refusal and content of each bad batch that this table can have."""

    def change(name: str, column: str, words: str, value: Callable[[pd.Series], object]) -> Bad:
        bad = good.astype({column: object})
        bad[column] = value(good[column])
        return name, column, words, bad.to_csv(index=False)

    rules = contract["columns"]
    used, first = contracts.columns(contract, "feature"), contracts.features(contract)[0]
    numbers = [name for name in used if "in_range" in rules[name]]
    categories = [name for name in used if "isin" in rules[name]]
    typed = [name for name in rules if rules[name]["dtype"] != "str"]
    [target] = contracts.columns(contract, "target")
    yield "missing-column", first, "missing", good.drop(columns=first).to_csv(index=False)
    yield "extra-column", "surprise", "does not know", good.assign(surprise=1).to_csv(index=False)
    yield "renamed-column", first, "renamed", good.rename(columns={first: f"{first}_2"}).to_csv(index=False)
    if not rules[target]["nullable"]:
        yield change("missing-target", target, "missing", lambda c: c.where(c.index > 2))
    if typed:
        words = contracts.KINDS[rules[typed[-1]]["dtype"]]
        yield change("wrong-type", typed[-1], f"not {words}", lambda c: _first_cell(c, "a lot"))
    if numbers:
        column = max(numbers, key=lambda name: abs(good[name].median()))
        top = rules[column]["in_range"]["max_value"]
        yield change("out-of-range", column, "above", lambda c: _first_cell(c, 2 * abs(top) + 1))
        yield change("infinite-value", column, "infinite", lambda c: _first_cell(c, "inf"))
        yield change("unit-change", column, "above", lambda c: c.abs() * 100 + top)
    if categories:
        yield change("new-category", categories[0], "new value", lambda c: _first_cell(c, "brand-new"))
    for column in contracts.columns(contract, "time"):
        yield change("future-date", column, "in the future", lambda c: _first_cell(c, "2999-01-01"))
    if contract["unique"]:
        twice = pd.concat([good, good.tail(1)]).to_csv(index=False)
        yield "duplicate-key", ", ".join(contract["unique"]), "more than once", twice
    yield "header-only", "", "no row", good.head(0).to_csv(index=False)
    yield "ragged-row", "", "row 3", good.head(2).to_csv(index=False) + "," * len(good.columns) + "\n"
    yield "pickle", "", "pickle", b"\x80\x04N."


def _first_cell(column: pd.Series, value: object) -> pd.Series:
    return pd.Series([value, *column.iloc[1:]], index=column.index, dtype=object)
