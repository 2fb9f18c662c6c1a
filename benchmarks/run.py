"""Prints the figures that mlscaffold promises, each beside its peer measured in the same run.

    python benchmarks/run.py [tool] [update] [status] [loop] [large] [scale] [self-test] [serve]

Times are wall-clock seconds of whole commands, the median of alternating runs. Exit code 1 when a
figure is missed. Needs an environment in which mlscaffold is installed; makes the rest itself.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import yaml
from measuring import BIN, ROOT, Figure, alternate, ratio, run, seconds
from serving import serve
from updating import update

# What a data scientist would write without us: the same libraries, one fit, one score.
BARE_SCRIPT = """
import pandas as pd, pandera.pandas, pyarrow, skops.io, yaml
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
table = pd.read_csv("data/sample/seattle-weather.csv", parse_dates=["date"])
X = table.drop(columns=["date", "weather"]).assign(month=table["date"].dt.month)
cut = int(len(table) * 0.8)
model = HistGradientBoostingClassifier(max_iter=150, random_state=0)
model.fit(X[:cut], table["weather"][:cut])
print(roc_auc_score(
    table["weather"][cut:], model.predict_proba(X[cut:]), multi_class="ovr", average="weighted",
    labels=model.classes_))
"""


def tool(folder: Path) -> Iterator[Figure]:
    """Start-up and rendering, against Copier."""
    ours, peer = alternate(
        9,
        lambda: run(BIN / "mlscaffold", "--help", cwd=folder),
        lambda: run(BIN / "copier", "--help", cwd=folder),
    )
    yield ratio("mlscaffold --help", ours, peer, 0.35, "copier --help")
    places = iter(range(10_000))
    ours, peer = alternate(
        7,
        lambda: run(
            BIN / "mlscaffold", "new", f"ours{next(places)}", "--defaults", "--no-env", cwd=folder
        ),
        lambda: run(
            *(BIN / "copier", "copy", "--defaults", "--quiet", "--vcs-ref", "HEAD"),
            *(ROOT, f"peer{next(places)}"),
            cwd=folder,
        ),
    )
    yield ratio("new --no-env", ours, peer, 1.0, "copier copy, render alone")


def status(folder: Path) -> Iterator[Figure]:
    """status and diff of an edited project that is behind; status among many other files too."""
    log = ("log", "-2", "--format=%H", "--", "template", "copier.yml")
    before = run("git", *log, cwd=ROOT).split()[-1]
    places = folder / "few", folder / "many"
    for place in places:
        run(
            *(BIN / "mlscaffold", "new", place, "--defaults", "--no-env", "--ref", before),
            cwd=folder,
        )
        for path in ("README.md", ".github/workflows/ci.yml"):
            with (place / path).open("a", encoding="utf-8") as file:
                file.write("# mine\n")
    for number in range(3000):
        path = places[1] / "other" / str(number % 100) / f"{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x = {number}\n", encoding="utf-8")
    for place in places:
        run("git", "add", "--all", cwd=place)
        run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Edit", cwd=place)
    few, many = alternate(
        9, *(partial(run, BIN / "mlscaffold", "status", cwd=place, codes=(1,)) for place in places)
    )
    yield Figure("status", few, 1.0, f"{few:.2f} s, one version behind and edited")
    yield ratio("  among 3,000 other files", many, few, 1.1, "without them")
    (took,) = alternate(9, partial(run, BIN / "mlscaffold", "diff", cwd=places[0], codes=(1,)))
    yield Figure("diff", took, 1.0, f"{took:.2f} s, of the same project")


def loop(folder: Path) -> Iterator[Figure]:
    """Rounds of the loop, against a bare script that imports the same, fits and scores."""
    project = folder / "loop"
    run(BIN / "mlscaffold", "new", project, "--defaults", cwd=folder)
    python, command = project / ".venv/bin/python", project / ".venv/bin/loop"

    def bare() -> None:
        run(python, "-c", BARE_SCRIPT, cwd=project)

    def first() -> None:
        run(command, "data", "infer", cwd=project)
        run(command, "retrain", cwd=project, codes=(0, 10, 20))

    bare()  # byte-compiles, as the first import of any environment does
    ours, peer = seconds(first), alternate(3, bare)[0]
    yield ratio("first model", ours, peer, 4.0, "bare script")
    ours, peer = alternate(5, lambda: run(command, "retrain", cwd=project), bare)
    yield ratio("nothing changed", ours, peer, 0.6, "bare script")
    rates = iter(range(1, 100))
    ours, peer = alternate(
        5,
        lambda: run(
            *(command, "train", "--set", f"model.learning_rate={0.05 + next(rates) / 1000}"),
            cwd=project,
            codes=(0, 10, 20),
        ),
        bare,
    )
    yield ratio("one parameter changed", ours, peer, 2.0, "bare script")


def write_large_table(path: Path, *, rows: int, columns: int) -> None:
    """A CSV with `columns` columns besides the target: numbers, categories, gaps and dates."""
    numbers = random.Random(0)
    names = [f"number_{i}" for i in range(columns - 4)] + ["region", "plan", "seen", "member"]
    with path.open("w", encoding="utf-8") as file:
        print(*names, "left", sep=",", file=file)
        for row in range(rows):
            values = [numbers.gauss(0, 1) for _ in range(columns - 4)]
            region = numbers.choice(["north", "south", "east", "west"])
            left = values[0] + values[1] * (region == "north") + numbers.gauss(0, 1) > 1
            cells = ["" if numbers.random() < 0.02 else f"{value:.4f}" for value in values]
            day = f"{2024 + row * 2 // rows}-{row * 12 // rows % 12 + 1:02}-{row % 28 + 1:02}"
            print(
                *(*cells, region, numbers.choice("abc"), day, row % 2, "yes" if left else "no"),
                sep=",",
                file=file,
            )


def large(folder: Path) -> Iterator[Figure]:
    """100,000 rows and 30 columns through the whole loop: seconds and peak memory."""
    write_large_table(folder / "large.csv", rows=100_000, columns=30)
    project = folder / "large"
    run(
        *(BIN / "mlscaffold", "new", project, "--defaults"),
        *("--data-uri", "large.csv", "--target", "left"),
        cwd=folder,
    )
    command = project / ".venv/bin/large"

    def rounds() -> None:
        run(command, "data", "infer", cwd=project)
        run(command, "retrain", cwd=project, codes=(0, 10, 20))

    took = seconds(rounds)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    yield Figure("100,000 rows x 30 columns", took / 60, 3.0, f"{took / 60:.2f} minutes")
    yield Figure("  its peak memory", peak, 4.0, f"{peak:.2f} GiB in the largest process")


def scale(folder: Path) -> Iterator[Figure]:
    """Ten million rows through `data check`, `data infer` and a round of 200,000: memory, time."""
    project, maker = folder / "scale", ROOT / "benchmarks/large_table.py"
    run(*(BIN / "mlscaffold", "new", project, "--defaults"), cwd=folder)
    python, command = project / ".venv/bin/python", project / ".venv/bin/scale"
    run(python, maker, "50000", "few.parquet", cwd=project)
    names = {"uri": "few.parquet", "target": "left", "time": "seen", "key": ["id"]}
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["data"] |= names
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    run(command, "data", "infer", cwd=project)
    run(python, maker, "10000000", "many.csv", "many.parquet", cwd=project)
    params["data"] |= {"uri": "many.parquet", "max_rows": 200_000}
    for name, *words in (
        ("check, Parquet", "data", "check", "many.parquet"),
        ("check, CSV", "data", "check", "many.csv"),
        ("infer", "data", "infer"),
        ("a round", "retrain"),
    ):
        started = time.perf_counter()
        with subprocess.Popen([command, *words], cwd=project) as program:
            status, usage = os.wait4(program.pid, 0)[1:]
            program.returncode = os.waitstatus_to_exitcode(status)
        if program.returncode not in (0, 10, 20):
            sys.exit(f"{' '.join(words)}: exit code {program.returncode}")
        took, peak = time.perf_counter() - started, usage.ru_maxrss / 2**20
        yield Figure(f"10,000,000 rows, {name}", peak, 2.0, f"GiB at its peak, {took:.0f} s")
        path.write_text(yaml.safe_dump(params), encoding="utf-8")


def self_test(folder: Path) -> Iterator[Figure]:
    """The share of equal models that the gate would promote, over 200 repetitions."""
    project = folder / "selftest"
    run(BIN / "mlscaffold", "new", project, "--defaults", "--run", cwd=folder)
    answer = run(
        *(project / ".venv/bin/selftest", "gate", "--self-test", "--format", "json"),
        cwd=project,
        codes=(0, 1),
    )
    found = json.loads(answer)
    rate = found["false_promotion_rate"]
    yield Figure("false promotions", rate, 0.05, f"{rate:.1%} of {found['repetitions']}")


SUITES = {
    "tool": tool,
    "update": update,
    "status": status,
    "loop": loop,
    "large": large,
    "scale": scale,
    "self-test": self_test,
    "serve": serve,
}


def main() -> None:
    chosen = sys.argv[1:] or list(SUITES)
    if unknown := [name for name in chosen if name not in SUITES]:
        sys.exit(f"There is no suite {unknown[0]!r}; there are {', '.join(SUITES)}.")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLSCAFFOLD_HOME"] = str(Path(folder) / "home")
        for name in chosen:
            for figure in SUITES[name](Path(folder)):
                missed += not figure.is_met
                mark = "met   " if figure.is_met else "MISSED"
                print(
                    f"{mark} {figure.name:28} {figure.value:6.2f} of at most {figure.limit:<5}"
                    f" {figure.reading}",
                    flush=True,
                )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
