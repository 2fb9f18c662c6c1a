"""Goes round the loop once: pull, check, fit, judge, report, and a new champion if the gates let it through."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from math import isclose
from pathlib import Path
from typing import Any

from pydantic import Field

from ..persistence import write
from ..settings import COMMAND, Params, ProjectError, Section, Settings, read_yaml, validate
from . import champion, committed, records, rounds, versions
from .tracking import tracker

MODEL = Path("training/model.json")
METRICS = Path("training/metrics.json")
REPORT = Path("docs/round.md")
LIMITS = Path("deployment/monitoring.yaml")
SEARCH = Path("training/search.yaml")
BEST = "best"  # the experiment that a search writes
Say = Callable[[str], None]


class Space(Section):
    """training/search.yaml: how many candidates, how many folds, and the values of each of the model's arguments."""

    candidates: int = Field(16, ge=2)
    folds: int = Field(3, ge=2)
    model: dict[str, list[Any]]


def retrain(settings: Settings, say: Say) -> rounds.Round | None:
    """A round on what is new, whose model becomes champion if it may; None when nothing has changed.

    It may not while no commit has what the round ran on: `waits_for` says what to commit.
    """
    if message := versions.missing_driver(settings.root):
        say(message)
    pull(settings, say)
    if not versions.changed_stages(settings.root):
        return None
    record = run(settings, say, may_promote=True)
    # Else the next call would find nothing changed, and leave the model that may be champion where it is.
    if record is None or not waits_for(settings, record):
        versions.commit_stages(settings.root)
    return record


def waits_for(settings: Settings, record: rounds.Round) -> str:
    """What to type before the model of a round becomes champion; "" when it is, or may not become it."""
    now = champion.load(settings.root)
    if record.verdict != "promote" or (now and now["id"] == record.id):
        return ""
    return committed.advice(record, committed.uncommitted(settings.root, record.overrides))


def pull(settings: Settings, say: Say) -> None:
    """Brings new batches into data/raw."""
    from ..data import sources

    if names := [str(path.relative_to(settings.root)) for path in sources.pull(settings)]:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(f"pull ✓ {', '.join(names[:3])}{more}")


def run(settings: Settings, say: Say, *, may_promote: bool = False) -> rounds.Round | None:
    """One round on the data at hand; None when it would make the champion again."""
    with tracker(settings.root, settings.package) as tell:
        record = _run(settings, say, may_promote)
        if record:
            now = champion.load(settings.root)
            tell(rounds.path(settings.root, record.id), may_promote and now is not None and now["id"] == record.id)
    return record


def _run(settings: Settings, say: Say, may_promote: bool) -> rounds.Round | None:
    started = time.perf_counter()
    from . import judging, report

    with step("contract", say):
        parts, batches = judging.prepare(settings)
    if parts.empty:
        say(f"  left out: {', '.join(parts.empty)} (no value in the rows to learn from)")
    if may_promote and is_champion(settings):
        return None
    with step("train", say):
        fitted = judging.fit(settings, parts)
    with step("gates", say):
        record = judging.judge(settings, parts, fitted, batches, started=started)
    promotes = may_promote and record.verdict == "promote" and _is_committed(settings, record)
    if may_promote:
        note(settings, record)
        versions.add(settings.root, Path("data/raw"), judging.splits.HOLDOUT)
    if promotes:
        champion.promote(settings, record.id)
    with step("report", say):
        report.write(settings, record)
        if promotes:
            report.write_card(settings, record)
    return record


def _is_committed(settings: Settings, record: rounds.Round) -> bool:
    """Whether git has what a round ran on. A first champion brings the lock along, if git has never had one."""
    names = committed.uncommitted(settings.root, record.overrides)
    return not names or (record.champion is None and committed.is_new_lock(settings.root, names))


