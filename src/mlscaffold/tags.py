"""Tags of a template that came to name another commit: which one a project was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Move:
    """One change of a tag, as this machine noticed it; times are seconds since the epoch.

    old: the commit that it named, None while it was missing
    last_seen: when it was last seen so
    first_seen: when it was first seen otherwise
    """

    old: str | None
    last_seen: float
    first_seen: float


def find_moves(
    before: Mapping[str, str | None],
    after: Mapping[str, str],
    seen: Mapping[str, float],
    now: float,
) -> dict[str, Move]:
    """Return the tags that name another commit than before.

    before holds None for a tag that a project asked for and that was missing; seen says when each
    was seen so.
    """
    return {
        tag: Move(before[tag], seen[tag], now)
        for tag, commit in after.items()
        if tag in before and before[tag] != commit
    }


def commit_at(moves: Sequence[Move], commit: str, time: float) -> str | None:
    """Return what a tag named at a time; None where that cannot be known.

    commit is what it names now. A project that was made before a move was made from the commit
    before it, and one that was made between two looks from either.
    """
    for move in sorted(moves, key=lambda each: each.first_seen):
        if time <= move.last_seen:
            return move.old
        if time < move.first_seen:
            return None
    return commit
