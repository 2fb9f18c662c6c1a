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

from mlscaffold import config, environment, process, template
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


# What the programs of a project would run

BUILD = (
    '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\n'
    '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
)


def building(ran: Path) -> dict[str, str]:
    """A template whose projects have a build backend, hooks and a Python of their own."""
    return {
        **TEMPLATE,
        "pyproject.toml": BUILD + '[project.scripts]\np = "p:main"\n',
        "backend.py": f"open({str(ran)!r}, 'a').write('backend')\n",
        ".pre-commit-config.yaml": "repos: []\n",
        ".python-version": "./bin/python\n",
        "bin/python": f"#!/bin/sh\necho python >>{ran}\nexit 1\n",
        ".venv/bin/python": f"#!/bin/sh\necho python of .venv >>{ran}\nexit 1\n",
        ".venv/pyvenv.cfg": "home = /usr/bin\n",
    }


def made_runnable(source: Path) -> Path:
    for name in ("bin/python", ".venv/bin/python"):
        (source / name).chmod(0o755)
    commit(source, {}, tag="v1.1.0")
    return source


def test_new_makes_no_environment_without_trust(repository: Make, folder: Path, ran: Path) -> None:
    source = made_runnable(repository(building(ran)))
    done = run("new", "p", "--template", source, "--defaults")
    assert done.exit_code == 0, done.output
    assert not ran.exists(), ran.read_text()
    assert not (folder / "p/uv.lock").exists()
    assert not (folder / "p/.git/hooks").exists()
    (line,) = (line for line in done.stderr.splitlines() if "No environment" in line)
    assert "cd p && uv sync" in line
    assert str(source) in line
    assert "--trust" in line


def test_new_runs_no_first_round_without_trust(repository: Make, folder: Path, ran: Path) -> None:
    source = repository(building(ran))
    done = run("new", "p", "--template", source, "--defaults", "--run")
    assert is_one_line(done, "--run --trust", str(source)), done.output
    assert not list(folder.iterdir())


@pytest.mark.parametrize("source", ["flag", "config", "Copier"])
def test_new_makes_an_environment_with_trust(
    repository: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: Path, source: str
) -> None:
    template = repository(building(ran))
    asked: list[Path] = []
    monkeypatch.setattr(environment, "synchronise", lambda root: asked.append(root) or NO_PACKAGES)
    monkeypatch.setattr(environment, "install_hooks", lambda _: True)
    trust_in(source, f"{tmp_path}/", tmp_path, monkeypatch)
    flag = ["--trust"] if source == "flag" else []
    assert run("new", "p", "--template", template, "--defaults", *flag).exit_code == 0
    assert [root.name for root in asked] == ["p"]


NO_PACKAGES = environment.Environment("3.12.1", 0)


def trust_in(source: str, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes an address into the trusted ones of our settings, or of Copier's."""
    settings = folder / f"{source}-settings"
    if source == "config":
        settings.write_text(f'trust = ["{address}"]\n')
        monkeypatch.setenv("MLSCAFFOLD_CONFIG", str(settings))
    if source == "Copier":
        settings.write_text(f"trust:\n- {address}\n")
        monkeypatch.setenv("COPIER_SETTINGS_PATH", str(settings))


def locked(tmp_path: Path, ran: Path, *, old: str, new: str) -> Path:
    """A project with a lock, which the next version of its template changes."""
    files = {path: text for path, text in building(ran).items() if path not in TEMPLATE}
    source = releases(
        tmp_path / "t",
        {"copier.yml": "", **files, "pyproject.toml": old},
        {"pyproject.toml": new},
    )
    root = project(source, tmp_path / "p")
    for name in ("bin/python", ".venv/bin/python"):
        (root / name).chmod(0o755)
    lock = 'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n\n'
    edit(
        root,
        {"uv.lock": lock + '[[package]]\nname = "p"\nversion = "0"\nsource = { editable = "." }\n'},
    )
    return root


def test_update_locks_and_builds_nothing(tmp_path: Path, ran: Path) -> None:
    root = locked(tmp_path, ran, old=BUILD, new=BUILD.replace("3.11", "3.10"))
    done = run("update", root)
    assert done.exit_code == 0, done.output
    assert ">=3.10" in (root / "uv.lock").read_text(), done.output
    assert not ran.exists(), ran.read_text()
    assert run("update", root, "--abort").exit_code == 0
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (BUILD.replace('version = "0"', 'dynamic = ["version"]'), "dynamic"),
        (BUILD + '[tool.uv.workspace]\nmembers = ["../*"]\n', "workspace"),
    ],
)
def test_update_says_what_to_type_where_locking_would_build(
    tmp_path: Path, ran: Path, new: str, words: str
) -> None:
    root = locked(tmp_path, ran, old=BUILD, new=new.replace("3.11", "3.10"))
    done = run("update", root)
    assert done.exit_code == 0, done.output
    assert words in done.stderr
    assert done.stderr.rstrip().endswith("Type: uv lock")
    assert not ran.exists(), ran.read_text()


