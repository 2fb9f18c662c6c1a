"""The answers file: the new version's answers, with the lines that somebody wrote into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlscaffold.merge.facts import Facts
from mlscaffold.merge.objects import Entry
from mlscaffold.merge.plan import Action


@dataclass(frozen=True)
class _Section:
    """Some lines of an answers file: one answer, or what stands between two (key is None)."""

    key: str | None
    lines: tuple[str, ...]
    comments: tuple[str, ...] = ()


def decide_answers_file(facts: Facts) -> Iterator[Action]:
    """Yield the action for the answers file: the new answers, and all lines of the user's own."""
    path = facts.answers_file
    ours, theirs = facts.ours_at(path), facts.new.get(path)
    if theirs is None:
        return
    after = _merged(facts, ours, theirs) if ours and ours.is_text_or_binary else theirs
    yield Action(path, "update" if ours else "create", ours, after)


def _merged(facts: Facts, ours: Entry, theirs: Entry) -> Entry:
    path = facts.answers_file
    base = facts.old.get(path)
    texts = [_text(facts, entry) for entry in (base, ours, theirs)]
    old, mine, new = map(_values, texts)
    own = {key: value for key, value in mine.items() if key not in old and key not in new}
    expected = {**new, **own}
    by_git = facts.objects.look_up(facts.merged.tree, path)
    if by_git and path not in facts.merged.stages and _values(_text(facts, by_git)) == expected:
        return Entry(theirs.mode, by_git.oid)
    text = merge_texts(*texts, own=own)
    return Entry(theirs.mode, facts.objects.write("blob", text.encode("utf-8")))


def merge_texts(base: str, ours: str, theirs: str, *, own: Mapping[str, Any]) -> str:
    """Return the answers of theirs in the lines of ours, with the user's keys and comments.

    own are the keys that only the user's file has. Where the lines of ours are of a form that
    this does not know, the comments stand above theirs and the user's keys below.
    """
    import yaml

    expected = {**_values(theirs), **own}
    sections = _sections(ours)
    if sections is not None:
        text = "".join(_lines_of_both(base, sections, _sections(theirs) or [], own))
        if _values(text) == expected:
            return text
    known = {line.strip() for line in (base + theirs).splitlines()}
    comments = [line for line in ours.splitlines(keepends=True) if _is_comment(line)]
    mine = [line for line in comments if line.strip() not in known]
    below = yaml.safe_dump(dict(own), sort_keys=False, allow_unicode=True) if own else ""
    return "".join([*mine, _ended(theirs), below])


def _lines_of_both(
    base: str, ours: Iterable[_Section], theirs: Iterable[_Section], own: Mapping[str, Any]
) -> Iterator[str]:
    """Yield ours line by line, with the answers of theirs; a new answer follows its neighbour."""
    answers = {section.key: section for section in theirs if section.key is not None}
    from_template = {line.strip() for line in base.splitlines() if _is_comment(line)}
    after: dict[str | None, list[_Section]] = {}
    neighbour = None
    known = {section.key for section in ours}
    for key, section in answers.items():
        if key in known:
            neighbour = key
        else:
            after.setdefault(neighbour, []).append(section)
    for section in after.pop(None, ()):
        yield from section.lines
    for section in ours:
        if section.key is None or section.key in own:
            yield from section.lines
        elif section.key in answers:
            yield from _with_new_answer(section, answers[section.key], from_template)
        else:  # a question that the template no longer asks
            yield from section.comments
        for added in after.get(section.key, ()) if section.key else ():
            yield from added.lines


def _with_new_answer(ours: _Section, theirs: _Section, from_template: set[str]) -> Iterator[str]:
    if _values("".join(ours.lines)) == _values("".join(theirs.lines)):
        yield from ours.lines
        return
    yield from (line for line in ours.comments if line.strip() not in from_template)
    yield from theirs.lines


def _sections(text: str) -> list[_Section] | None:
    """Return the sections of an answers file; None if it is not one key below the other."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None
    lines = _ended(text).splitlines(keepends=True)
    starts = [key.start_mark.line for key, _ in root.value]
    sections = [_Section(None, tuple(lines[: starts[0]]))] if starts else []
    for (key, value), start, end in zip(root.value, starts, [*starts[1:], len(lines)], strict=True):
        last = end
        while last > start + 1 and _is_between(lines[last - 1]):
            last -= 1
        comments = tuple(_comments_in(lines[start:last], value, start))
        sections.append(_Section(str(key.value), tuple(lines[start:last]), comments))
        sections.append(_Section(None, tuple(lines[last:end])))
    return sections


def _comments_in(lines: list[str], value: Any, start: int) -> Iterator[str]:
    """Yield the comments of an answer, each as a line of its own."""
    end = value.end_mark
    for number, line in enumerate(lines, start):
        is_scalar = isinstance(value.value, str)
        if not is_scalar and _is_comment(line):
            yield line.lstrip()
        elif is_scalar and number == end.line:
            rest = line[end.column :].strip()
            if rest.startswith("#"):
                yield f"{rest}\n"


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _is_between(line: str) -> bool:
    """Say whether a line belongs to no answer: it is blank, or a comment that is not indented."""
    return not line.strip() or line.startswith("#")


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _text(facts: Facts, entry: Entry | None) -> str:
    if entry is None or not entry.is_text_or_binary:
        return ""
    return facts.objects.read(entry.oid).decode("utf-8-sig", "replace").replace("\r\n", "\n")


def _values(text: str) -> dict[str, Any]:
    """Return what an answers file holds; nothing if it cannot be read."""
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
