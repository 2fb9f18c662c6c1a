"""Every pair of answers renders to a project that parses, is linted and agrees with itself."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
Render = Callable[[dict[str, Any]], Path]

SAMPLE: dict[str, Any] = {}
OWN_FILE = {
    "data_uri": "/data/Été 2026/clients & co.csv",
    "target": "Kündigt: \"ja\" oder 'nein' #1",
    "time_column": "Date d'achat",
    "key_columns": ["Kunden Nr.", "Straße"],
}
OWN_SQL = {
    "data_uri": "postgresql://me:${DB_PASSWORD}@host/shop#select * from orders",
    "target": "price",
    "time_column": "",
    "key_columns": [],
}
OWN_SERIES = {
    "data_uri": "sales.parquet",
    "target": "sold",
    "time_column": "day",
    "key_columns": ["shop", "day"],
}
# One row per option; each value is the answers that it stands for.
OPTIONS: list[list[dict[str, Any]]] = [
    [{"project_name": "demo"}, {"project_name": "a2-b_c"}, {"project_name": "x" * 50}],
    [{"consumption": "batch"}, {"consumption": "online"}, {"consumption": "both"}],
    [{"forge": "github"}, {"forge": "gitlab"}, {"forge": "azure"}],
    [SAMPLE, OWN_FILE, OWN_SQL, OWN_SERIES],
    [{"task": "classification"}, {"task": "regression"}, {"task": "forecasting"}],
    [{"license": "MIT"}, {"license": "BSD-3-Clause"}, {"license": "Proprietary"}],
    [{"owner": "@ml-team"}, {"owner": "@acme/data-science"}],
    [{}, {"description": "Sagt voraus, wer geht: 50 % sind's, # {heute}."}],
]
# Modules whose distribution has another name.
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "ruamel": "dvc",
    "dvc_objects": "dvc",
    "mlflow": "mlflow-skinny",
    "prometheus_client": "prometheus-client",
    "distributed": "dask",
}
# Groups that a project installs only where it needs them.
OPTIONAL = ("dask", "ray")
# Declared because a library needs it at run time, though no line of the project imports it.
WITHOUT_IMPORT = {
    "alembic": "MLflow's SQLite store",
    "pyarrow": "pandas, for Parquet",
    "httpx": "FastAPI's test client",
    "types-pyyaml": "mypy",
    "pre-commit": "the hooks",
    "pytest-cov": "pytest --cov",
}


def pairs(row: tuple[int, ...]) -> set[tuple[tuple[int, int], ...]]:
    """The pairs of (option, value) that a row of values holds."""
    return set(itertools.combinations(enumerate(row), 2))


def every_pair() -> Iterator[dict[str, Any]]:
    """Few sets of answers that hold every pair of values, the one with most new pairs first."""
    rows = [*filter(can_be, itertools.product(*(range(len(option)) for option in OPTIONS)))]
    missing = set().union(*map(pairs, rows))
    while missing:
        row = max(rows, key=lambda row: len(pairs(row) & missing))
        missing -= pairs(row)
        yield merged(row)


def merged(row: tuple[int, ...]) -> dict[str, Any]:
    """The answers that a row of values stands for."""
    return {k: v for option, i in zip(OPTIONS, row, strict=True) for k, v in option[i].items()}


def can_be(row: tuple[int, ...]) -> bool:
    """A forecast needs the time in the key."""
    answers = merged(row)
    has_time = answers.get("time_column", "date") in answers.get("key_columns", ["date"])
    return answers["task"] != "forecasting" or has_time


ROWS = list(every_pair())


@pytest.fixture(params=ROWS, ids=[str(number) for number in range(len(ROWS))])
def answers(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


@pytest.fixture
def project(render: Render, answers: dict[str, Any]) -> Path:
    return render(answers)


@pytest.fixture
def demo(render: Render) -> Path:
    return render({"project_name": "demo"})


def files(project: Path) -> list[Path]:
    found = (
        path for path in project.rglob("*") if path.is_file() and ".ruff_cache" not in path.parts
    )
    return sorted(path.relative_to(project) for path in found)


def pyproject(project: Path) -> dict[str, Any]:
    return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))


def ownership(project: Path) -> dict[str, list[str]]:
    text = (project / ".mlscaffold.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["ownership"])


# What is rendered


def test_every_file_parses(project: Path) -> None:
    readers = {
        ".py": ast.parse,
        ".toml": tomllib.loads,
        ".json": json.loads,
        ".yaml": lambda text: list(yaml.safe_load_all(text)),
        ".yml": yaml.safe_load,
    }
    for path in files(project):
        if path.suffix in readers:
            readers[path.suffix]((project / path).read_text(encoding="utf-8"))


def test_no_tag_is_left(project: Path) -> None:
    for path in files(project):
        assert "{{" not in str(path), path
        # Workflows have expressions of their own; HTML templates are read by Jinja at run time.
        if path.suffix not in {".j2", ".parquet"}:
            text = (project / path).read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"(?<!\$)\{\{|\{%|\{#", text), path


def test_a_file_is_a_template_only_if_it_holds_a_tag() -> None:
    for path in (ROOT / "template").rglob("*"):
        if path.is_file() and path.suffix == ".jinja":
            assert re.search(r"\{\{|\{%", path.read_text(encoding="utf-8")), path


def test_text_ends_with_one_newline(project: Path) -> None:
    for path in files(project):
        content = (project / path).read_bytes()
        if content and path.suffix != ".parquet" and "must_fail" not in path.parts:
            assert content.endswith(b"\n"), path
            assert not content.endswith(b"\n\n"), path
            assert b"\r" not in content, path


def test_python_is_linted_and_formatted(project: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [BIN / "ruff", *command, "--no-cache", "."],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_paths_suit_every_system(project: Path) -> None:
    reserved = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
    for path in files(project):
        assert len(path.parts) <= 5, path
        assert len(str(path)) <= 120, path
        for part in path.parts:
            assert not re.search(r'[<>:"\\|?*\x00-\x1f]|[ .]$', part), path
            assert not reserved.fullmatch(part), path


def test_answers_arrive_in_params(project: Path, answers: dict[str, Any]) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    if "data_uri" in answers:
        data = params["data"]
        assert data["uri"] == answers["data_uri"]
        assert data["target"] == answers["target"]
        assert data["time"] == answers["time_column"]
        assert data["key"] == answers["key_columns"]
    assert params["training"]["task"] == answers["task"]
    assert ("max_rows" in params["data"]) is (answers["task"] != "forecasting")


# Facts that stand twice


def test_every_file_is_of_one_kind(demo: Path) -> None:
    kinds = {kind: GitIgnoreSpec.from_lines(lines) for kind, lines in ownership(demo).items()}
    for path in files(demo):
        fits = [kind for kind, spec in kinds.items() if spec.match_file(path.as_posix())]
        assert len(fits) == 1, (path, fits)


def test_updates_skip_exactly_the_seeded_files(demo: Path) -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    skipped = [line.replace("{{ package_name }}", "demo") for line in questions["_skip_if_exists"]]
    assert skipped == ownership(demo)["seeded"]


def test_codeowners_lists_the_same_kinds(demo: Path) -> None:
    listed: dict[str, set[str]] = {}
    kind = ""
    for line in (demo / "CODEOWNERS").read_text(encoding="utf-8").splitlines():
        if heading := re.search(r"^# .*: ?.*\((\w+)\)$|^# \w+ \((\w+)\)$", line):
            kind = heading[1] or heading[2]
        elif line.startswith("/"):
            listed.setdefault(kind, set()).add(line.split()[0])
    kinds = ownership(demo).items()
    assert listed == {k: {line for line in lines if line[0] != "!"} for k, lines in kinds}


def test_codeowners_gives_each_file_to_its_own_kind(demo: Path) -> None:
    """The last line that fits counts: a seeded file in a managed folder must stand below it."""
    lines = (demo / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    patterns = [line.split()[0] for line in lines if line.startswith("/")]
    kinds = {kind: GitIgnoreSpec.from_lines(lines) for kind, lines in ownership(demo).items()}
    for path in files(demo):
        fits = [line for line in patterns if GitIgnoreSpec.from_lines([line]).match_file(str(path))]
        kind = next(kind for kind, spec in kinds.items() if spec.match_file(str(path)))
        assert fits[-1] in ownership(demo)[kind], (path, fits)


def test_roles_own_what_codeowners_gives_them(demo: Path) -> None:
    """Each role of docs/roles.md has a block in CODEOWNERS that holds the paths its row names."""
    blocks, role = {}, ""
    for line in (demo / "CODEOWNERS").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"# ([A-Z][\w ]+)[:(].*", line):
            role = heading[1].strip()
        elif line.startswith("/"):
            blocks.setdefault(role, []).append(line.split()[0])
    rows = re.findall(
        r"^\| ([A-Z][\w ]+) \| (.+?) \|", (demo / "docs/roles.md").read_text("utf-8"), re.MULTILINE
    )
    assert {name for name, _ in rows} == blocks.keys() - {"Everyone"}
    for name, owns in rows:
        for path in re.findall(r"`([\w/.]+/[\w/.]*)`", owns):
            one = path + "module.py" if path.endswith("/") else path
            assert GitIgnoreSpec.from_lines(blocks[name]).match_file(one), (name, path)


def test_one_python_stands_everywhere(demo: Path) -> None:
    project = pyproject(demo)
    oldest = project["project"]["requires-python"].removeprefix(">=")
    workflow = yaml.safe_load((demo / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["test"]["steps"]
    container = json.loads((demo / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    image = re.findall(r"python:(\d+\.\d+)", (demo / "deployment/Dockerfile").read_text("utf-8"))
    versions = [
        project["tool"]["mypy"]["python_version"],
        *(
            step["with"]["python-version"]
            for step in steps
            if "setup-python" in step.get("uses", "")
        ),
        container["image"].removeprefix("python:"),
        *image,
    ]
    assert image
    assert set(versions) == {oldest}


def imports(path: Path) -> Iterator[str]:
    """The top-level names of the packages that a module imports, not those of its own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def used(folder: Path) -> set[str]:
    """The distributions that the Python files of a folder import."""
    names = {name for path in folder.rglob("*.py") for name in imports(path)}
    names -= sys.stdlib_module_names | {"demo", "tests", "conftest"}
    return {DISTRIBUTIONS.get(name, name) for name in names}


