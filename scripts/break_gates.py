"""Breaks each gate of a generated project on purpose, and sees that the project's own tests notice.

Makes projects, or takes those that went round the loop:  python scripts/break_gates.py [PROJECT...]
"""

from __future__ import annotations

import argparse
import ast
import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
NAME = "demo"
# Imported once, for all of the processes that run a project's tests.
HEAVY = (
    "fastapi",
    "joblib",
    "pandas",
    "prometheus_client",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.compose",
    "sklearn.ensemble",
    "skops.io",
    "sqlalchemy",
)
# Without bytecode each process would compile every module of the environment.
DROPPED = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in DROPPED}
TESTS_FAILED = 1  # pytest's exit code; 2 and above would mean that no test was run


@dataclass(frozen=True)
class Break:
    """What no longer holds, and the edit of a file that makes it so."""

    what: str
    file: str
    edit: Callable[[str], str]
    tests: tuple[str, ...] = ("tests/data", "tests/gates")


def returns(function: str, value: str) -> Callable[[str], str]:
    """The function does nothing but return a value."""

    def edit(source: str) -> str:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name == function:
                lines = source.splitlines()
                body = " " * node.body[0].col_offset + f"return {value}"
                lines[node.body[0].lineno - 1 : node.end_lineno] = [body]
                return "\n".join(lines) + "\n"
        raise LookupError(f"there is no function {function}")

    return edit


def replaced(old: str, new: str) -> Callable[[str], str]:
    """Some text stands in the place of another."""

    def edit(source: str) -> str:
        if old not in source:
            raise LookupError(f"there is no {old!r}")
        return source.replace(old, new)

    return edit


def without(rule: str, role: str = "feature") -> Callable[[str], str]:
    """The contract asks one thing less of the columns of a role."""

    def edit(source: str) -> str:
        contract = yaml.safe_load(source)
        chosen = [rules for rules in contract["columns"].values() if rules["role"] == role]
        # A list: every column loses its rule, not only the first that has one.
        if not any([rules.pop(rule, None) is not None for rules in chosen]):  # noqa: C419
            raise LookupError(f"no {role} has {rule}")
        return dump(contract)

    return edit


def contract_with(**changes: Any) -> Callable[[str], str]:
    """The contract says something else of the whole table."""
    return lambda source: dump(yaml.safe_load(source) | changes)


def dump(contract: dict[str, Any]) -> str:
    return yaml.safe_dump(contract, sort_keys=False, allow_unicode=True)


PACKAGE = f"src/{NAME}"
CONTRACT = f"{PACKAGE}/data/contract.py"
SOURCES = f"{PACKAGE}/data/sources.py"
GATES = f"{PACKAGE}/training/gates.py"
REQUEST = f"{PACKAGE}/training/request.py"
ASKED = ("tests/unit/test_request.py",)
READ = ("tests/gates/test_security.py",)
CHAMPIONS = ("tests/unit/test_champions.py",)
WATCHED = ("tests/unit/test_monitor.py",)
MONITORING = f"{PACKAGE}/monitoring"
MONITOR = f"{MONITORING}/monitor.py"
ROLLING = f"{PACKAGE}/data/rolling.py"
FORECAST = ("tests/gates/test_forecast.py",)
NOTHING = "iter(())"
TASKS = ("classification", "forecasting")
AUTHOR = ("-c", "user.name=gates", "-c", "user.email=gates@example.org")

