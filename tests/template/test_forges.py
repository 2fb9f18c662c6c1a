"""CI of each forge: the chosen one's alone, valid, pinned, made of commands for a laptop too."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from generated import Render
from pipelines import FILES, nodes, pipelines, steps

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CONSUMPTIONS = ["batch", "online", "both"]
SCHEMAS = {
    "github": ["vendor.github-workflows"],
    "gitlab": ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    # Microsoft's schema has patterns that the usual dialect does not take.
    "azure": [
        *("vendor.azure-pipelines", "--data-transform", "azure-pipelines"),
        *("--regex-variant", "nonunicode"),
    ],
}
# What a step may run beside the project's own commands.
RUN = r"uv run --locked demo (?P<command>[a-z]+)(?P<rest>( --?[a-z]+| [a-z.]+| \"\$\w+\")*)"
STEPS = [
    RUN,
    rf"changed=\$\({RUN}\) && echo \S+ >> \"\$GITHUB_OUTPUT\"",
    rf"changed=\$\({RUN}\) && echo \S+ variable=environments;isOutput=true\]\$changed\"",
    r"uv sync --locked",
    r"uv run --locked pre-commit run --all-files --show-diff-on-failure",
    r"uv export --quiet --locked (--no-emit-project --all-groups|"
    r"--no-default-groups --format cyclonedx1\.5) -o [\w/.]+",
    r"uv tool run pip-audit@[\d.]+ --strict --require-hashes --disable-pip "
    r"-r build/requirements\.txt",
    r"uv run --locked pytest --cov",
    r"uvx --from git\+https://github\.com/mlscaffold/mlscaffold mlscaffold status",
    r"pip install uv==[\d.]+",
    r"apt-get update --quiet",
    r"apt-get install --quiet --yes --no-install-recommends buildah kubernetes-client",
    r"(docker|buildah) login --username \S+ --password-stdin "
    r"\"\$\{IMAGE%%/\*\}\" <<< \"\$REGISTRY_PASSWORD\"",
    r"install -m 600 /dev/stdin \"\$KUBECONFIG\" <<< \"\$CLUSTER\"",
    r"echo \"##vso\[task.uploadsummary\]\$\(Build.SourcesDirectory\)/verdict.md\"",
]


@pytest.fixture(params=[(forge, consumption) for forge in FILES for consumption in CONSUMPTIONS])
def answers(request: pytest.FixtureRequest) -> dict[str, str]:
    forge, consumption = request.param
    return {"project_name": "demo", "forge": forge, "consumption": consumption}


@pytest.fixture
def project(render: Render, answers: dict[str, str]) -> Path:
    return render(answers)


@pytest.fixture
def forge(answers: dict[str, str]) -> str:
    return answers["forge"]


def commands(project: Path) -> dict[str, set[str]]:
    """The names of the project's commands, each with its options, read from the code."""
    tree = ast.parse((project / "src/demo/cli.py").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    for node in tree.body:
        for decorator in getattr(node, "decorator_list", []):
            if ast.unparse(decorator).startswith(("main.command", "main.group")):
                arguments = getattr(decorator, "args", [])
                name = arguments[0].value if arguments else node.name  # type: ignore[attr-defined]
                text = " ".join(map(ast.unparse, node.decorator_list))  # type: ignore[attr-defined]
                found[name] = set(re.findall(r"'(--[a-z-]+)", text))
    return found


def test_only_the_chosen_forge_is_there(project: Path, forge: str) -> None:
    every = {name for names in FILES.values() for name in names}
    assert {name for name in every if (project / name).exists()} == set(FILES[forge])
    folders = {".github", ".gitlab", ".azure"} & {path.name for path in project.iterdir()}
    there = [path for folder in folders for path in (project / folder).rglob("*") if path.is_file()]
    assert {path.relative_to(project).as_posix() for path in there} <= set(FILES[forge])


def test_pipelines_keep_the_schema(project: Path, forge: str) -> None:
    check = [BIN / "check-jsonschema", "--builtin-schema", *SCHEMAS[forge]]
    paths = [project / name for name in FILES[forge]]
    done = subprocess.run([*check, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("consumption", CONSUMPTIONS)
def test_workflows_are_secure(render: Render, consumption: str) -> None:
    project = render({"project_name": "demo", "forge": "github", "consumption": consumption})
    command = [BIN / "zizmor", "--offline", "--persona", "pedantic", "--no-progress", project]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_step_is_one_command_that_also_runs_on_a_laptop(project: Path, forge: str) -> None:
    known, named = commands(project), set()
    for line in steps(pipelines(project, forge)):
        match = next(filter(None, (re.fullmatch(pattern, line) for pattern in STEPS)), None)
        assert match, line
        if command := match.groupdict().get("command"):
            named.add(command)
            options = set(re.findall(r"--[a-z]+", match["rest"]))
            assert options <= known[command], line
    assert named == {"restore", "train", "retrain", "monitor", "deploy", "overdue"}


def test_a_step_of_another_kind_is_noticed() -> None:
    for line in ("uv run --locked demo restore && rm -rf /", "curl x | sh", "if true; then x; fi"):
        assert not any(re.fullmatch(pattern, line) for pattern in STEPS), line


def test_the_dead_man_switch_is_seen_by_pushes_requests_and_schedules(render: Render) -> None:
    github = render({"project_name": "demo", "forge": "github"})
    for name in ("ci", "template"):
        [workflow] = [
            pipelines(github, "github")[FILES["github"].index(f".github/workflows/{name}.yml")]
        ]
        assert list(steps(workflow["jobs"]["overdue"]))[-1] == "uv run --locked demo overdue"
    [main, scheduled] = pipelines(render({"project_name": "demo", "forge": "gitlab"}), "gitlab")
    assert "rules" not in main["overdue"], "it runs in every pipeline"
    assert main["include"] == [{"local": "/.gitlab/retrain.yml"}]
    assert scheduled["retrain"]["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "schedule"'}]
    azure = pipelines(render({"project_name": "demo", "forge": "azure"}), "azure")
    for pipeline in (azure[0], azure[2]):
        assert "uv run --locked demo overdue" in list(steps(pipeline))


def test_actions_are_pinned_by_one_commit_everywhere(render: Render) -> None:
    demo, pinned = render({"project_name": "demo"}), {}
    for path in (*(demo / ".github/workflows").iterdir(), *(ROOT / ".github/workflows").iterdir()):
        for action, at in re.findall(r"uses: (\S+)@(.+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", at), (path, action)
            pinned.setdefault(action, set()).add(at)
    assert pinned
    assert all(len(commits) == 1 for commits in pinned.values()), pinned


def test_one_uv_stands_everywhere(project: Path, forge: str) -> None:
    """What CI runs in is pinned, and it is the uv that the image is built with."""
    dockerfile = (project / "deployment/Dockerfile").read_text(encoding="utf-8")
    [version] = re.findall(r"astral-sh/uv:([\d.]+)", dockerfile)
    text = "".join((project / name).read_text(encoding="utf-8") for name in FILES[forge])
    named = re.findall(r"astral-sh/uv:([\d.]+)-python3.11-|uv==([\d.]+)| version: ([\d.]+)", text)
    assert {"".join(pin) for pin in named} == {version}
    assert forge != "github" or len(named) == text.count("setup-uv@")
    assert ":latest" not in text


def test_only_the_retraining_may_write(render: Render) -> None:
    """The template check may not push either: a workflow's token cannot write workflows."""
    for workflow in pipelines(render({"project_name": "demo"}), "github"):
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            may = {"contents": "read"}
            if workflow["name"] == "retrain":
                may = {"contents": "write", "pull-requests": "write"}
            assert job["permissions"] == may


def test_a_round_in_ci_can_sign_its_champion(project: Path, forge: str) -> None:
    """GitLab's jobs have every variable; elsewhere a secret is handed to a step by name."""
    given = [step["env"] for step in nodes(pipelines(project, forge)) if is_round(step)]
    assert forge == "gitlab" or ["CHAMPION_KEY" in variables for variables in given] == [True]


def is_round(step: Any) -> bool:
    return "retrain --pr" in str(step.get("run", step.get("script"))) and "env" in step


def test_secrets_are_named_and_never_written(project: Path, forge: str) -> None:
    """A secret reaches a step through its environment, not through the text of its command."""
    for line in steps(pipelines(project, forge)):
        assert "secrets." not in line
        assert "PASSWORD)" not in line
        assert "TOKEN)" not in line
