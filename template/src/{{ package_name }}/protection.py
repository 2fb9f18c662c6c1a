"""Asks the forge who may use the environments that hold the keys of the loop and of the clusters.

The forge is the one whose CI the project has. It is found by the variables of its CI, else by origin's address.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .settings import ProjectError
from .training import forge as forges
from .training.forge import Forge, ForgeError

ENVIRONMENTS = ("retrain", "stage", "prod")
MAIN = "main"
# Which file of a project says whose CI it has.
CI_FILES = {".github/workflows": "GitHub", ".gitlab-ci.yml": "GitLab", "azure-pipelines.yml": "Azure DevOps"}
# Where to click, and what to put there.
STEPS = {
    "GitHub": (
        "Settings, Environments, {name}: deployment branches = main{approval};"
        " put its secrets there, not in the repository"
    ),
    "GitLab": (
        "Settings, CI/CD, Protected environments: {name}{approval}; Variables: those of scope {name} are protected"
    ),
    "Azure DevOps": (
        "Pipelines, Environments, {name}, Approvals and checks: Branch control refs/heads/main{approval};"
        " Pipelines, Library: the same Branch control for {library}"
    ),
}
APPROVALS = {
    "GitHub": ", required reviewers",
    "GitLab": ", allowed to deploy: its approvers",
    "Azure DevOps": ", Approvals",
}
STEPS_FOR_MAIN = {
    "GitHub": "Settings, Rules, Rulesets: require a pull request for main",
    "GitLab": "Settings, Repository, Protected branches: main, allowed to push: no one",
}
ASK = {"GitHub": "GITHUB_TOKEN", "GitLab": "GITLAB_TOKEN", "Azure DevOps": "AZURE_DEVOPS_EXT_PAT"}
# How Azure lists what has a name and checks.
AZURE_LISTS = {
    "environment": "environments?name={name}&api-version=7.1-preview.1",
    "variablegroup": "variablegroups?groupName={name}&api-version=7.1-preview.2",
    "securefile": "securefiles?namePattern={name}&api-version=7.1-preview.1",
}
# What holds the keys there.
LIBRARY_WORDS = {"variablegroup": "variable group", "securefile": "secure file"}
LIBRARY = (
    ("variablegroup", "retrain"),
    ("variablegroup", "deploy"),
    ("securefile", "kubeconfig-stage"),
    ("securefile", "kubeconfig-prod"),
)


@dataclass(frozen=True)
class Protection:
    """Whether something is protected, None where that is unknown; how, or why not; and what to type or click then."""

    what: str
    is_protected: bool | None
    reason: str
    fix: str = ""


@dataclass(frozen=True)
class Guard:
    """What keeps a job out of an environment."""

    only: str | None  # who or what alone may use it; "" for every branch, None where the forge does not say it
    needs_approval: bool = False


def look(root: Path) -> list[Protection]:
    """Ask the forge about main and each environment; one line that says "unknown" where it cannot be asked."""
    name = forge_name(root)
    if not name:
        return []
    forge = locate(root, name)
    if not forge or not forge.token:
        reason = f"set {ASK[name]} to ask {name}" if forge else f"origin is no address of {name}"
        return [Protection(f"the environments {', '.join(ENVIRONMENTS)} are protected", None, reason)]
    found = [_main(forge)] if name in STEPS_FOR_MAIN else []
    found += [_environment(forge, environment) for environment in ENVIRONMENTS]
    return found + [_library(forge, *item) for item in LIBRARY if name == "Azure DevOps"]


def advice(root: Path, environment: str) -> str:
    """Say how to protect an environment before its first deployment; "" where the forge says that it is protected."""
    name = forge_name(root)
    if not name:
        return ""
    forge = locate(root, name)
    if forge and forge.token and _environment(forge, environment).is_protected:
        return ""
    return f"Protect {environment} before its first deployment: {steps(name, environment)}."


def steps(name: str, environment: str) -> str:
    """Say what to click to protect an environment."""
    approval = "" if environment == "retrain" else APPROVALS[name]
    deploying = f"the variable group deploy and the secure file kubeconfig-{environment}"
    library = "the variable group retrain" if environment == "retrain" else deploying
    return STEPS[name].format(name=environment, approval=approval, library=library)


def forge_name(root: Path) -> str:
    """Return the forge whose CI the project has, "" without one."""
    return next((name for file, name in CI_FILES.items() if (root / file).exists()), "")


def locate(root: Path, name: str) -> Forge | None:
    """Return the forge with the repository's address in its API, and a token if there is one; None when it is unknown."""
    done = subprocess.run(
        ["git", "config", "--get", "remote.origin.url"], cwd=root, capture_output=True, text=True, check=False
    )
    return forges.find(name, done.stdout.strip())


def _main(forge: Forge) -> Protection:
    """Whether somebody may push to main: who may, reaches what only main may use."""
    ask = {"GitHub": _is_main_guarded_on_github, "GitLab": _is_main_guarded_on_gitlab}[forge.name]
    what = "main is protected"
    try:
        is_guarded = ask(forge)
    except ProjectError as error:
        return Protection(what, None, error.message)
    reason = "" if is_guarded else "whoever may push, may push to it"
    return Protection(what, is_guarded, reason, STEPS_FOR_MAIN[forge.name])