BREAKS = [
    # The contract's checks, and what it asks for.
    Break("names of columns", CONTRACT, returns("_check_names", NOTHING)),
    Break("values of cells", CONTRACT, returns("_check_values", NOTHING)),
    Break("dates in the future", CONTRACT, returns("_check_time", NOTHING)),
    Break("cells of a wrong type", CONTRACT, returns("coerce", "frame.copy(), []")),
    Break("a median that moved", CONTRACT, returns("_check_medians", NOTHING)),
    Break("keys in two batches, one target value", CONTRACT, returns("_check_across", NOTHING)),
    Break("keys in two chunks of a file", CONTRACT, returns("repeated", "keys[:0]")),
    Break(
        "dates that one chunk reads two ways",
        CONTRACT,
        replaced("return forms, chain(head, chunks)", "return {}, chain(head, chunks)"),
    ),
    Break(
        "rows that are drawn apart from the split",
        CONTRACT,
        replaced("pd.util.hash_array(row_hashes(", "(row_hashes("),
    ),
    Break("the contract's ranges", "data/contract.yaml", without("in_range")),
    Break("the contract's keys", "data/contract.yaml", contract_with(unique=None)),
    Break(
        "batches with a header only",
        SOURCES,
        replaced('raise ContractError(f"{name}: it holds', 'print(f"{name}: it holds'),
    ),
    # The same contract, when predicting.
    Break(
        "the contract of a batch", f"{PACKAGE}/serving/predict.py", returns("_breaches", NOTHING)
    ),
    Break(
        "the contract over HTTP",
        f"{PACKAGE}/serving/app.py",
        returns("_kind", 'TYPES[rules["dtype"]]'),
    ),
    # What keeps the judgement honest.
    Break("the leakage check", f"{PACKAGE}/data/infer.py", returns("find_leaks", "[]")),
    Break("the overlap check", f"{PACKAGE}/data/split.py", returns("check_overlap", "None")),
    # The gates, in order.
    Break("gate: leakage", GATES, returns("_leakage", 'Gate("leakage", True, "")')),
    Break(
        "leaks that nobody accepted",
        GATES,
        replaced("if not set(leak.columns) <=", "if not set(leak.columns) &"),
    ),
    Break("gate: floor", GATES, returns("_floor", 'Gate("floor", True, "")')),
    Break(
        "gate: baselines",
        GATES,
        returns("_baselines", '[Gate("dummy", True, ""), Gate("linear", True, "")]'),
    ),
    Break("gate: champion", GATES, returns("champion_gate", 'Gate("champion", True, "")')),
    Break("gate: slices", GATES, returns("_slices", 'Gate("slices", True, "")')),
    Break("gate: calibration", GATES, returns("_calibration", 'Gate("calibration", True, "")')),
    Break("gates: latency, size", GATES, returns("_at_most", 'Gate(name, True, "")')),
    Break("gate: model card", GATES, returns("_card", 'Gate("model card", True, "")')),
    Break("the verdict", GATES, returns("verdict", '("promote", "")')),
    # What makes monitoring ring, and what keeps it quiet.
    Break(
        "monitoring: values that moved", f"{MONITORING}/drift.py", returns("psi", "0.0"), WATCHED
    ),
    Break(
        "monitoring: missing values",
        MONITOR,
        replaced("found.missing > max(limits.missing, usual.missing)", "False"),
        WATCHED,
    ),
    Break(
        "monitoring: new or vanished values",
        MONITOR,
        replaced("found.values > max(limits.values, usual.values)", "False"),
        WATCHED,
    ),
    Break("monitoring: the contract", MONITOR, returns("breaches", "{}"), WATCHED),
    Break("monitoring: the score", MONITOR, returns("performance", "None"), WATCHED),
    Break(
        "monitoring: how far past windows moved",
        MONITOR,
        replaced("found.psi > max(limits.psi, usual.psi)", "found.psi > limits.psi"),
        WATCHED,
    ),
    Break(
        "monitoring: the season",
        f"{MONITORING}/drift.py",
        returns("season", "np.ones(len(past), bool)"),
        WATCHED,
    ),
    Break(
        "an alarm that cannot ring",
        MONITOR,
        replaced("len(found) >= limits.k", "len(found) > limits.n"),
        WATCHED,
    ),
    Break(
        "an alarm for one odd window",
        MONITOR,
        replaced("len(found) >= limits.k", "len(found) >= 1"),
        WATCHED,
    ),
    Break("an alarm that nobody hears", MONITOR, replaced('"alarm": 1', '"alarm": 0'), WATCHED),
    Break(
        "quiet because too little was served",
        MONITOR,
        replaced("if judged < limits.k:", "if False:"),
        WATCHED,
    ),
    # What may be read, and what must stay secret.
    Break("no reader of pickles", "pyproject.toml", replaced(', "TID251"]', "]"), READ),
    Break("no reader is left out", "pyproject.toml", replaced("dill.msg", "dil.msg"), READ),
    Break(
        "no comment hides a reader",
        f"{PACKAGE}/features.py",
        lambda source: source + "import pickle  # noqa\n",
        READ,
    ),
    # What stands between a judged model and its use.
    Break(
        "no promotion against the verdict",
        f"{PACKAGE}/training/champion.py",
        replaced('if record.verdict != "promote":', "if False:"),
    ),
    Break(
        "the promoted bytes alone are loaded",
        f"{PACKAGE}/training/champion.py",
        replaced('!= pointer["model"]["md5"]:', "== 0:"),
    ),
    Break(
        "the promoted bytes alone go to the next environment",
        f"{PACKAGE}/training/champion.py",
        replaced("verified(root, coming, source), environment)", 'b"", environment)'),
    ),
    Break(
        "the judged bytes alone are promoted",
        f"{PACKAGE}/training/champion.py",
        replaced('persistence.md5(model) != record.model["md5"] or', ""),
    ),
    Break(
        "a pointer that no round made",
        f"{PACKAGE}/training/records.py",
        returns("_differences", "[]"),
        CHAMPIONS,
    ),
    Break(
        "a record that is not the pointer's",
        f"{PACKAGE}/training/records.py",
        replaced("!= _digest(content):", "== 0:"),
        CHAMPIONS,
    ),
    Break(
        "the code of the round alone is loaded",
        f"{PACKAGE}/training/records.py",
        returns("_changed_modules", "[]"),
        CHAMPIONS,
    ),
    Break(
        "an id that is a path",
        f"{PACKAGE}/training/rounds.py",
        replaced("ID.fullmatch(value)", "value"),
        CHAMPIONS,
    ),
    Break(
        "what no commit has is not promoted",
        f"{PACKAGE}/training/committed.py",
        returns("uncommitted", "[]"),
        ("tests/unit/test_committed.py",),
    ),
    Break(
        "an older champion does not replace a newer one",
        f"{PACKAGE}/deploy.py",
        returns("_is_older_than", "False"),
        ("tests/unit/test_deploy.py",),
    ),
    Break(
        "in doubt every environment has changed",
        f"{PACKAGE}/deploy.py",
        replaced("return there is not None and", "return there is None or"),
        ("tests/unit/test_deploy.py",),
    ),
    Break("signed champions", f"{PACKAGE}/training/signing.py", returns("_is_by", "True")),
    Break(
        "a champion's own code",
        f"{PACKAGE}/persistence.py",
        replaced('sorted(folder.glob("*.py"))', "[]"),
    ),
    Break(
        "trusted types",
        f"{PACKAGE}/persistence.py",
        replaced("    if unknown:", "    if False:"),
    ),
    Break(
        "a champion that nobody could load",
        f"{PACKAGE}/training/judging.py",
        replaced("persistence.trusted_types(", "print("),
    ),
    # What a request may carry, and whose work it may not undo.
    Break(
        "a person's commit is not written over",
        REQUEST,
        replaced("if len(shown) != 4 or shown[3] != shown[0]:", "if False:"),
        ASKED,
    ),
    Break(
        "an amended commit is a person's",
        REQUEST,
        replaced("if len(shown) != 4 or shown[3] != shown[0]:", "if len(shown) != 4:"),
        ASKED,
    ),
    Break("a request carries a round alone", REQUEST, returns("_check", "None"), ASKED),
    Break("a closed request stays closed", REQUEST, returns("_is_about", "False"), ASKED),
    Break("no token in a message", f"{PACKAGE}/credentials.py", returns("mask", "text"), ASKED),
    Break("the switch", f"{PACKAGE}/training/loop.py", returns("is_overdue", "False"), ASKED),
    # What keeps a forecast honest.
    Break("the look-ahead check", ROLLING, returns("look_ahead", "[]"), FORECAST),
    Break("rows that are altered", ROLLING, returns("_altered", "rows"), FORECAST),
    Break(
        "rows older than forecast.py needs",
        ROLLING,
        replaced("(place > origin - needed) &", ""),
        FORECAST,
    ),
    Break(
        "no training between origin and date", ROLLING, replaced(">= first - 1]", ">= 0]"), FORECAST
    ),
    Break("dates drawn together", ROLLING, returns("blocks", "_date(table)"), FORECAST),
    Break("leaks of the next step", ROLLING, returns("changes", "rows"), FORECAST),
]