def review(settings: Settings, say: Say) -> str | None:
    """What there is to say of a change that makes no other model than dev's champion, as Markdown; None when it does.

    ProjectError when what the change says of the champion of an environment is not what a round made.
    """
    from . import report

    root = settings.root
    for environment in champion.FOLDERS:
        if live := champion.load(root, environment):
            champion.verified(root, live, environment)
    now = champion.load(root)
    if not now or not is_champion(settings):
        return None
    if record := records.load(root, now):
        how = "this is how its round judged it"
    else:
        record, how = _judge_again(settings, now, say), "its round is not on record, so it was made and judged again"
    return f"The model of this change is the champion itself; {how}.\n\n{report.markdown(settings, record)}"


def _judge_again(settings: Settings, now: champion.Pointer, say: Say) -> rounds.Round:
    """The record of a round like the one that made dev's champion; ProjectError when it came out differently."""
    record = run(settings, say)
    assert record is not None
    scores = {name: span["value"] for name, span in now["scores"].items() if name in record.scores}
    again = {name: record.scores[name]["value"] for name in scores}
    different = [name for name in scores if not isclose(scores[name], again[name], rel_tol=1e-6)]
    if record.model["md5"] != now["model"]["md5"]:
        different.insert(0, "the model")
    if record.params != now["params"]:
        different.insert(0, "params")
    if different or record.verdict == "block":
        what = ", ".join(different) or f"the verdict ({record.reason})"
        raise ProjectError(f"Champion {record.id} came out differently when it was made again: {what}.")
    return record


def is_champion(settings: Settings) -> bool:
    """Whether a round would make dev's champion again."""
    from . import train

    now = champion.load(settings.root)
    return now is not None and now["id"] == train.inputs(settings).id


def fit(settings: Settings) -> str:
    """Fits without judging, for DVC's stage of that name; returns the model's id."""
    from . import judging

    fitted = judging.fit(settings, judging.prepare(settings)[0])
    _write(settings, MODEL, {"id": fitted.inputs.id, **fitted.digest})
    return fitted.inputs.id


def gate(settings: Settings, say: Say) -> rounds.Round:
    """Judges the model of params.yaml, for DVC's stage of that name."""
    record = run(settings, say)
    assert record is not None
    note(settings, record)
    return record


def promote(settings: Settings, id_: str) -> rounds.Round:
    """Makes a round's model the champion, in its card and in MLflow too.

    ProjectError when no commit has what it ran on; the champion itself may be signed anew in any case.
    """
    now = champion.load(settings.root)
    if not (now and now["id"] == id_):
        committed.refuse_other_inputs(settings, rounds.load(settings, id_))
    record = champion.promote(settings, id_)
    _announce(settings, record)
    return record


def rollback(settings: Settings, environment: str = "dev") -> str:
    """Puts the champion before this one back; of dev's, the card follows, and MLflow where the round was here."""
    pointer = champion.rollback(settings, environment)
    known = {record.id: record for record in rounds.all_rounds(settings)}
    record = records.load(settings.root, pointer) or known.get(pointer["id"])
    if record and environment == "dev":
        _announce(settings, record)
    return str(pointer["id"])


def _announce(settings: Settings, record: rounds.Round) -> None:
    from . import report

    path = rounds.path(settings.root, record.id)
    if path.exists():  # a round of another machine is not in this one's MLflow
        with tracker(settings.root, settings.package) as tell:
            tell(path, True)
    note(settings, record)
    report.write_card(settings, record)


def reproduce(settings: Settings, id_: str) -> int:
    """Fits a round's model again and returns its size; ProjectError when it is not the same."""
    from . import judging

    now = champion.load(settings.root)
    record = now if now and now["id"] == id_ else asdict(rounds.load(settings, id_))
    again = replace(settings, params=validate(Params, record["params"], f"round {id_}"))
    inputs = judging.train.inputs(again)
    for name, then, here in (
        ("code", record["code"], inputs.code),
        ("data", record["data"]["md5"], inputs.data),
        ("uv.lock", record["lock"], inputs.lock),
    ):
        if then != here:
            raise ProjectError(f"{id_} cannot be made here: {name} has changed since. Check out its commit first.")
    fitted = judging.fit(again, judging.prepare(again)[0])
    if fitted.digest["md5"] != record["model"]["md5"]:
        raise ProjectError(f"{id_} came out differently: {fitted.digest['md5']}, was {record['model']['md5']}.")
    return len(fitted.content)


