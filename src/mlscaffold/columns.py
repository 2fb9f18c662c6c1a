"""What one column of a table holds, and how well it alone tells the target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """One column of the sample; `kind` is boolean, whole, number, date, text or empty."""

    name: str
    kind: str
    values: Any  # a pyarrow.ChunkedArray, with missing numbers as nulls
    filled: int
    distinct: int

    @property
    def is_complete(self) -> bool:
        return self.filled == len(self.values)

    @property
    def is_unique(self) -> bool:
        return self.distinct == len(self.values)

    @property
    def is_a_text_per_row(self) -> bool:
        """Whether most texts stand in one row only: a name, an id or free text, not a category."""
        return self.kind == "text" and self.distinct > max(30, 0.3 * self.filled)

    def counts(self) -> list[tuple[Any, int]]:
        """Each value with its number of rows, the most frequent first."""
        import pyarrow.compute as pc

        pairs = [
            (pair["values"], pair["counts"]) for pair in pc.value_counts(self.values).to_pylist()
        ]
        return sorted((pair for pair in pairs if pair[0] is not None), key=lambda pair: -pair[1])


def look(table: Any) -> Iterator[Column]:
    """Each column of a pyarrow.Table, with what it holds."""
    import pyarrow.compute as pc

    for name, values in zip(table.column_names, table.columns, strict=True):
        kind, values = _kind(values)
        filled = len(values) - values.null_count
        distinct = pc.count_distinct(values, mode="only_valid").as_py()
        yield Column(name, kind if filled else "empty", values, filled, distinct)


def _kind(values: Any) -> tuple[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    types = pa.types
    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if types.is_boolean(values.type):
        return "boolean", values
    if types.is_integer(values.type):
        return "whole", values
    if types.is_decimal(values.type) and values.type.scale <= 0:
        try:
            return "whole", values.cast(pa.int64())
        except pa.ArrowInvalid:  # of more digits than a number of 64 bits has
            return "text", values.cast(pa.string())
    if types.is_floating(values.type) or types.is_decimal(values.type):
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        is_whole = pc.all(pc.equal(values, pc.floor(values))).as_py()
        return "whole" if is_whole else "number", values
    if types.is_date(values.type) or types.is_timestamp(values.type):
        return "date", values
    if types.is_string(values.type) or types.is_large_string(values.type):
        dates = _dates(values)
        return ("text", values) if dates is None else ("date", dates)
    if types.is_time(values.type):
        values = values.cast(pa.time64("us"), safe=False)  # Python has no nanoseconds
    texts = [None if value is None else str(value) for value in values.to_pylist()]
    return "text", pa.chunked_array([pa.array(texts, pa.string())])


def _dates(texts: Any) -> Any | None:
    """The texts as dates, or None if one of them is no date."""
    from mlscaffold import dates

    forms = dates.fitting(texts)
    return dates.read(texts, forms[0]) if forms else None


def given_away(target: Column, other: Column, task: str) -> str | None:
    """Says so if `other` alone tells the target almost perfectly; None if it does not."""
    if len(target.values) < 100:  # too few rows to tell it from chance
        return None
    if task == "regression":
        score = _explained(target, other) if other.kind in {"whole", "number"} else 0.0
        return f"R² {score:.3f} alone" if score >= 0.98 else None
    if target.distinct == 2 and other.kind in {"whole", "number"} and other.distinct > 2:
        score = _auc(target, other)
        return f"AUC {score:.3f} alone" if score >= 0.99 else None
    if other.distinct <= 50 and other.kind != "date":
        score, without = _purity(target, other)
        return f"right in {score:.1%} of rows alone" if score >= 0.99 > without + 0.04 else None
    return None


def _both(target: Column, other: Column) -> Any:
    """The rows in which both are known, as a table of `target` and `other`."""
    import pyarrow as pa

    return pa.table({"target": target.values, "other": other.values}).drop_null()


def _explained(target: Column, other: Column) -> float:
    """The share of the target's variance that a straight line explains: Pearson's r, squared."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pair = _both(target, other)
    x, y = pair["other"].cast(pa.float64()), pair["target"].cast(pa.float64())
    spread = (pc.stddev(x).as_py() or 0.0) * (pc.stddev(y).as_py() or 0.0)
    if not spread:
        return 0.0
    x, y = pc.subtract(x, pc.mean(x)), pc.subtract(y, pc.mean(y))
    return float((pc.mean(pc.multiply(x, y)).as_py() / spread) ** 2)


def _auc(target: Column, other: Column) -> float:
    """The area under the ROC curve in the better direction, from the ranks (Mann-Whitney's U)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pair = _both(target, other)
    first = pc.equal(pair["target"], target.counts()[0][0])
    positive, n = pc.sum(first).as_py() or 0, len(pair)
    if positive in {0, n}:
        return 0.5
    low, high = (
        pc.rank(pair["other"].combine_chunks(), "ascending", tiebreaker=side)
        for side in ("min", "max")
    )
    ranks = pc.divide(pc.cast(pc.add(low, high), pa.float64()), 2.0)
    of_first = pc.sum(pc.filter(ranks, first.combine_chunks())).as_py()
    area = (of_first - positive * (positive + 1) / 2) / (positive * (n - positive))
    return max(float(area), 1 - float(area))


def _purity(target: Column, other: Column) -> tuple[float, float]:
    """The share of rows right by each value's most frequent class, and by the most frequent."""
    pair = _both(target, other)
    if not len(pair):
        return 0.0, 0.0
    counts = pair.group_by(["other", "target"]).aggregate([([], "count_all")])
    right = counts.group_by(["other"]).aggregate([("count_all", "max")])
    classes = counts.group_by(["target"]).aggregate([("count_all", "sum")])
    told = sum(right["count_all_max"].to_pylist())
    return told / len(pair), max(classes["count_all_sum"].to_pylist()) / len(pair)
