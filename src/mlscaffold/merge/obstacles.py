"""Why an update would be refused, found without writing anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlscaffold import versions
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, check, index, programs
from mlscaffold.merge.plan import Plan
from mlscaffold.merge.repository import Repository
from mlscaffold.versions import Step


def find(
    repository: Repository,
    steps: Sequence[Step],
    plans: Sequence[Plan],
    *,
    trusts: Callable[[str], bool],
    skip_tasks: bool = False,
) -> str:
    """Return what `update` would say if it refused these plans; nothing if it would go on."""
    try:
        for step in steps:
            trusted = trusts(step.answers.address)
            versions.check_trust(step, trusted=trusted, runs_code=True, skip_tasks=skip_tasks)
        apply.check_not_interrupted(repository)
        if any(versions.are_migrations_due(step, "before") for step in steps):
            programs.check_committed(repository)
        if apply.ordered(plans):
            index.check_unlocked(repository)
        for plan in plans:
            check.check_clean(plan)
    except MlscaffoldError as error:
        return error.format_message()
    return ""
