"""Templates and repositories that are made to run something, or to read what is not theirs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from projects import edit, project
from projects import template as releases
from repositories import TEMPLATE, commit, git, tree, write

from mlscaffold.cli import cli

Make = Callable[..., Path]
# Names for git's own folder, each of which git refuses on one system or another.
GIT_FOLDERS = (
    *(".git", ".GIT", ".git.", ".git ", "git~1", "a/.git", ".git\\hooks"),
    *(".g\u200cit", ".git::$INDEX_ALLOCATION", ".git:x"),
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def is_one_line(result: Result, *words: str) -> bool:
    """Whether a command refused its input in one line that holds the words."""
    lines = result.stderr.strip().splitlines()
    return result.exit_code == 2 and len(lines) == 1 and all(word in lines[0] for word in words)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """The file that a program leaves behind which should not have run."""
    return tmp_path / "RAN"


@pytest.fixture
def program(tmp_path: Path, ran: Path) -> Path:
    """A program that leaves a trace, whatever it is called for."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\necho \"$0 $*\" >>'{ran}'\ncat 2>/dev/null\n")
    path.chmod(0o755)
    return path


def hooks(folder: Path, program: Path) -> Path:
    """A folder of hooks, each of which is the program."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (
        *("pre-commit", "commit-msg", "post-commit", "post-checkout", "post-index-change"),
        *("prepare-commit-msg", "reference-transaction", "post-merge", "pre-auto-gc"),
    ):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(program)
    return folder


def rendering_into(name: str) -> dict[str, str]:
    """A template that renders hooks into a folder whose name is an answer."""
    return {
        "copier.yml": f'_exclude: ["~*"]\n_subdirectory: t\nname: {{default: demo}}\n'
        f"d: {{type: str, default: '{name}'}}\n",
        "t/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_nice_yaml -}}\n",
        "t/{{ d }}/hooks/post-index-change": "#!/bin/sh\n",
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, ()) for name in GIT_FOLDERS), (".GIT", ("--dry-run",)), (".git", ("--no-git",))],
)
def test_new_refuses_what_git_takes_for_its_folder(
    repository: Make, folder: Path, name: str, options: Sequence[str]
) -> None:
    if "/" in name:
        files = rendering_into(name.rpartition("/")[2])
        files = {path.replace("t/{{ d }}", "t/a/{{ d }}"): text for path, text in files.items()}
    else:
        files = rendering_into(name)
    source = repository(files)
    done = run("new", "p", "--template", source, "--defaults", "--no-env", *options)
    assert is_one_line(done, ascii(name)[1:-1], str(source)), done.output
    assert not list(folder.iterdir())


def test_new_takes_what_only_resembles_gits_folder(repository: Make, folder: Path) -> None:
    source = repository(rendering_into(".github"))
    assert run("new", "p", "--template", source, "--defaults", "--no-env").exit_code == 0
    assert (folder / "p/.github/hooks/post-index-change").exists()


def test_a_template_without_subfolder_does_not_render_its_own_git_folder(
    repository: Make, folder: Path
) -> None:
    """Copier does, when _exclude leaves out the default that names it."""
    source = repository({**TEMPLATE, "copier.yml": '_exclude: ["~*"]\n' + TEMPLATE["copier.yml"]})
    assert run("new", "p", "--template", source, "--defaults", "--no-env").exit_code == 0
    assert git(folder / "p", "rev-list", "--count", "HEAD") == "1"


@pytest.mark.parametrize("command", ["update", "status", "diff"])
@pytest.mark.parametrize("name", [".GIT", "git~1", ".git.", ".g\u200cit"])
def test_a_project_gets_nothing_that_git_takes_for_its_folder(
    tmp_path: Path, command: str, name: str
) -> None:
    states = [{"a": "1\n"}, {f"{{{{ '{name}' }}}}/x": ""}]
    if command == "diff":  # which looks at the recorded version
        states.reverse()
    source = releases(tmp_path / "t", {"copier.yml": "", **states[0]}, states[1])
    root = project(source, tmp_path / "p") if command != "diff" else tmp_path / "p"
    if command == "diff":
        commit(root, {".copier-answers.yml": f"_src_path: {source}\n_commit: v1\n"})
    done = run(command, root)
    if command == "status":
        assert ascii(name)[1:-1] in done.output
        assert "Traceback" not in done.output
    else:
        assert is_one_line(done, ascii(name)[1:-1]), done.output
    assert git(root, "status", "--porcelain") == ""


def test_settings_of_submodules_are_no_link(repository: Make) -> None:
    source = repository()
    (source / "copier.yml").write_text("_preserve_symlinks: true\n")
    (source / "sub").mkdir()
    (source / "sub/{{ '.gitmodules' }}").symlink_to("../hello.txt")
    commit(source, {}, tag="v2.0.0")
    done = run("new", "p", "--template", source, "--defaults", "--no-env")
    assert is_one_line(done, "sub/.gitmodules"), done.output


def hostile_settings(repository: Path, program: Path) -> None:
    """Everything in a repository's own settings that names a program."""
    hooks(repository / ".git/hooks", program)
    for key in (
        *("core.fsmonitor", "core.sshCommand", "core.gitProxy", "core.askPass", "core.editor"),
        *("core.pager", "core.alternateRefsCommand", "credential.helper", "diff.external"),
        *("uploadpack.packObjectsHook", "filter.x.clean", "filter.x.smudge", "filter.x.process"),
        *("filter.a=b.clean", "diff.x.textconv", "diff.x.command", "gpg.program", "pager.status"),
    ):
        git(repository, "config", key, str(program))
    git(repository, "config", "filter.x.required", "true")


