"""Tables that are far larger than the file they come in, found before they are unpacked.

The tool and every project read tables with this file, which is the same in both.
"""

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

MOST_COLUMNS = 10_000
LONGEST_HEADER = 4_000_000  # bytes
LONGEST_FOOTER = 32_000_000  # bytes; Arrow needs twenty times as many to read it
LARGEST_DICTIONARY = 1_200_000  # bytes; writers stop at a mebibyte if they are not told otherwise
ALWAYS_FITS = 256_000_000  # bytes of a table that may be unpacked whatever its file's size is
MOST_TIMES = 500  # what a larger table may be, in sizes of its file
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}  # bytes of a value; of others 8

PIECE = 1_000_000  # bytes of JSON that are looked at together
DEEPEST = 100  # levels of a value in JSON

# A text in JSON, and the colon that makes it a key. Nothing of it is tried twice, as that would
# take memory for each letter.
_TEXT = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*+:)?', re.DOTALL)
# What is nearly always a key: fast, and good enough to see that there are few.
_LIKELY_KEY = re.compile(rb'"([^"]*+)"\s*+:')
_SAME_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class OversizeError(ValueError):
    """A table that cannot be read here: why, in one line."""


def check_columns(count: int) -> None:
    """Raise OversizeError for more columns than a table may have."""
    if count > MOST_COLUMNS:
        raise OversizeError(f"it has more than {MOST_COLUMNS:,} columns; leave some out.")


def check_header(start: bytes) -> None:
    """Raise OversizeError if the first row of a CSV file, of which start is read, is too wide."""
    columns = 1
    for number, text in enumerate(start[:LONGEST_HEADER].split(b'"')):
        if number % 2:  # in quotes
            continue
        row, line_end, _ = text.partition(b"\n")
        columns += row.count(b",")
        if line_end:
            check_columns(columns)
            return
    check_columns(columns)
    if len(start) > LONGEST_HEADER:
        raise OversizeError("its first row does not end; it is no CSV file.")


def check_json(lines: bytes, keys: set[bytes]) -> None:
    """Raise OversizeError if lines of JSON have too many keys, or are nested too deeply.

    keys are those of the lines before; those of these lines are added.
    """
    known = set(keys)
    for start in range(0, len(lines), PIECE):
        keys.update(_LIKELY_KEY.findall(lines, start, start + PIECE))
        if len(keys) > MOST_COLUMNS:
            keys.clear()
            keys.update(known)
            _check_keys_exactly(lines, keys)
            break
    # Arrow's parser calls itself for each level, until there is no stack left.
    if _is_deep(lines) and _is_deep(_TEXT.sub(b"", lines)):
        raise OversizeError(f"its values are nested more than {DEEPEST} deep, or are not closed.")


def _check_keys_exactly(lines: bytes, keys: set[bytes]) -> None:
    for match in _TEXT.finditer(lines):
        if match[2]:
            keys.add(match[1])
            check_columns(len(keys))


def _is_deep(lines: bytes) -> bool:
    """Whether brackets are left once those that close at once are taken away so many times."""
    brackets = lines.translate(_SAME_BRACKETS, _NO_BRACKETS)
    for _ in range(DEEPEST):
        if len(brackets) <= DEEPEST:
            return False
        brackets = brackets.replace(b"[]", b"")
    return len(brackets) > DEEPEST


def parquet_metadata(source: Any, tail: bytes, size: int) -> Any:
    """Return what a Parquet file says of itself.

    tail is the file's last 8 bytes, and size their number in all. Raises OversizeError.
    """
    if tail.endswith(b"PAR1") and int.from_bytes(tail[:4], "little") > LONGEST_FOOTER:
        raise OversizeError("it has too many columns or row groups; write it with fewer.")
    metadata = parquet.read_metadata(source)
    check_columns(metadata.num_columns)
    check_unpacked(_least_bytes(metadata), size)
    return metadata


