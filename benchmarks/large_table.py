"""Writes a table of any size: a key, six numbers with gaps, two categories and a date.

    python large_table.py ROWS FILE.parquet|FILE.csv …

Runs in a project's environment, which has NumPy and pyarrow. The same rows every time, made in
pieces of half a million.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

STEP = 500_000
WRITERS = {".csv": csv.CSVWriter, ".parquet": parquet.ParquetWriter}


def piece(start: int, rows: int, total: int) -> pa.Table:
    """Some rows of the table, made up from the number of the first."""
    chance = np.random.default_rng(start)
    numbers = {f"number_{n}": chance.normal(size=rows).round(4) for n in range(6)}
    leaning = numbers["number_0"] + chance.normal(size=rows)
    order = np.arange(start, start + rows)
    return pa.table(
        {
            "id": pa.array(np.char.add("c", order.astype(str))),
            **{k: pa.array(v, mask=chance.random(rows) < 0.02) for k, v in numbers.items()},
            "region": pa.array(np.array(["north", "south", "east", "west"])[order % 4]),
            "seen": pa.array(np.datetime64("2024-01-01") + order * 700 // total),
            "left": pa.array(np.where(leaning > 0, "yes", "no")),
        }
    )


def main() -> None:
    total, paths = int(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    schema = piece(0, 1, total).schema
    writers = [WRITERS[path.suffix](str(path), schema) for path in paths]
    for start in range(0, total, STEP):
        rows = piece(start, min(STEP, total - start), total)
        for writer in writers:
            writer.write_table(rows)
    for writer in writers:
        writer.close()


if __name__ == "__main__":
    main()