def test_a_folder_given_as_template_runs_nothing(
    repository: Make, folder: Path, program: Path, ran: Path
) -> None:
    source = repository({**TEMPLATE, ".gitattributes": "* filter=x diff=x\n*.txt filter=a=b\n"})
    hostile_settings(source, program)
    write(source, {"hello.txt.jinja": "changed\n", "copier.yml": TEMPLATE["copier.yml"] + "\n"})
    done = run("new", "p", "--template", source, "--defaults", "--no-env")
    assert done.exit_code == 0, done.output
    assert "not committed" in done.stderr
    assert not ran.exists(), ran.read_text()
    assert (folder / "p/hello.txt").read_text() == "hello demo, red\n"


def test_filters_of_the_user_do_not_see_the_template(
    repository: Make, program: Path, ran: Path
) -> None:
    source = repository({**TEMPLATE, ".gitattributes": "*.jinja filter=mine\n"})
    for command in ("clean", "smudge", "process"):
        git(source, "config", "--global", f"filter.mine.{command}", str(program))
    git(source, "config", "--global", "filter.mine.required", "true")
    done = run("new", "p", "--template", source, "--defaults", "--no-env", "--no-git")
    assert done.exit_code == 0, done.output
    assert not ran.exists(), ran.read_text()


def test_filters_of_the_user_work_in_the_new_project(repository: Make, folder: Path) -> None:
    source = repository({**TEMPLATE, "{{ '.gitattributes' }}": "hello.txt filter=shout\n"})
    git(source, "config", "--global", "filter.shout.clean", "tr a-z A-Z")
    assert run("new", "p", "--template", source, "--defaults", "--no-env").exit_code == 0
    assert git(folder / "p", "show", "HEAD:hello.txt") == "HELLO DEMO, RED"


def test_no_hook_of_the_user_runs_in_new(
    repository: Make, folder: Path, program: Path, ran: Path, tmp_path: Path
) -> None:
    source = repository()
    hooks(tmp_path / "git-template/hooks", program)
    git(source, "config", "--global", "core.hooksPath", str(tmp_path / "git-template/hooks"))
    git(source, "config", "--global", "init.templateDir", str(tmp_path / "git-template"))
    git(source, "config", "--global", "core.fsmonitor", str(program))
    assert run("new", "p", "--template", source, "--defaults", "--no-env").exit_code == 0
    assert not ran.exists(), ran.read_text()
    assert not list((folder / "p/.git").glob("hooks/*"))


