"""CI of each forge: the chosen one's alone, valid, pinned, made of commands for a laptop too."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from generated import Render
from pathspec import GitIgnoreSpec
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
    r"uvx --from git\+https://github\.com/mlscaffold/mlscaffold(@[0-9a-f]{40})? mlscaffold status",
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


def test_gitlab_shows_in_orange_that_it_had_no_model(render: Render) -> None:
    """By the exit code that restore has then, and by no other: a test that fails is red."""
    project = render({"project_name": "demo", "forge": "gitlab"})
    job = pipelines(project, "gitlab")[0]["ci"]
    cli = (project / "src/demo/cli.py").read_text(encoding="utf-8")
    code = re.search(r"^WITHOUT_A_MODEL = (\d+)", cli, re.MULTILINE)
    assert code
    assert job["allow_failure"] == {"exit_codes": int(code[1])}
    assert job["script"][-1] == "uv run --locked demo restore --strict"


@pytest.mark.parametrize("forge", FILES)
def test_renovate_leaves_alone_what_the_template_pins(render: Render, forge: str) -> None:
    project = render({"project_name": "demo", "forge": forge})
    left = json.loads((project / "renovate.json").read_text(encoding="utf-8"))["ignorePaths"]
    managed = tomllib.loads((project / ".mlscaffold.toml").read_text("utf-8"))["ownership"]
    patterns = {f"/{path.removesuffix('**')}" for path in left}
    assert patterns <= set(managed["managed"])
    pinned = [*FILES[forge], "deployment/Dockerfile", ".devcontainer/devcontainer.json"]
    assert all(GitIgnoreSpec.from_lines(patterns).match_file(path) for path in pinned)


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
    rule = '$CI_PIPELINE_SOURCE == "schedule" && $CI_COMMIT_BRANCH == "main"'
    assert scheduled["retrain"]["rules"] == [{"if": rule}]
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


def is_job(node: Any) -> bool:
    return isinstance(node, dict) and "script" in node


# The keys of the loop: who has them opens requests in its name, and signs champions.
KEYS = {"CHAMPION_KEY", "RETRAIN_TOKEN"}


def jobs(project: Path, forge: str) -> dict[str, dict[str, Any]]:
    """Every job of a project's CI by its name."""
    found: dict[str, dict[str, Any]] = {}
    for pipeline in pipelines(project, forge):
        if forge == "gitlab":
            found |= {name: job for name, job in pipeline.items() if is_job(job)}
        elif forge == "github":
            found |= {f"{pipeline['name']}.{name}": job for name, job in pipeline["jobs"].items()}
        else:
            named = [node for node in nodes(pipeline) if {"job", "deployment"} & node.keys()]
            found |= {job.get("job") or job["deployment"]: job for job in named}
    return found


def test_only_the_job_of_a_protected_environment_has_the_keys(project: Path, forge: str) -> None:
    """A branch's own workflow would read what the repository hands to everyone."""
    holders = {name for name, job in jobs(project, forge).items() if KEYS & handed_on(job)}
    if forge == "gitlab":  # its jobs name no variable: scope and protection say who has one
        assert jobs(project, forge)["retrain"]["environment"] == {
            "name": "retrain",
            "action": "prepare",
        }
        assert holders == set()
    elif forge == "github":
        assert holders == {"retrain.retrain"}
        assert jobs(project, forge)["retrain.retrain"]["environment"] == "retrain"
    else:
        assert holders == {"retrain"}
        job = jobs(project, forge)["retrain"]
        assert (job["environment"], job["variables"]) == ("retrain", [{"group": "retrain"}])


def test_the_head_of_a_file_says_what_protects_its_keys(project: Path, forge: str) -> None:
    words = {
        "github": ["deployment branches = main; put the secrets THERE, not in the repository"],
        "gitlab": ["RETRAIN_TOKEN", "CHAMPION_KEY", "PROTECTED", "Protected branches"],
        "azure": ["variable group `retrain`", "Branch control, allowed branches refs/heads/main"],
    }
    file = {"github": ".github/workflows/retrain.yml", "gitlab": ".gitlab/retrain.yml"}
    text = (project / file.get(forge, ".azure/retrain.yml")).read_text(encoding="utf-8")
    head = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    assert all(word in head for word in words[forge]), head


def handed_on(node: Any) -> set[str]:
    """The variables that the steps of a job are handed by name."""
    return {name for step in nodes([node]) for name in step.get("env") or ()}


