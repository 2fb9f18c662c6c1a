"""How a project stands to its template: is it behind, has it drifted, what an update would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from mlscaffold import drift, pristine, releases, store, versions
from mlscaffold.answers import Answers
from mlscaffold.drift import Difference
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, obstacles, planning, repository
from mlscaffold.merge.plan import Plan
from mlscaffold.releases import Gap
from mlscaffold.versions import Step


@dataclass(frozen=True)
class Standing:
    """What is known of a project and one of its templates.

    version, newest: the recorded version and the newest, as `git describe` names them
    unreachable: why the template could not be asked for a newer one; newest is then the last known
    is_told: whether the newest is one that mlscaffold itself brings along, or newer, so that
        it stands for an answer
    gap: what lies between the two; None for a project that is not behind
    plan: the update to the newest version; None where there is none, or none can be made
    obstacle: why the update would be refused, "" if it would not be
    """

    answers: Answers
    version: str
    newest: str
    unreachable: str
    is_told: bool
    gap: Gap | None
    differences: tuple[Difference, ...]
    plan: Plan | None
    obstacle: str

    @property
    def is_behind(self) -> bool:
        return self.gap is not None

    @property
    def is_drifted(self) -> bool:
        return any(difference.is_drift for difference in self.differences)

    @property
    def is_good(self) -> bool | None:
        """Whether the project is current and undrifted; None if the template may have more.

        One whose update was killed halfway is not good, whatever version it records.
        """
        if self.is_behind or self.is_drifted or self.obstacle:
            return False
        return None if self.unreachable and not self.is_told else True

    def as_json(self) -> dict[str, Any]:
        """The stable form for --format json."""
        gap = self.gap or Gap((), 0, 0, "")
        return {
            "answers_file": self.answers.file,
            "address": self.answers.address,
            "version": self.version,
            "newest": self.newest,
            "unreachable": self.unreachable or None,
            "is_behind": self.is_behind,
            "releases": [{"tag": one.tag, "date": one.date.date()} for one in gap.releases],
            "commits": gap.commits,
            "days": gap.days,
            "changelog": gap.changelog,
            "is_drifted": self.is_drifted,
            "differences": [difference.as_json() for difference in self.differences],
            "update": self.plan.as_json() if self.plan else None,
            "obstacle": self.obstacle or None,
        }


def is_good(found: Sequence[Standing]) -> bool | None:
    """Whether all are good: no if one is not, and None if one cannot be told."""
    answers = {one.is_good for one in found}
    if False in answers:
        return False
    return None if None in answers else True


def look(answers: Answers, *, trusted: bool = False, today: date | None = None) -> Standing:
    """Compares a project with its template. Raises MlscaffoldError when it cannot be told."""
    step, unreachable = _step(answers)
    with pristine.rendered(step, trusted=trusted) as render:
        differences = drift.find(render, today)
    plan, obstacle = _plan(step, trusted=trusted)
    old, new = step.old.checkout, step.new.checkout
    gap = None if step.stays else releases.gap(old, new)
    is_told = not unreachable or store.is_bundled(answers.address)
    return Standing(answers, *step.names, unreachable, is_told, gap, differences, plan, obstacle)


def _step(answers: Answers) -> tuple[Step, str]:
    """The step to the newest version, and why the template could not be asked for it."""
    try:
        step = versions.choose(answers)
    except store.FetchError as error:
        if store.is_bundled(answers.address):  # what is recorded is not in the bundle
            raise
        return versions.choose(answers, fetch=False), error.format_message()
    return step, step.unreachable


def _plan(step: Step, *, trusted: bool) -> tuple[Plan | None, str]:
    """Return what `update --dry-run` would print, and why the update would be refused."""
    if step.stays:
        return None, _interruption(step)
    try:
        project = repository.open_at(step.answers.root)
        with planning.planned(step, project, trusted=trusted) as (plan, _):
            return plan, obstacles.find(project, [step], [plan], trusts=lambda _: trusted)
    except MlscaffoldError as error:
        return None, error.format_message()


def _interruption(step: Step) -> str:
    """Return that an update was killed halfway, which a project on the newest version may hide."""
    try:
        project = repository.open_at(step.answers.root)
    except MlscaffoldError:  # in no repository there was no update
        return ""
    try:
        apply.check_not_interrupted(project)
    except MlscaffoldError as error:
        return error.format_message()
    return ""