def search(settings: Settings) -> dict[str, Any]:
    """The best of the model's arguments by successive halving, on the training rows alone.

    They are kept as the overlay training/experiments/best.yaml.
    """
    import yaml
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV

    from . import compute, judging

    space = validate(Space, read_yaml(settings.root / SEARCH), str(SEARCH))
    parts, contract = judging.prepare(settings)[0], judging.contracts.load(settings.root)
    train, rolling = parts.train, settings.rolling
    X = judging.as_input(train, parts.features)
    judge = judging.judge_of(settings, contract)
    finder = HalvingRandomSearchCV(
        judging.train.make_model(X, settings),
        {f"estimator__{name}": values for name, values in space.model.items()},
        n_candidates=space.candidates,
        cv=rolling.folds(train, space.folds) if rolling else space.folds,
        scoring=judge,
        min_resources=len(train) // 3 if rolling else "exhaust",  # the first days alone are too few to fit
        random_state=settings.params.training.random_state,
        refit=False,
    )
    try:
        with compute.spread(settings.params.compute):
            finder.fit(X, judging.train.target_of(train, settings))
    except ValueError as error:
        raise ProjectError(f"{SEARCH}: {' '.join(str(error).split())[:300]}") from None
    found = {name.removeprefix("estimator__"): value for name, value in finder.best_params_.items()}
    best = {name: value.item() if hasattr(value, "item") else value for name, value in found.items()}
    write(settings.root / "training" / "experiments" / f"{BEST}.yaml", yaml.safe_dump({"model": best}))
    return best


def last(root: Path) -> dict[str, Any]:
    """What is on record of the last round: id, verdict, when, scores; empty before the first."""
    path = root / METRICS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def note(settings: Settings, record: rounds.Round) -> None:
    """What dvc.yaml's stages made of params.yaml, small enough for git: `dvc metrics diff` reads it; and the report.

    `when` is the last round's, also where the champion of an older one has come back.
    """
    from . import report

    scores = {name: round(span["value"], 6) for name, span in record.scores.items()}
    when = max(record.when, last(settings.root).get("when", ""))
    _write(settings, MODEL, {"id": record.id, "md5": record.model["md5"], "size": record.model["size"]})
    _write(settings, METRICS, {"id": record.id, "verdict": record.verdict, "when": when, **scores})
    write(settings.root / REPORT, report.markdown(settings, record))


@dataclass(frozen=True)
class Age:
    """How old the last round on record is, in days, and how old it may be."""

    id: str
    when: str
    days: float
    limit: float

    @property
    def is_overdue(self) -> bool:
        return self.days > self.limit


def age(settings: Settings, now: datetime) -> Age | None:
    """The last round's age; None when there was none. ProjectError when its time or the limit cannot be read."""
    found, path = last(settings.root), settings.root / LIMITS
    limit = (read_yaml(path) if path.exists() else {}).get("max_age_days", 45)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or limit <= 0:
        raise ProjectError(f"{LIMITS}: max_age_days: a number of days above 0.")
    if not found:
        return None
    try:
        days = (now - datetime.fromisoformat(found["when"])).total_seconds() / 86400
    except (KeyError, ValueError, TypeError):
        raise ProjectError(f"{METRICS} does not say when its round was: type {COMMAND} retrain") from None
    return Age(found["id"], found["when"], round(days, 2), limit)


def _write(settings: Settings, path: Path, content: dict[str, Any]) -> None:
    write(settings.root / path, json.dumps(content, indent=2) + "\n")


@contextmanager
def step(name: str, say: Say) -> Iterator[None]:
    started = time.perf_counter()
    yield
    say(f"{name} ✓ {time.perf_counter() - started:.1f} s")