CLOUDS = {
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"),
    *("AWS_ENDPOINT_URL", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_CONNECTION_STRING"),
    *("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
    *("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"),
}
# What a step needs beside them.
MORE = {"retrain": {*KEYS, "SYSTEM_ACCESSTOKEN"}, "monitor": {"SERVED_DIR"}}
READING = {"restore", "train", "retrain", "monitor"}
ADDRESS = "postgresql://me:${DB_PASSWORD}@host/shop?key=${TOKEN}&again=${TOKEN}#t"


@pytest.mark.parametrize("forge", ["github", "azure"])
@pytest.mark.parametrize(("address", "names"), [("", set()), (ADDRESS, {"DB_PASSWORD", "TOKEN"})])
def test_a_step_that_reads_data_is_handed_what_it_may_need_and_no_other_is(
    render: Render, forge: str, address: str, names: set[str]
) -> None:
    own = {"data_uri": address, "target": "y"} if address else {}
    project = render({"project_name": "demo", "forge": forge, **own})
    reading = set()
    for step in (step for job in jobs(project, forge).values() for step in nodes([job])):
        line = str(step.get("run", step.get("script", "")))
        found = re.match(RUN, line)
        if found and found["command"] in READING:
            reading.add(found["command"])
            more = MORE.get(found["command"], set())
            assert step["env"].keys() - more == CLOUDS | names, line
        elif line and "steps" not in step:
            assert not (CLOUDS | names) & (step.get("env") or {}).keys(), line
    assert reading == READING
    text = "".join((project / name).read_text(encoding="utf-8") for name in FILES[forge])
    assert not re.search(r"toJSON\(secrets|secrets: *inherit", text)
    form = r"DB_PASSWORD: \$\{\{ secrets.DB_PASSWORD \|\| vars.DB_PASSWORD \}\}"
    form = form if forge == "github" else r"DB_PASSWORD: \$\(DB_PASSWORD\)"
    assert bool(re.search(form, text)) is bool(names)


def test_gitlab_names_what_a_merge_request_may_have(render: Render) -> None:
    """Its jobs have every variable of their branch: what is protected is not in a merge request."""
    answers = {"project_name": "demo", "forge": "gitlab", "data_uri": ADDRESS, "target": "y"}
    text = (render(answers) / ".gitlab-ci.yml").read_text(encoding="utf-8")
    head = text.partition("include:")[0]
    unprotected, protected = head.partition("# PROTECTED")[::2]
    assert "UNPROTECTED" in unprotected
    assert "AWS_ACCESS_KEY_ID" in unprotected
    for name in (*KEYS, "KUBECONFIG", "REGISTRY_PASSWORD", "DB_PASSWORD", "TOKEN"):
        assert re.search(rf"\b{name}\b", protected), name
        assert not re.search(rf"\b{name}\b", unprotected), name


@pytest.mark.parametrize("forge", FILES)
def test_a_name_that_is_not_the_datas_alone_is_handed_on_once_or_not_at_all(
    render: Render, forge: str
) -> None:
    """A runner's own variable would be empty then, and a key would reach a job without a guard."""
    reserved = ["HOME", "PATH", "USER", "GITHUB_SHA", "RUNNER_OS", "KUBECONFIG", *sorted(KEYS)]
    names = [*reserved, "SERVED_DIR", "GITHUB_TOKEN", "AWS_ACCESS_KEY_ID", "ÄRGER", "a b"]
    address = "https://host/" + "/".join(f"${{{name}}}" for name in names) + "/t.csv"
    project = render({"project_name": "demo", "forge": forge, "data_uri": address, "target": "y"})
    for path in (project / name for name in FILES[forge]):
        yaml.load(path.read_text(encoding="utf-8"), Loader=NoTwins)
    if forge != "gitlab":
        [step] = [step for step in nodes(pipelines(project, forge)) if is_reading_round(step)]
        assert step["env"].keys() - {*KEYS, "SYSTEM_ACCESSTOKEN"} == {
            *(CLOUDS | {"SERVED_DIR", "GITHUB_TOKEN"})
        }


class NoTwins(yaml.SafeLoader):
    """Refuses a mapping in which a key stands twice, as forges do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        return super().construct_mapping(node, deep)


def is_reading_round(step: dict[str, Any]) -> bool:
    return "retrain --pr" in str(step.get("run", step.get("script", ""))) and "steps" not in step


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