def make_project(folder: Path, task: str) -> Path:
    """A project of a task, after its first round."""
    template, project = folder / task / "template", folder / task / NAME
    template.mkdir(parents=True)
    shutil.copy(ROOT / "copier.yml", template)
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(ROOT / "template", template / "template", ignore=ignore)
    uv = str(BIN / "uv")
    copy = [str(BIN / "copier"), "copy", "--defaults", "--quiet", "--data", f"task={task}"]
    for command, place in [
        ([*copy, str(template), str(project)], folder),
        (["git", "init", "--quiet"], project),
        (["git", "add", "--all"], project),
        (["git", *AUTHOR, "commit", "--quiet", "--message", "Start"], project),
        ([uv, "sync", "--quiet", "--python", sys.executable], project),
        ([uv, "run", NAME, "data", "infer"], project),
        ([uv, "run", NAME, "retrain"], project),
    ]:
        subprocess.run(command, cwd=place, env=ENVIRONMENT, check=True)
    return project


def python_of(project: Path) -> Path:
    return project / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"


class FirstFailed:
    """A plugin of pytest that knows which test failed first."""

    name = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.name = self.name or (report.nodeid if report.failed else "")


def tests(copy: Path, paths: tuple[str, ...]) -> tuple[int, str]:
    """pytest's exit code for a copy of a project, and the first test that failed.

    This process is of no use afterwards.
    """
    import pytest

    failed = FirstFailed()
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy / "src")
    sys.path.insert(0, str(copy / "src"))
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *paths], [failed])
    return int(code), failed.name