def parquet_batches(source: Any, metadata: Any, size: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file in batches of at most so many, and of ALWAYS_FITS bytes.

    Texts are counted before they are unpacked, as one can stand in a million rows. Raises
    OversizeError.
    """
    texts = _repeated_texts(metadata, rows)
    file = parquet.ParquetFile(source, metadata=metadata, read_dictionary=texts, pre_buffer=False)
    unpacked = 0
    for batch in file.iter_batches(rows):
        unpacked += _unpacked_bytes(batch)
        check_unpacked(unpacked, size)
        yield from _in_pieces(batch)


def check_unpacked(unpacked: int, size: int) -> None:
    """Raise OversizeError for a table of so many bytes out of a file of size bytes."""
    if unpacked > max(ALWAYS_FITS, MOST_TIMES * size):
        gigabytes = f"{unpacked / 1e9:.1f} GB"
        raise OversizeError(f"its {size:,} bytes unpack to {gigabytes} or more; write it anew.")


def _least_bytes(metadata: Any) -> int:
    """Return how many bytes a table has at least, from what its file says of its columns."""
    total = 0
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            width = WIDTHS.get(chunk.physical_type, 8)
            missing = (chunk.statistics and chunk.statistics.null_count) or 0
            total += max(chunk.total_uncompressed_size, width * (chunk.num_values - missing))
    return total


def _repeated_texts(metadata: Any, rows: int) -> list[str]:
    """Return the columns of text which could be too large in a batch if a text is repeated.

    They are read as dictionaries, which is as fast as any for texts that the file has in one, and
    slow for others.
    """
    names = []
    for number in range(metadata.num_columns):
        column = metadata.schema.column(number)
        if column.physical_type != "BYTE_ARRAY" or column.logical_type.type == "DECIMAL":
            continue
        groups = range(metadata.num_row_groups)
        chunks = [metadata.row_group(group).column(number) for group in groups]
        # A row of a list may hold all values.
        most = None if column.max_repetition_level else rows
        if any(_can_repeat_a_text(chunk, most) for chunk in chunks):
            names.append(column.path)
    return names


def _can_repeat_a_text(chunk: Any, rows: int | None) -> bool:
    """Whether a part of a column can hold long texts in a dictionary, and refer to them often."""
    size = int(chunk.total_uncompressed_size)
    values = int(chunk.num_values)
    if size * min(rows or values, values) <= ALWAYS_FITS:
        return False
    is_in_dictionary = size - 4 * values <= LARGEST_DICTIONARY
    return is_in_dictionary or size >= 20 * int(chunk.total_compressed_size)


def _unpacked_bytes(values: Any) -> int:
    """Return the bytes of a batch or an array once its dictionaries are unpacked."""
    if isinstance(values, pa.RecordBatch):
        return sum(_unpacked_bytes(column) for column in values.columns)
    kind = values.type
    if pa.types.is_dictionary(kind):
        if not (pa.types.is_string(kind.value_type) or pa.types.is_binary(kind.value_type)):
            return 8 * len(values)
        lengths = pc.cast(pc.binary_length(values.dictionary), pa.int64())
        return pc.sum(pc.take(lengths, values.indices)).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(_unpacked_bytes(part) for part in values.flatten())
    if pa.types.is_map(kind):
        start, end = values.offsets[0].as_py(), values.offsets[-1].as_py()
        parts = (values.keys, values.items)
        return sum(_unpacked_bytes(part.slice(start, end - start)) for part in parts)
    if pa.types.is_nested(kind) and hasattr(values, "flatten"):
        return _unpacked_bytes(values.flatten())
    return int(values.nbytes)


def _in_pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch with its dictionaries unpacked, in halves of halves if it is too large."""
    half = batch.num_rows // 2
    if half and _unpacked_bytes(batch) > ALWAYS_FITS:
        yield from _in_pieces(batch.slice(0, half))
        yield from _in_pieces(batch.slice(half))
        return
    columns = [_unpack(column) for column in batch.columns]
    yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _unpack(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
