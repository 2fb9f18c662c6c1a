"""Random templates, random edits: what holds for every update.

`pytest -m slow tests/merge/test_properties.py --examples 10000` looks further.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from repositories import git

from mlscaffold import answers, template, versions
from mlscaffold.errors import MlscaffoldError
from mlscaffold.merge import apply, planning, repository, update
from mlscaffold.merge.plan import Plan
from mlscaffold.store import Checkout

PATHS = [
    "a.txt",
    "b.py",
    "conf/c.toml",
    "conf/d.yaml",
    "conf/deep/e.json",
    "src/{{ name }}/f.txt",
    "src/{{ name }}/g.txt",
    "run.sh",
    "sp ace",
    "ümlaut",
    '"quoted"',
    "x",
    "ignored/h.env",
]
OWN = ["mine.txt", "conf/mine.txt", "src/ann/mine.py", "x", "new/mine", "n"]
OWN += [os.fsdecode(b"caf\xe9")]
KINDS = ["text", "text", "text", "crlf", "latin", "bare", "binary", "link"]
CHANGES = ["keep", "edit", "edit", "delete", "move", "mode", "type", "folder"]
ADDED = ["n", "new/n.txt", "x/inside", "conf/n.toml", "ignored/n.env", "mine.txt"]
ENDS = {"text": b"\n", "crlf": b"\r\n", "latin": b"\xe9\n", "bare": b" "}
ANSWERS_FILE = "{{ _copier_conf.answers_file }}.jinja"


@dataclass(frozen=True)
class File:
    """A file of a scenario: lines, how they end, and what kind of file holds them."""

    lines: tuple[str, ...]
    kind: str = "text"
    mode: int = 0o644

    @property
    def data(self) -> bytes:
        if self.kind == "binary":
            return b"\x00" + " ".join(self.lines).encode()
        return b"".join(line.encode() + ENDS[self.kind] for line in self.lines)


@dataclass(frozen=True)
class Scenario:
    """Two versions of a template, and a user's edits of the older one."""

    old: dict[str, File]
    new: dict[str, File]
    edits: tuple[tuple[str, str, str], ...]
    rename_answer: bool
    is_sub_project: bool


@st.composite
def scenarios(draw: st.DrawFn, *, with_edits: bool = True) -> Scenario:
    chosen = draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=7, unique=True))
    old = {path: draw(_files(path)) for path in chosen}
    new: dict[str, File] = {}
    for number, (path, file) in enumerate(old.items()):
        new |= draw(_evolved(path, file, number))
    for path in draw(st.lists(st.sampled_from(ADDED), max_size=2, unique=True)):
        if not any(_clashes(path, other) for other in new):
            new[path] = File((f"NEW {path} added", "second"))
    edits = draw(_edits(chosen)) if with_edits else ()
    return Scenario(old, new, edits, draw(st.booleans()), draw(st.booleans()))


@st.composite
def _files(draw: st.DrawFn, path: str) -> File:
    kind = draw(st.sampled_from(KINDS))
    count = draw(st.integers(0, 8))
    mode = draw(st.sampled_from([0o644, 0o755]))
    return File(tuple(f"{path} {number}" for number in range(count)), kind, mode)


@st.composite
def _evolved(draw: st.DrawFn, path: str, file: File, number: int) -> dict[str, File]:
    change = draw(st.sampled_from(CHANGES))
    lines = list(file.lines)
    if change in ("edit", "move") and draw(st.booleans()):
        lines.insert(draw(st.integers(0, len(lines))), f"NEW {path} {number}")
    if change == "edit" and lines and draw(st.booleans()):
        lines.pop(draw(st.integers(0, len(lines) - 1)))
    edited = replace(file, lines=tuple(lines))
    place = draw(st.sampled_from([f"moved/{number}", f"{path}.moved", f"new{number}"]))
    return {
        "keep": {path: file},
        "edit": {path: edited},
        "delete": {},
        "move": {place: edited},
        "mode": {path: replace(file, mode=file.mode ^ 0o111)},
        "type": {path: replace(edited, kind="link" if file.kind != "link" else "text")},
        "folder": {f"{path}/inside": edited},
    }[change]


@st.composite
def _edits(draw: st.DrawFn, paths: list[str]) -> tuple[tuple[str, str, str], ...]:
    kinds = ["top", "middle", "end", "delete", "move", "mode", "link", "empty", "crlf", "binary"]
    edited = draw(st.lists(st.sampled_from(paths), max_size=4))
    known = [(draw(st.sampled_from(kinds)), path, f"USER{n}") for n, path in enumerate(edited)]
    own = draw(st.lists(st.sampled_from(OWN), max_size=2, unique=True))
    tracked = [
        (draw(st.sampled_from(["own", "own", "untracked"])), p, f"OWN{n}")
        for n, p in enumerate(own)
    ]
    return (*known, *tracked)


