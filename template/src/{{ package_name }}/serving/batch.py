"""A table predicted in chunks, from files or SQL into files or SQL; under its name stands all of a result or the last one."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from pyarrow import parquet

from .. import credentials
from ..data import contract as contracts
from ..data import drivers, sources
from ..settings import ContractError, ProjectError, Settings
from . import predict as live

ROWS = 100_000  # of a chunk
DONE = "_predicted.json"  # in a folder of results: what each was made from
EVERY = 10  # seconds between two lines of progress


@dataclass(frozen=True)
class Result:
    """A file or table of predictions; `rows` is None where nothing was new."""

    destination: str
    rows: int | None


def predict(settings: Settings, source: str, destination: str, say: Callable[[str], None]) -> list[Result]:
    """The rows of `source` with their predictions in `destination`; a folder gets one file for each of the source's.

    Addresses are those of `sources.chunks`, relative ones start here. Killed halfway, it may be run again: files of a
    folder that are done, from the same source and champion, stay. ContractError names the first cell that is wrong.
    """
    champion = live.load(settings.root)
    if sources.is_sql(destination) and " " in destination.partition("#")[2].strip():
        raise ProjectError(f"{destination} names a query, and predictions go into a table: add #table.")
    if sources.is_sql(destination) or destination.endswith(sources.ENDINGS):
        return [Result(credentials.mask(destination), _predict(champion, source, destination, say))]
    if sources.is_sql(source):
        raise ProjectError(f"{destination}: the name must end in {', '.join(sources.ENDINGS)}.")
    filesystem, paths = sources.find(source, Path.cwd())
    target, folder = sources.filesystem(destination, Path.cwd())
    results: list[Result] = []
    with sources.reachable(destination):
        done = _read_done(target, f"{folder}/{DONE}")
        is_made = {_name(path, paths): target.exists(f"{folder}/{_name(path, paths)}") for path in paths}
    for path in paths:
        name, state = _name(path, paths), [filesystem.ukey(path), champion.pointer["id"]]
        rows = None
        if done.get(name) != state or not is_made[name]:
            rows = _predict(champion, filesystem.unstrip_protocol(path), f"{destination}/{name}", say)
            done[name] = state
            _make(f"{destination}/{DONE}", lambda path: path.write_text(json.dumps(done, indent=2), encoding="utf-8"))
        results.append(Result(credentials.mask(f"{destination}/{name}"), rows))
    return results


def _name(path: str, paths: list[str]) -> str:
    """What a file is called in the folder of results: its own name, below that of its folder where there are several."""
    files = map(sources.file_part, paths)
    return os.path.relpath(sources.file_part(path), os.path.commonpath([Path(each).parent for each in files]))


def name_of(source: str) -> str:
    """What a table is called in messages."""
    return sources.file_part(credentials.mask(source)).rpartition("/")[2]


def _read_done(filesystem: Any, path: str) -> dict[str, Any]:
    return json.loads(filesystem.cat_file(path)) if filesystem.exists(path) else {}


def _predict(champion: live.Champion, source: str, destination: str, say: Callable[[str], None]) -> int:
    """Makes one file or table, and returns its rows."""
    return write(_predicted(champion, source, say), destination)


def write(frames: Iterator[pd.DataFrame], destination: str) -> int:
    """Writes the frames, one after the other, to one file or table, and returns their rows."""
    if sources.is_sql(destination) or destination.endswith(".parquet"):
        return _make(destination, lambda path: _write_parquet(frames, path))
    return _make(destination, lambda path: _write_text(frames, path, is_csv=destination.endswith(".csv")))


def _predicted(champion: live.Champion, source: str, say: Callable[[str], None]) -> Iterator[pd.DataFrame]:
    """Each chunk of the source with its predictions."""
    name, rows, said = name_of(source), 0, time.monotonic()
    chunks = sources.chunks(source, root=Path.cwd(), texts=contracts.texts(champion.contract), rows=ROWS)
    for frame in filter(len, chunks):
        X = live.to_features(frame, champion.contract, name, before=rows)
        predicted, scores = live.predict(champion.estimator, X)
        chances = pd.DataFrame(index=X.index) if scores is None else scores.add_prefix("probability_")
        chances = chances.rename(columns=lambda name: contracts.beside(name, champion.contract))
        result = pd.concat([predicted, chances], axis=1)
        if taken := [column for column in result if column in frame]:
            raise ProjectError(f"{name} already has a column {taken[0]!r}: rename it.")
        rows += len(frame)
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            say(f"{name}: {rows:,} rows")
        yield pd.concat([frame, result], axis=1)
    if not rows:
        raise ContractError(f"{name}: it holds no row.")


def _write_parquet(frames: Iterator[pd.DataFrame], path: Path) -> int:
    """Writes one file, whose types are those of the first chunk, and returns its rows."""
    first, rows = next(frames), 0
    schema = pa.Table.from_pandas(first, preserve_index=False).schema
    with parquet.ParquetWriter(path, schema) as writer:
        for frame in chain([first], frames):
            writer.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False))
            rows += len(frame)
    return rows


def _write_text(frames: Iterator[pd.DataFrame], path: Path, *, is_csv: bool) -> int:
    """Writes one file of CSV or JSON lines and returns its rows."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for frame in frames:
            if is_csv:
                frame.to_csv(file, index=False, header=not rows)
            else:
                # pandas' own to_json would round, 12.8 to 12.800000000000001.
                plain = frame.astype(object).where(frame.notna(), None).to_dict("records")
                file.writelines(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in plain)
            rows += len(frame)
    return rows


def _make(destination: str, write: Callable[[Path], int]) -> int:
    """Has a local file written and brings it to its place once it is whole; returns what `write` does."""
    is_sql = sources.is_sql(destination)
    filesystem: Any
    filesystem, place = (None, "") if is_sql else sources.filesystem(destination, Path.cwd())
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.parquet")
        if isinstance(filesystem, LocalFileSystem):
            path = Path(place).with_name(f".{Path(place).name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = write(path)
            if is_sql:
                _load(path, destination)
            elif isinstance(filesystem, LocalFileSystem):
                path.replace(place)
            else:
                with sources.reachable(destination):
                    filesystem.put_file(str(path), f"{place}.partial")
                    filesystem.mv(f"{place}.partial", place)
        except (OSError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ProjectError(f"{destination} cannot be written: {drivers.reason(error)}") from None
        finally:
            if path.exists():  # not in a folder that cannot be written to
                path.unlink()
    return rows


def _load(path: Path, destination: str) -> None:
    """Puts the file's rows in the place of the table's, in one transaction."""
    import sqlalchemy

    engine, table = sources.database(destination, Path.cwd())
    try:
        with engine.begin() as connection:
            if (look := sqlalchemy.inspect(connection)).has_table(table):
                if "prediction" not in {column["name"] for column in look.get_columns(table)}:
                    raise ProjectError(f"{destination} is no table of predictions: name another.")
                connection.execute(sqlalchemy.delete(sqlalchemy.table(table)))
            for frame in sources.chunks(str(path), root=path.parent, rows=ROWS):
                frame.to_sql(table, connection, if_exists="append", index=False)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise ProjectError(f"{destination} cannot be written: {drivers.reason(error)}") from None
