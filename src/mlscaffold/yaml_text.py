"""YAML that somebody else wrote: read without a bomb, and what is wrong in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mlscaffold.errors import MlscaffoldError

if TYPE_CHECKING:
    import yaml

LARGEST = 100_000  # values in a document, its aliases written out
Included = Callable[[str], Iterable[str | bytes]]


def parse(text: str) -> Any:
    """Return what one YAML document holds. Raises MlscaffoldError with what is wrong with it."""
    import yaml

    try:
        check_size(text)
        return yaml.safe_load(text)
    except yaml.constructor.ConstructorError as error:
        raise MlscaffoldError(f"is refused: {' '.join(str(error.problem).split())}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MlscaffoldError(f"is not valid YAML: {' '.join(str(error).split())}.") from None


def check_size(text: str | bytes, included: Included = lambda _pattern: ()) -> None:
    """Raise MlscaffoldError for YAML that its aliases blow up, or that holds itself.

    included returns the texts that Copier's tag !include puts in place of a pattern. Raises
    yaml.YAMLError for what is no YAML.
    """
    mark, tag = ("&", "!include") if isinstance(text, str) else (b"&", b"!include")
    if (mark in text or tag in text) and _text_size(text, included, {}) > LARGEST:  # type: ignore[operator]
        raise MlscaffoldError("is refused: its aliases stand for far too much.")


def _text_size(text: str | bytes, included: Included, texts: dict[str | bytes, int]) -> int:
    import yaml

    if text not in texts:
        texts[text] = LARGEST + 1  # seen again on the way down: it includes itself
        nodes: dict[int, int] = {}
        documents = yaml.compose_all(text, Loader=yaml.SafeLoader)
        texts[text] = sum(_node_size(node, nodes, included, texts) for node in documents)
    return texts[text]


def _node_size(
    node: yaml.Node, nodes: dict[int, int], included: Included, texts: dict[str | bytes, int]
) -> int:
    """Return the number of values that a node stands for; nodes and texts hold those counted."""
    if id(node) in nodes:
        return nodes[id(node)]
    nodes[id(node)] = LARGEST + 1  # seen again on the way down: it holds itself
    if node.tag == "!include" and isinstance(node.value, str):
        return sum(_text_size(text, included, texts) for text in included(node.value))
    entries = node.value if isinstance(node.value, list) else []
    parts = (part for entry in entries for part in (entry if type(entry) is tuple else (entry,)))
    nodes[id(node)] = 1 + sum(_node_size(part, nodes, included, texts) for part in parts)
    return nodes[id(node)]