def declared(requirements: list[Any]) -> set[str]:
    return {re.split(r"[\[<>=!~ ]", line)[0] for line in requirements if isinstance(line, str)}


def test_dependencies_are_those_that_are_used(demo: Path) -> None:
    project = pyproject(demo)
    groups = project["dependency-groups"]
    serve = declared(project["project"]["dependencies"])
    train, dev = declared(groups["train"]), declared(groups["dev"])
    optional = set().union(*(declared(groups[name]) for name in OPTIONAL))
    package = used(demo / "src") - optional
    assert optional <= used(demo / "src")
    commands = (demo / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert used(demo / "src/demo/serving") <= serve
    assert package <= serve | train
    assert used(demo / "tests") <= serve | train | dev
    assert serve | train <= package | WITHOUT_IMPORT.keys()
    for name in dev - used(demo / "tests") - WITHOUT_IMPORT.keys():
        assert name in commands or name == "pre-commit-hooks", name


def commands(project: Path) -> set[str]:
    """The commands that cli.py defines, by the name that a user types first."""
    names = set()
    for node in ast.parse((project / "src/demo/cli.py").read_text(encoding="utf-8")).body:
        for decorator in getattr(node, "decorator_list", []):
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(call, ast.Attribute) and call.attr in {"command", "group"}:
                first = decorator.args[0] if getattr(decorator, "args", []) else None
                default = node.name.replace("_", "-")  # type: ignore[attr-defined]
                parent = call.value.id  # type: ignore[attr-defined]
                name = first.value if isinstance(first, ast.Constant) else default
                names.add(name if parent in {"click", "main", "cli"} else f"{parent} {name}")
    return names - {"main", "cli"}


@pytest.mark.parametrize("page", ["README.md", "AGENTS.md"])
def test_pages_name_commands_that_exist(demo: Path, page: str) -> None:
    text = (demo / page).read_text(encoding="utf-8")
    named = set(re.findall(r"uv run demo ([a-z]+)", text))
    assert named <= {name.split()[0] for name in commands(demo)}


def test_readme_names_every_command(demo: Path) -> None:
    text = (demo / "README.md").read_text(encoding="utf-8")
    stages = {"data", "fit"}  # what dvc.yaml runs
    for name in {name.split()[0] for name in commands(demo)} - stages:
        assert f"uv run demo {name}" in text, name


def test_a_stage_depends_on_what_makes_its_model(render: Render) -> None:
    """What changes a model's id, and nothing else, makes DVC run the stage that fits it again."""
    demo = render({"project_name": "demo", "task": "forecasting"})
    stage = yaml.safe_load((demo / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]
    tree = ast.parse((demo / "src/demo/training/train.py").read_text(encoding="utf-8"))
    [code] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CODE"
    ]
    names = {node.value for node in ast.walk(code) if isinstance(node, ast.Constant)}
    assert {f"src/demo/{name}" for name in names} == {
        dep for dep in stage["deps"] if dep[:4] == "src/"
    }


def test_sample_data_comes_only_to_those_who_bring_none(render: Render, demo: Path) -> None:
    own = render({"project_name": "demo", "data_uri": "table.csv", "target": "y"})
    assert (demo / "data/sample").is_dir()
    assert not (own / "data/sample").exists()


FORECAST = [
    "src/demo/data/rolling.py",
    "src/demo/forecast.py",
    "src/demo/serving/forecasts.py",
    "tests/gates/test_forecast.py",
]


def test_a_forecast_has_a_few_files_more(render: Render, demo: Path) -> None:
    forecast = render({"project_name": "demo", "task": "forecasting"})
    assert [str(path) for path in sorted({*files(forecast)} ^ {*files(demo)})] == FORECAST


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({**OWN_SERIES, "time_column": ""}, "a forecast needs the column that says when"),
        (
            {**OWN_SERIES, "key_columns": ["shop"]},
            "a forecast needs the columns that name a series",
        ),
    ],
)
def test_a_forecast_needs_a_time(render: Render, answers: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        render({"project_name": "demo", "task": "forecasting", **answers})


def test_every_question_is_used() -> None:
    questions = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    templates = [path for path in (ROOT / "template").rglob("*.jinja") if path.is_file()]
    text = "".join(path.read_text(encoding="utf-8") for path in templates)
    for name, question in questions.items():
        if not name.startswith("_") and question.get("when") is not False:
            assert re.search(rf"\b{name}\b", text), name


# The image


def test_dockerfile_is_linted(project: Path) -> None:
    found = [path for path in files(project) if path.name == "Dockerfile"]
    assert found
    for path in found:
        command = [BIN / "hadolint", "--no-color", project / path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