def test_update_gives_no_credential_to_an_index_of_the_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX_INTERNAL_PASSWORD", "secret")
    seen: dict[str, str] = {}

    def fake(command: Sequence[str], *, cwd: Path, env: dict[str, str]) -> process.Finished:
        if command[1] == "lock":
            seen.update(env)
            assert sorted(path.name for path in cwd.iterdir()) == ["pyproject.toml", "uv.lock"]
            assert "--no-build" in command
            assert "--no-python-downloads" in command
        return process.Finished(0, "", "")

    monkeypatch.setattr(process, "run", fake)
    write(tmp_path, {"pyproject.toml": BUILD, "uv.lock": "lock\n", ".python-version": "x\n"})
    environment.lock(tmp_path, may_build=False)
    assert seen
    assert "UV_INDEX_INTERNAL_PASSWORD" not in seen


# What a template would read


@pytest.mark.parametrize("path", ["{home}/id", "../id", "~/id", "x/../../id", ".git/config"])
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_new_reads_no_external_data_of_the_user(
    repository: Make, folder: Path, isolated: Path, path: str, options: Sequence[str]
) -> None:
    for place in (isolated, folder, folder.parent):
        (place / "id").write_text("CANARY")
    source = repository(
        {
            "copier.yml": f"_external_data: {{k: '{path.format(home=isolated)}'}}\n",
            "leak.jinja": "{{ _external_data.k }}",
        }
    )
    done = run("new", "p", "--template", source, "--defaults", "--no-env", *options)
    assert is_one_line(done, "--trust"), done.output
    assert not (folder / "p").exists()


def test_a_trusted_template_reads_external_data(
    repository: Make, folder: Path, isolated: Path
) -> None:
    """This is what Copier's "unsafe" allows besides Jinja extensions."""
    (isolated / "data.yml").write_text("x: 7\n")
    source = repository(
        {
            "copier.yml": f"_external_data: {{k: '{isolated}/data.yml'}}\n",
            "a.jinja": "{{ _external_data.k.x }}",
        }
    )
    done = run("new", "p", "--template", source, "--defaults", "--no-env", "--trust")
    assert done.exit_code == 0, done.output
    assert (folder / "p/a").read_text() == "7"


@pytest.mark.parametrize("text", ["{{ '$CANARY' | expandvars }}", "{{ '/etc/*' | fileglob }}"])
@pytest.mark.parametrize("place", ["file", "question"])
def test_a_template_reads_no_variable_and_no_names_of_files(
    repository: Make, monkeypatch: pytest.MonkeyPatch, text: str, place: str
) -> None:
    monkeypatch.setenv("CANARY", "secret value")
    files = {"a.jinja": text} if place == "file" else {"copier.yml": f'q:\n  default: "{text}"\n'}
    source = repository({**TEMPLATE, **files})
    done = run("new", "p", "--template", source, "--defaults", "--no-env")
    assert is_one_line(done, "--trust"), done.output
    assert "secret value" not in done.output
    done = run("new", "p", "--template", source, "--defaults", "--no-env", "--trust")
    assert done.exit_code == 0, done.output


def leaving(source: Path, target: Path, name: str) -> None:
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).unlink(missing_ok=True)
    (source / name).symlink_to(target)


@pytest.mark.parametrize(
    ("link", "files"),
    [
        ("a.txt", {}),
        ("a.txt.jinja", {}),
        ("folder", {}),
        ("x/inner", {"copier.yml": "_subdirectory: t\n", "t/a.jinja": "{% include 'x/inner' %}"}),
        ("m", {"copier.yml": "_exclude: [m]\n", "a.jinja": "{% import 'm' as m %}{{ m }}"}),
        ("copier.yml", {"a.jinja": "{{ key }}"}),
        ("more.yml", {"copier.yml": "!include more.yml\n", "a.jinja": "{{ key }}"}),
        ("t", {"copier.yml": "_subdirectory: t\n"}),
        ("CHANGELOG.md", {}),
    ],
)
def test_no_link_of_a_template_leads_out_of_it(
    repository: Make, folder: Path, isolated: Path, link: str, files: dict[str, str]
) -> None:
    (isolated / "folder").mkdir()
    for name in ("secret", "folder/secret"):
        (isolated / name).write_text("key:\n  type: str\n  default: CANARY\n")
    source = repository({**TEMPLATE, **files})
    is_folder = link in ("folder", "t")
    leaving(source, isolated / ("folder" if is_folder else "secret"), link)
    commit(source, {}, tag="v2.0.0")
    done = run("new", "p", "--template", source, "--defaults", "--no-env")
    assert is_one_line(done), done.output
    assert not list(folder.iterdir())
    assert "CANARY" not in done.output