@contextmanager
def copied(project: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, NAME)
        ignored = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache")
        shutil.copytree(project, copy, ignore=ignored)
        yield copy


def broken(job: tuple[Path, int]) -> tuple[str, str]:
    """What is wrong if no test of the project notices a break, and the test that does.

    The break goes by its number: an edit cannot be sent to another process.
    """
    project, change = job[0], BREAKS[job[1]]
    with copied(project) as copy:
        path = copy / change.file
        try:
            path.write_text(change.edit(path.read_text(encoding="utf-8")), encoding="utf-8")
        except LookupError as error:
            return f"cannot be broken: in {change.file} {error}", ""
        code, failed = tests(copy, change.tests)
        return "" if code == TESTS_FAILED else f"no test noticed (pytest: exit {code})", failed


def whole(job: tuple[Path, tuple[str, ...]]) -> str:
    """What is wrong if the tests that noticed a break fail without one too."""
    with copied(job[0]) as copy:
        code, failed = tests(copy, job[1])
        return f"fails where nothing is broken (pytest: exit {code}): {failed}" if code else ""


def jobs(projects: list[Path]) -> list[tuple[Path, int]]:
    """Each break in the first project that has its file."""
    # A forecast has files more, and only what breaks those is looked at there.
    homes = {
        number: project
        for project in reversed(projects)
        for number, change in enumerate(BREAKS)
        if (project / change.file).exists()
    }
    if len(projects) == len(TASKS) and len(homes) < len(BREAKS):
        sys.exit(f"No project has {BREAKS[min({*range(len(BREAKS))} - homes.keys())].file}.")
    return [(homes[number], number) for number in sorted(homes)]


def judge(projects: list[Path]) -> None:
    """Two processes at a time, each a fork of this one, which has imported what takes long."""
    for name in HEAVY:
        importlib.import_module(name)
    every, wrong = jobs(projects), 0
    noticed: dict[Path, dict[str, None]] = {project: {} for project in projects}
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        for (project, number), (problem, test) in zip(
            every, pool.imap(broken, every, 1), strict=True
        ):
            noticed[project] |= {test: None} if test else {}
            report(BREAKS[number].what, problem, "a test fails")
            wrong += bool(problem)
        again = [(project, tuple(names)) for project, names in noticed.items() if names]
        for (_, names), problem in zip(again, pool.imap(whole, again, 1), strict=True):
            report("nothing is broken", problem, f"those {len(names)} tests pass")
            wrong += bool(problem)
    if wrong:
        sys.exit(f"{wrong} of {len(every) + len(again)} outcomes are wrong.")


def report(what: str, problem: str, good: str) -> None:
    print(f"{'✗' if problem else '✓'} {what:40} {problem or good}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("projects", nargs="*", type=Path, help="those that went round the loop")
    projects = [project.resolve() for project in parser.parse_args().projects]
    if projects and Path(sys.prefix) == projects[0] / ".venv":
        return judge(projects)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        projects = projects or list(pool.map(partial(make_project, Path(folder)), TASKS))
        # The tests are run by the environment of a project, not by the one that makes them.
        command = [str(python_of(projects[0])), __file__, *map(str, projects)]
        sys.exit(subprocess.run(command, env=ENVIRONMENT, check=False).returncode)


if __name__ == "__main__":
    main()
