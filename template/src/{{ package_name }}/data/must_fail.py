"""Bad batches, made from the project's own data: each must be refused for its own reason."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import yaml

from ..settings import ContractError, ProjectError, Settings
from . import contract as contracts
from . import sources

FOLDER = Path("data/must_fail")
ROWS = 25
GOOD = "good.csv"
HEADER = """\
# Each batch beside this file breaks the contract; the refusal must name the column, with the words.
# Was a rule relaxed on purpose? Then take the batch that it stopped, and its lines here, away.
"""


def write(settings: Settings, frame: pd.DataFrame) -> list[str]:
    """Makes the bad batches anew, and good.csv which must pass; returns their names.

    A problem that this table cannot have (a new category without categories) gets no batch.
    """
    folder = settings.root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    contract = contracts.load(settings.root)
    good = frame.sample(min(ROWS, len(frame)), random_state=0).sort_index().reset_index(drop=True)
    good.to_csv(folder / GOOD, index=False)
    reasons = {}
    for number, (name, column, words, content) in enumerate(_bad_batches(good, contract), start=1):
        file = f"{number:02}-{name}.csv"
        (folder / file).write_bytes(content)
        reasons[file] = {"column": column, "words": words}
    text = yaml.safe_dump(reasons, sort_keys=False, allow_unicode=True)
    (folder / "reasons.yaml").write_text(HEADER + text, encoding="utf-8")
    return list(reasons)


def refusal(path: Path, contract: contracts.Contract) -> str:
    """Why the contract refuses the batch, "" if it does not."""
    try:
        return "; ".join(map(str, contracts.check(sources.read_batch(path), contract)[1]))
    except ContractError as error:
        return error.message


def survivors(settings: Settings) -> list[str]:
    """Bad batches that pass, or fail for another reason, and a good one that fails."""
    folder, contract = settings.root / FOLDER, contracts.load(settings.root)
    if not (folder / "reasons.yaml").exists():
        raise ProjectError(f"{FOLDER} is empty: type `data infer` after the project's command.")
    wrong = []
    for file, reason in yaml.safe_load((folder / "reasons.yaml").read_text("utf-8")).items():
        said = refusal(folder / file, contract)
        if reason["words"] not in said or reason["column"] not in said:
            expected = f"{reason['column']}: … {reason['words']}"
            wrong.append(f"{file} must be refused with {expected!r}, but: {said or 'it passed'}")
    if said := refusal(folder / GOOD, contract):
        wrong.append(f"{GOOD} must pass, but: {said}")
    return wrong


Bad = tuple[str, str, str, bytes]


def _bad_batches(good: pd.DataFrame, contract: contracts.Contract) -> Iterator[Bad]:
    """Name, column, words of the refusal and content of each bad batch that this table can have."""

    def change(name: str, column: str, words: str, value: Callable[[pd.Series], object]) -> Bad:
        bad = good.astype({column: object})
        bad[column] = value(good[column])
        return name, column, words, bad.to_csv(index=False).encode()

    rules, lines = contract["columns"], good.to_csv(index=False).splitlines(keepends=True)
    used = contracts.columns(contract, "feature")
    numbers = [name for name in used if "in_range" in rules[name]]
    categories = [name for name in used if "isin" in rules[name]]
    typed = [name for name in rules if rules[name]["dtype"] != "str"]
    [target] = contracts.columns(contract, "target")
    first = used[0]
    yield "missing-column", first, "missing", good.drop(columns=first).to_csv(index=False).encode()
    extra = good.assign(surprise=1)
    yield "extra-column", "surprise", "does not know", extra.to_csv(index=False).encode()
    renamed = good.rename(columns={first: f"{first}_2"})
    yield "renamed-column", first, "renamed", renamed.to_csv(index=False).encode()
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
        yield change("new-category", categories[0], "new value", _brand_new)
    for column in contracts.columns(contract, "time"):
        yield change("future-date", column, "in the future", lambda c: _first_cell(c, "2999-01-01"))
    if contract["unique"]:
        twice = pd.concat([good, good.tail(1)])
        key = ", ".join(contract["unique"])
        yield "duplicate-key", key, "more than once", twice.to_csv(index=False).encode()
    yield "header-only", "", "no row", lines[0].encode()
    ragged = "," * len(good.columns) + "\n"
    yield "ragged-row", "", "row 3", "".join([*lines[:3], ragged, *lines[3:]]).encode()
    yield "pickle", "", "pickle", b"\x80\x04N."


def _brand_new(column: pd.Series) -> pd.Series:
    return _first_cell(column, "brand-new")


def _first_cell(column: pd.Series, value: object) -> pd.Series:
    return pd.Series([value, *column.iloc[1:]], index=column.index, dtype=object)
