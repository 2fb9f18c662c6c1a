"""What all tests stand on: no real home, a fixed author, and templates to render."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import plumbum
import pytest
from repositories import TEMPLATE, Files, commit

from mlscaffold import credentials

# The modules with the longest tests, the longest first.
LONGEST = (
    "test_journey",
    "test_loop",
    "test_request",
    "test_hunt",
    "test_scale",
    "test_faults",
    "test_serving",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: a process that begins one of them last is waited for by all."""
    known = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: known.get(item.path.stem, len(known)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--examples", type=int, default=1000, help="how many random updates the slow tests make"
    )
    parser.addoption(
        "--kills",
        type=int,
        default=6,
        help="at how many calls each of the slow tests kills an update; 0 is every one",
    )


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--examples"))


@pytest.fixture(scope="session", autouse=True)
def far_from_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fixtures of a wider scope than one test work in: they start before `isolated`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        move_in(tmp_path_factory.mktemp("home"), monkeypatch)
        yield


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    home = tmp_path_factory.mktemp("home")
    move_in(home, monkeypatch)
    monkeypatch.setattr(credentials, "_labels", {})  # what another test put in for ${NAME}
    return home


def move_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes home the user's: with an author, and no variable that leads elsewhere."""
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.com\n")
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "MLSCAFFOLD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "MLSCAFFOLD_HOME": str(home / "store"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
        "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
        "LC_ALL": "C",
        # As in an environment that is activated: uv is there.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }.items():
        monkeypatch.setenv(name, value)
        # Copier hands its tasks the variables as they were when plumbum was imported.
        monkeypatch.setitem(plumbum.local.env, name, value)


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a template repository from files, tagged v1."""

    def make(files: Files | None = None, *, name: str = "template") -> Path:
        folder = tmp_path / name
        commit(folder, TEMPLATE if files is None else files, tag="v1.0.0")
        return folder

    return make
