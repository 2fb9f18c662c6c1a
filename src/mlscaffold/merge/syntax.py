"""Whether a file that git merged by itself can still be read by the programs it is for."""

from __future__ import annotations

import ast
import json
import tomllib
import warnings
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any


def is_broken(path: str, merged: bytes, ours: bytes, theirs: bytes) -> bool:
    """Whether a merged file does not parse although both that went into it did."""
    check = _CHECKS.get(PurePosixPath(path).suffix.lower())
    return check is not None and not check(merged) and check(ours) and check(theirs)


def whole_conflict(ours: bytes, theirs: bytes, name: str) -> bytes:
    """Both versions of a file between conflict markers; what they begin and end with, once."""
    one, other = ours.splitlines(keepends=True), theirs.splitlines(keepends=True)
    start = _common(one, other)
    end = _common(one[start:][::-1], other[start:][::-1])
    first, second = one[start : len(one) - end], other[start : len(other) - end]
    marked = [b"<<<<<<< yours\n", *_ended(first), b"=======\n", *_ended(second)]
    marked.append(f">>>>>>> template {name}\n".encode())
    return b"".join([*one[:start], *marked, *one[len(one) - end :]])


def _common(one: list[bytes], other: list[bytes]) -> int:
    pairs = zip(one, other, strict=False)
    return next(
        (place for place, (first, second) in enumerate(pairs) if first != second),
        min(len(one), len(other)),
    )


def _ended(lines: list[bytes]) -> list[bytes]:
    if lines and not lines[-1].endswith(b"\n"):
        return [*lines[:-1], lines[-1] + b"\n"]
    return lines


def _parses(parse: Callable[[str], Any]) -> Callable[[bytes], bool]:
    def check(data: bytes) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parse(data.decode("utf-8-sig"))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return False
        return True

    return check


def _json(text: str) -> None:
    json.loads(text, object_pairs_hook=lambda pairs: _unique([name for name, _ in pairs]))


def _yaml(text: str) -> None:
    import yaml

    try:
        for document in yaml.compose_all(
            text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        ):
            _unique_keys(document, set())
    except yaml.YAMLError as error:
        raise ValueError from error


def _unique_keys(node: Any, seen: set[int]) -> None:
    if id(node) in seen or not isinstance(getattr(node, "value", None), list):
        return
    seen.add(id(node))
    pairs = [entry for entry in node.value if isinstance(entry, tuple)]
    _unique([key.value for key, _ in pairs if isinstance(key.value, str) and key.value != "<<"])
    for entry in node.value:
        for part in entry if isinstance(entry, tuple) else (entry,):
            _unique_keys(part, seen)


def _unique(names: list[str]) -> None:
    """Raises for a key that two sides added: most readers take the last without a word."""
    if len(names) != len(set(names)):
        raise ValueError("the same key twice")


_CHECKS = {
    ".toml": _parses(tomllib.loads),
    ".json": _parses(_json),
    ".ipynb": _parses(_json),
    ".yml": _parses(_yaml),
    ".yaml": _parses(_yaml),
    ".py": _parses(ast.parse),
    ".pyi": _parses(ast.parse),
}