def _environment(forge: Forge, name: str) -> Protection:
    what, fix = f"the environment {name} is protected", steps(forge.name, name)
    try:
        guard = GUARDS[forge.name](forge, name)
    except ProjectError as error:
        return Protection(what, None, error.message, fix)
    if guard is None:
        return Protection(what, False, "it is not there yet, and the first run would make it without protection", fix)
    # An approval protects what people deploy; the daily round has nobody who gives one.
    if guard.only or (guard.needs_approval and name != "retrain"):
        approval = "somebody has to agree" if guard.needs_approval else "nobody has to agree"
        return Protection(what, True, f"{guard.only or 'every branch'} may use it, {approval}")
    if guard.only is None:
        return Protection(what, None, f"{forge.name} does not say which branches may use it", fix)
    return Protection(what, False, "every branch may use it", fix)


def _is_main_guarded_on_github(forge: Forge) -> bool:
    if forges.ask(forge, f"/branches/{MAIN}").get("protected"):
        return True
    return any(rule.get("type") == "pull_request" for rule in forges.ask(forge, f"/rules/branches/{MAIN}"))


def _is_main_guarded_on_gitlab(forge: Forge) -> bool:
    """Developers push branches, so main is guarded where they may not push to it."""
    developers = 30
    branches = forges.ask(forge, "/protected_branches?per_page=100")
    fitting = [branch for branch in branches if fnmatchcase(MAIN, branch["name"])]
    levels = [level.get("access_level") for branch in fitting for level in branch.get("push_access_levels", [])]
    return bool(fitting) and developers not in levels


def _github(forge: Forge, name: str) -> Guard | None:
    try:
        found = forges.ask(forge, f"/environments/{name}")
    except ForgeError as error:
        if error.status != 404:
            raise
        forges.ask(forge, "")  # who may not see the repository is told 404, too
        return None
    policy = found.get("deployment_branch_policy") or {}
    needs_approval = any(rule.get("type") == "required_reviewers" for rule in found.get("protection_rules") or [])
    if not policy.get("custom_branch_policies"):
        return Guard("protected branches alone" if policy.get("protected_branches") else "", needs_approval)
    try:
        listed = forges.ask(forge, f"/environments/{name}/deployment-branch-policies?per_page=100")
    except ProjectError:
        return Guard(None, needs_approval)
    names = {(item.get("type") or "branch", item["name"]) for item in listed["branch_policies"]}
    return Guard("main alone" if names == {("branch", MAIN)} else "", needs_approval)


def _gitlab(forge: Forge, name: str) -> Guard | None:
    """GitLab says who may use an environment; which branches may have its variables, the variables say themselves."""
    for item in forges.ask(forge, "/protected_environments?per_page=100"):
        if item["name"] == name:
            approvals = item.get("required_approval_count") or item.get("approval_rules")
            return Guard("who may deploy", needs_approval=bool(approvals))
    return Guard("")


def _azure(forge: Forge, name: str) -> Guard | None:
    return _azure_guard(forge, "environment", name)


def _azure_guard(forge: Forge, kind: str, name: str) -> Guard | None:
    """The checks that a run has to pass before it gets something of Azure's."""
    listed = forges.ask(forge, f"/distributedtask/{AZURE_LISTS[kind].format(name=name)}")["value"]
    number = next((item["id"] for item in listed if item["name"] == name), None)  # a filter may find more
    if number is None:
        return None
    query = f"resourceType={kind}&resourceId={number}&$expand=settings&api-version=7.1-preview.1"
    checks = forges.ask(forge, f"/pipelines/checks/configurations?{query}")["value"]
    return _guard_of_checks([check for check in checks if not check.get("isDisabled")])


def _library(forge: Forge, kind: str, name: str) -> Protection:
    """Whether what holds a key on Azure is protected: a branch's own pipeline need not name any environment."""
    word, what = LIBRARY_WORDS[kind], f"the {LIBRARY_WORDS[kind]} {name} is protected"
    fix = f"Pipelines, Library, {word} {name}, Approvals and checks: Branch control refs/heads/{MAIN}"
    try:
        guard = _azure_guard(forge, kind, name)
    except ProjectError as error:
        return Protection(what, None, error.message, fix)
    if guard is None:
        return Protection(what, None, "it is not there yet", fix)
    is_safe = bool(guard.only or guard.needs_approval)
    return Protection(what, is_safe, "" if is_safe else "every branch may use it", fix)


def _guard_of_checks(checks: list[dict[str, Any]]) -> Guard:
    settings = [check.get("settings") or {} for check in checks]
    controls = [one for one in settings if (one.get("definitionRef") or {}).get("name") == "evaluatebranchProtection"]
    allowed = [(one.get("inputs") or {}).get("allowedBranches", "") for one in controls]
    is_for_main = any(set(text.replace(" ", "").split(",")) == {f"refs/heads/{MAIN}"} for text in allowed)
    needs_approval = any((check.get("type") or {}).get("name") == "Approval" for check in checks)
    return Guard("main alone" if is_for_main else "", needs_approval)


GUARDS: dict[str, Callable[[Forge, str], Guard | None]] = {"GitHub": _github, "GitLab": _gitlab, "Azure DevOps": _azure}