@pytest.mark.parametrize(
    "files",
    [
        {"copier.yml": "_subdirectory: ..\n"},
        {"copier.yml": "_subdirectory: /etc\n"},
        {"a.jinja": "{% include '../../../../../../../etc/passwd' %}"},
        {"a.jinja": "{% include '/etc/passwd' %}"},
        {"copier.yml": "!include /etc/passwd\n"},
        {"{{ '/tmp' }}/evil": ""},
        {"{{ '..' }}/evil": ""},
        {"{{ '..' ~ _copier_conf.sep ~ 'evil' }}": ""},
        {"{{ _copier_conf.sep ~ 'tmp' ~ _copier_conf.sep ~ 'evil' }}": ""},
        {"a.jinja": "{{ _copier_conf.dst_path.read_text() }}"},
        {"a.jinja": "{{ ''.__class__.__mro__ }}"},
        {"copier.yml": "_envops: {undefined: os.system}\n"},
        {"copier.yml": "_jinja_extensions: [os.system]\n"},
    ],
)
def test_a_template_reads_and_writes_nothing_elsewhere(
    repository: Make, folder: Path, tmp_path: Path, files: dict[str, str]
) -> None:
    (tmp_path / "x.yml").write_text("key: CANARY\n")
    source = repository({**TEMPLATE, **files})
    done = run("new", "p", "--template", source, "--defaults", "--no-env")
    assert is_one_line(done), done.output
    assert not list(folder.iterdir())
    assert not (tmp_path / "evil").exists()


def test_nothing_is_written_through_a_link_that_the_template_made(
    repository: Make, folder: Path, tmp_path: Path
) -> None:
    source = repository({"copier.yml": "_preserve_symlinks: true\n", "b{{ '' }}/evil": ""})
    (source / "b").symlink_to(tmp_path)
    commit(source, {}, tag="v2.0.0")
    done = run("new", "p", "--template", source, "--defaults", "--no-env")
    assert is_one_line(done), done.output
    assert not (tmp_path / "evil").exists()
    assert not list(folder.iterdir())


# Trust


@pytest.mark.parametrize("source", ["config", "Copier"])
@pytest.mark.parametrize(
    ("entry", "address", "is_trusted"),
    [
        ("https://host/acme/", "https://host/acme/t.git", True),
        ("https://host/acme", "https://host/acme/t.git", False),
        ("https://host/acme/", "https://host/acme-evil/t.git", False),
        ("https://host/acme/", "https://host/acme/../evil/t.git", False),
        ("https://host/acme/", "https://host/acme/%2e%2e/evil/t.git", False),
        ("https://host/acme/t.git", "https://host/acme/t.git", True),
        ("git@host:acme/", "git@host:acme/t.git", True),
        ("gh:acme/", "gh:acme/t", True),
    ],
)
def test_trust_is_by_address_or_prefix(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    source: str,
    entry: str,
    address: str,
    is_trusted: bool,
) -> None:
    trust_in(source, entry, tmp_path, monkeypatch)
    assert template.trusts(config.load(), address) is is_trusted


@pytest.mark.parametrize("source", ["config", "Copier"])
@pytest.mark.parametrize("command", ["update", "status", "diff"])
def test_a_trusted_address_needs_no_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, command: str
) -> None:
    extension = {"copier.yml": "_jinja_extensions: [jinja2.ext.do]\n", "a": "1\n"}
    root = project(releases(tmp_path / "t", extension, {"a": "2\n"}), tmp_path / "p")
    assert is_one_line(run(command, root), "--trust")
    trust_in(source, f"{tmp_path}/", tmp_path, monkeypatch)
    assert run(command, root).exit_code in (0, 1)


def test_broken_settings_of_copier_are_one_line(
    repository: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.yml").write_text("trust: 7\n")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(tmp_path / "settings.yml"))
    done = run("new", "p", "--template", repository(), "--defaults", "--no-env")
    assert is_one_line(done, "settings.yml"), done.output