def _clashes(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


# Making it real


def lay(folder: Path, files: dict[str, File]) -> Path:
    """A template's version as a folder."""
    (folder).mkdir(parents=True)
    config = "_preserve_symlinks: true\nname:\n  default: ann\n_exclude: [copier.yml]\n"
    (folder / "copier.yml").write_text(config)
    (folder / ANSWERS_FILE).write_text("{{ _copier_answers|to_nice_yaml -}}\n")
    (folder / ".gitignore").write_text("ignored/\n")
    for path, file in files.items():
        put(folder / path, file)
    return folder


def put(place: Path, file: File) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if file.kind == "link":
        place.symlink_to(" ".join(file.lines).replace("/", "-") or "nowhere")
    else:
        place.write_bytes(file.data)
        place.chmod(file.mode)


def version(folder: Path, name: str) -> template.Template:
    return template.read(Checkout("https://localhost/t.git", folder, f"{name * 20}", name))


def edit(root: Path, what: str, path: str, mark: str) -> bool:
    """What a user does to a file; whether the mark is in the project now."""
    place = root / path.replace("{{ name }}", "ann")
    if what in ("own", "untracked"):
        if place.exists() or place.is_symlink() or not _can_be_in(place, root):
            return False
        put(place, File((mark, "own")))
        return True
    if not place.is_symlink() and not place.is_file():
        return False
    if what == "delete":
        place.unlink()
    elif what == "move":
        place.rename(place.with_name(f"user-{place.name}"))
    elif what == "link":
        place.unlink()
        place.symlink_to(mark)
        return True
    elif place.is_symlink():
        return False
    elif what == "mode":
        place.chmod(place.stat().st_mode ^ 0o111)
    else:
        place.write_bytes(_edited(place.read_bytes(), what, mark.encode()))
        return what != "empty"
    return False


def _can_be_in(place: Path, root: Path) -> bool:
    parents = place.relative_to(root).parents
    return not any((root / p).is_symlink() or (root / p).is_file() for p in parents)


def _edited(data: bytes, what: str, mark: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    whole = {
        "top": mark + b"\n" + data,
        "end": data + (b"" if data.endswith(b"\n") or not data else b"\n") + mark + b"\n",
        "middle": b"".join([*lines[: len(lines) // 2], mark + b"\n", *lines[len(lines) // 2 :]]),
        "empty": b"",
        "crlf": b"".join(line.rstrip(b"\r\n") + b"\r\n" for line in lines) + mark + b"\r\n",
        "binary": b"\x00" + mark + data,
    }
    return whole[what]


def files(root: Path) -> dict[str, bytes]:
    """Every file but git's own, with kind, whether it can run, and content."""
    found = {}
    for folder, folders, names in os.walk(root):
        if ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for place in (Path(folder, name) for name in (*names, *links)):
            if place.is_symlink():
                data = b"link " + os.fsencode(os.readlink(place))  # noqa: PTH115
            else:
                data = b"%o " % (place.stat().st_mode & 0o100) + place.read_bytes()
            found[place.relative_to(root).as_posix()] = data
    return found


@dataclass
class World:
    """A project with its edits, and the two versions."""

    top: Path
    root: Path
    old: template.Template
    new: template.Template
    marks: set[str]
    data: dict[str, str]

    def step(self, old: template.Template | None = None) -> versions.Step:
        return versions.Step(answers.find(self.root)[0], old or self.old, self.new)

    @contextmanager
    def planned(self, step: versions.Step | None = None, **options: object) -> Iterator[Plan]:
        project = repository.open_at(self.root)
        step = step or self.step()
        with planning.planned(step, project, data=options.get("data", self.data)) as (plan, _):  # type: ignore[arg-type]
            yield plan

    def index(self) -> str:
        return git(self.top, "ls-files", "-s")


@contextmanager
def world(scenario: Scenario) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        old = version(lay(folder / "old", scenario.old), "v1")
        new = version(lay(folder / "new", scenario.new), "v2")
        top = folder / "p"
        root = top / "sub" if scenario.is_sub_project else top
        template.render(old, root, {}, ask=False)
        shutil.copytree(EMPTY, top / ".git")
        git(top, "add", "-A")
        git(top, "commit", "-qm", "Start")
        marks = set()
        for what, path, mark in scenario.edits:
            if what != "untracked" and edit(root, what, path, mark):
                marks.add(mark)
        git(top, "add", "-A")
        git(top, "commit", "-q", "--allow-empty", "-m", "Edit")
        for what, path, mark in scenario.edits:
            if what == "untracked" and edit(root, what, path, mark):
                marks.add(mark)
        present = b"\n".join(files(top).values())
        marks = {mark for mark in marks if mark.encode() in present}
        data = {"name": "eve"} if scenario.rename_answer else {}
        yield World(top, root, old, new, marks, data)


EMPTY = Path()


@pytest.fixture(scope="module", autouse=True)
def _empty_repository(tmp_path_factory: pytest.TempPathFactory) -> None:
    global EMPTY
    folder = tmp_path_factory.mktemp("empty")
    git(folder, "init", "-q", "--template=", "-b", "main")
    git(folder, "config", "core.fsync", "none")
    EMPTY = folder / ".git"


# What holds


def check_edited(scenario: Scenario) -> None:
    with world(scenario) as here:
        before, index, refused = files(here.top), here.index(), ""
        try:
            with here.planned() as plan:
                assert files(here.top) == before, "planning writes nothing"
                apply.apply([plan])
                check_outcome(here, scenario, plan, before)
                check_private(here, scenario)
        except MlscaffoldError as error:
            refused = error.message
        if refused:
            assert "Nothing was written" in refused, refused
            assert (files(here.top), here.index()) == (before, index)
            return
        after = files(here.top)
        with here.planned(here.step(here.new), data={}) as again:
            assert again.is_empty
        if not plan.is_empty:
            assert apply.abort(repository.open_at(here.root)) == ()
            assert (files(here.top), here.index()) == (before, index)
        assert after is not None


def check_outcome(here: World, scenario: Scenario, plan: Plan, before: dict[str, bytes]) -> None:
    after = files(here.top)
    whole = b"\n".join(after.values())
    lost = {mark for mark in here.marks if mark.encode() not in whole}
    assert not lost, f"lost: {lost}"
    reported = {action.path for action in plan.actions}
    changed = {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)}
    assert changed <= reported, f"not in the plan: {changed - reported}"
    conflicts = {action.path for action in plan.conflicts}
    marked = {path for path, data in after.items() if b"<<<<<<< yours" in data}
    assert marked <= conflicts
    assert plan.needs_look or not conflicts
    needs = [a for a in plan.actions if a.kind in ("keep", "conflict")]
    for path, file in scenario.new.items():
        for line in file.lines:
            if line.startswith("NEW") and line.encode() not in whole and file.kind != "link":
                assert needs, f"the template's change of {path} is gone without a word"
    stages = re.findall(r"^\d+ \w+ [123]\t(.*)$", here.index(), re.MULTILINE)
    assert bool(stages) == any(action.stages for action in plan.actions)


def check_private(here: World, scenario: Scenario) -> None:
    """What a user wrote into a file that git ignores is in none that git would add."""
    private = {mark.encode() for _, path, mark in scenario.edits if path.startswith("ignored/")}
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=here.top, capture_output=True, check=True).stdout
    for name in filter(None, listed.split(b"\0")):
        place = here.top / os.fsdecode(name)
        if place.is_file() and not place.is_symlink():
            content = place.read_bytes()
            assert not [mark for mark in private if mark in content], name


PROGRAMS = [
    "git add -A",
    "git rm -q --ignore-unmatch --cached {path}",
    "git mv -f {path} by-program",
    "mv {path} by-program",
    "rm -rf {path}",
    "echo PROGRAM >> {path}",
    "mkdir -p made && echo PROGRAM > made/x && git add made",
    "git stash -q -u",
    "git commit -q --allow-empty -am PROGRAM",
    "exit 1",
]


@st.composite
def programs(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    """Some programs of a template, each with the stage in which it runs."""
    path = st.sampled_from([p for p in PATHS if "{{" not in p and '"' not in p])
    stage = st.sampled_from(["before", "after", "task"])
    command = st.sampled_from(PROGRAMS)
    count = draw(st.integers(1, 3))
    return tuple(
        (draw(stage), draw(command).format(path=shlex.quote(draw(path)))) for _ in range(count)
    )


def with_programs(
    source: template.Template, chosen: tuple[tuple[str, str], ...]
) -> template.Template:
    """The template, with programs in its copier.yml."""
    config = dict(source.raw)
    config["_tasks"] = [command for stage, command in chosen if stage == "task"]
    config["_migrations"] = [
        {"version": "v2", "when": f'{{{{ _stage == "{stage}" }}}}', "command": command}
        for stage, command in chosen
        if stage != "task"
    ]
    unsafe = tuple(name for name in ("migrations", "tasks") if config[f"_{name}"])
    return replace(source, raw=config, unsafe=unsafe)


def check_with_programs(scenario: Scenario, chosen: tuple[tuple[str, str], ...]) -> None:
    with world(scenario) as here:
        if scenario.is_sub_project:
            shutil.copytree(here.root, here.top / "next", symlinks=True)
            # It takes away what is outside of the project, which no update promises to bring back.
            chosen = tuple(one for one in chosen if "git stash" not in one[1])
        new = with_programs(here.new, chosen)

        def choose(found: answers.Answers, *_: object) -> versions.Step:
            return versions.Step(found, here.old, new)

        def state() -> tuple[object, ...]:
            head = git(here.top, "rev-parse", "HEAD"), git(here.top, "symbolic-ref", "HEAD")
            return files(here.top), here.index(), head

        before = state()
        with mock.patch.object(versions, "choose", choose):
            request = update.Request(here.root, data=here.data, trusts=lambda _: True)
            try:
                outcome = update.run(request)
            except MlscaffoldError:
                outcome = None
            if outcome is None:
                assert state() == before
                return
            if scenario.is_sub_project:
                check_next_to_it(here, before[0])
        if git(here.top, "rev-parse", "HEAD") != before[2][0]:  # type: ignore[index]
            return  # a program committed, so it is git's to take back
        whole = b"\n".join(files(here.top).values())
        lost = {mark for mark in here.marks if mark.encode() not in whole}
        assert not lost or outcome.programs, f"lost without a word: {lost}"
        if not outcome.is_empty:
            assert update.abort(here.root) == update.Aborted()
            assert state()[:2] == before[:2]


def check_next_to_it(here: World, before: object) -> None:
    """The project next to it is as it was."""
    assert isinstance(before, dict)
    now = files(here.top)
    assert {p: d for p, d in now.items() if p.startswith("next/")} == {
        p: d for p, d in before.items() if p.startswith("next/")
    }


def check_untouched(scenario: Scenario) -> None:
    with world(scenario) as here:
        with here.planned() as plan:
            assert not plan.needs_look, [a for a in plan.actions if a.needs_look]
            apply.apply([plan])
        template.render(here.new, here.top.parent / "fresh" / here.root.name, here.data, ask=False)
        fresh = files(here.top.parent / "fresh" / here.root.name)
        kept = {a.path for a in plan.of("keep")}
        start = f"{here.root.name}/" if here.root != here.top else ""
        mine = {p.removeprefix(start): d for p, d in files(here.top).items() if p not in kept}
        assert mine == fresh


OPTIONS = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "report_multiple_bugs": False,
    "database": None,
}


@settings(max_examples=25, phases=[Phase.generate, Phase.shrink], **OPTIONS)  # type: ignore[arg-type]
@given(scenarios())
def test_no_edit_is_lost(scenario: Scenario) -> None:
    check_edited(scenario)


@settings(max_examples=15, phases=[Phase.generate, Phase.shrink], **OPTIONS)  # type: ignore[arg-type]
@given(scenarios(), programs())
def test_programs_leave_all_or_nothing(
    scenario: Scenario, chosen: tuple[tuple[str, str], ...]
) -> None:
    check_with_programs(scenario, chosen)


@settings(max_examples=15, phases=[Phase.generate, Phase.shrink], **OPTIONS)  # type: ignore[arg-type]
@given(scenarios(with_edits=False))
def test_an_untouched_project_is_a_fresh_render(scenario: Scenario) -> None:
    check_untouched(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_edit_is_lost_in_many(part: int, examples: int) -> None:
    """Four parts, for as many processes; each with examples of its own."""
    from hypothesis import seed

    run = seed(part)(given(scenarios())(check_edited))
    options = {**OPTIONS, "derandomize": False}
    settings(max_examples=examples // 5, **options)(run)()  # type: ignore[arg-type]


@pytest.mark.slow
def test_programs_leave_all_or_nothing_in_many(examples: int) -> None:
    run = given(scenarios(), programs())(check_with_programs)
    options = {**OPTIONS, "derandomize": False}
    settings(max_examples=examples // 10, **options)(run)()  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_untouched_project_is_a_fresh_render_in_many(examples: int) -> None:
    run = given(scenarios(with_edits=False))(check_untouched)
    settings(max_examples=examples // 5, **OPTIONS)(run)()  # type: ignore[arg-type]