def test_a_submodule_of_a_template_runs_nothing(
    repository: Make, folder: Path, program: Path, ran: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part"
    commit(part, {"part.txt": "part\n", ".gitattributes": "* filter=mine\n"})
    source = repository()
    git(source, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(part), "part")
    git(source, "config", "-f", ".gitmodules", "submodule.part.update", "checkout")
    commit(source, {}, tag="v2.0.0")
    hooks(tmp_path / "hooks", program)
    git(source, "config", "--global", "core.hooksPath", str(tmp_path / "hooks"))
    git(source, "config", "--global", "filter.mine.smudge", str(program))
    done = run("new", "p", "--template", source, "--defaults", "--no-env")
    assert done.exit_code == 0, done.output
    assert tree(folder / "p")["part/part.txt"] == b"part\n"
    assert not ran.exists(), ran.read_text()


def test_a_submodule_may_not_name_a_command(repository: Make, ran: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    commit(part, {"part.txt": "part\n"})
    source = repository()
    git(source, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(part), "part")
    git(source, "config", "-f", ".gitmodules", "submodule.part.update", f"!touch {ran}")
    commit(source, {}, tag="v2.0.0")
    done = run("new", "p", "--template", source, "--defaults", "--no-env")
    assert is_one_line(done), done.output
    assert not ran.exists()


@pytest.mark.parametrize("command", ["status", "diff", "update"])
def test_a_bare_repository_within_a_clone_runs_nothing(
    tmp_path: Path, program: Path, ran: Path, command: str
) -> None:
    """git itself would take it for the repository, with the settings that a stranger gave it."""
    source = releases(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, {"a": "2\n"})
    clone = tmp_path / "clone"
    root = project(source, clone / "p")
    git(clone, "init", "-q", "--bare", "bare")
    for name in ("HEAD", "objects", "refs", "config"):
        (clone / "bare" / name).rename(root / name)
    (root / ".git").rename(tmp_path / "kept") if (root / ".git").exists() else None
    git(clone, "config", "-f", str(root / "config"), "core.bare", "false")
    git(clone, "config", "-f", str(root / "config"), "core.worktree", str(root))
    for key in ("core.fsmonitor", "filter.x.clean", "filter.x.process", "merge.x.driver"):
        git(clone, "config", "-f", str(root / "config"), key, str(program))
    write(root, {".gitattributes": "* filter=x merge=x\n", "a": "mine\n"})
    subprocess.run(["git", "status"], cwd=root, capture_output=True)
    assert ran.exists(), "git no longer runs it by itself: this test shows nothing"
    ran.unlink()
    assert run(command, root).exit_code in (1, 2)
    assert not ran.exists(), ran.read_text()


def test_status_and_diff_run_less_than_git_status(tmp_path: Path, program: Path, ran: Path) -> None:
    source = releases(tmp_path / "t", {"copier.yml": "", "a": "1\n"}, {"a": "2\n"})
    root = project(source, tmp_path / "p")
    edit(root, {"a": "mine\n", ".gitattributes": "* diff=x\n"})
    hooks(root / ".git/hooks", program)
    for key in ("core.fsmonitor", "core.pager", "diff.external", "diff.x.textconv"):
        git(root, "config", key, str(program))
    for key in ("diff.x.command", "core.alternateRefsCommand", "core.sshCommand"):
        git(root, "config", key, str(program))
    (root / "a").touch()
    assert run("status", root).exit_code == 1
    assert run("diff", root).exit_code == 1
    assert not ran.exists(), ran.read_text()
    os.utime(root / "a", (0, 0))
    subprocess.run(["git", "status"], cwd=root, capture_output=True)
    assert ran.exists(), "git status by itself runs nothing: this test shows nothing"
