"""Which bytes are text: the tool and its projects share this file, so both refuse a table alike.

A table is written in UTF-8, with or without a mark at its start. Any other encoding is named as far
as it can be told, with the place and the command that converts the file.
"""

import codecs

# The longer marks first: UTF-16's is the start of one of UTF-32.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_HEAD = 4096  # bytes that show an encoding of several bytes a letter


class EncodingError(ValueError):
    """A file is not text in UTF-8; the message has the place and what to type."""


def check(data: bytes, line: int = 1) -> None:
    """Raise EncodingError unless data, which starts with that line of a file, is text in UTF-8.

    A letter that is cut at the end is none of its faults.
    """
    if line == 1 and (name := _of_several_bytes(data[:_HEAD])):
        raise EncodingError(f"is {name} text, and a table is UTF-8: {_command(name)}")
    if b"\0" in data:
        number = line + data.count(b"\n", 0, data.index(b"\0"))
        raise EncodingError(f"is not a CSV file: line {number} has a byte of zero; write it anew.")
    try:
        codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError as error:
        number = line + data.count(b"\n", 0, error.start)
        byte = f"0x{data[error.start]:02X}"
        raise EncodingError(
            f"is not UTF-8 text: line {number} has the byte {byte}, as a file of Windows-1252 or "
            f"another encoding has it: {_command('WINDOWS-1252')}"
        ) from None


def _of_several_bytes(head: bytes) -> str:
    """The encoding that the mark tells, or the places of the zeros; empty if none is told."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    half = len(head) // 2
    if half and head[1::2].count(0) > 0.7 * half and not head[::2].count(0):
        return "UTF-16LE"
    if half and head[::2].count(0) > 0.7 * half and not head[1::2].count(0):
        return "UTF-16BE"
    return ""


def _command(name: str) -> str:
    return f"type iconv -f {name} -t UTF-8 OLD.csv > NEW.csv, and give the new file."
