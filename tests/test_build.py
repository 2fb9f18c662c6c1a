from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from repositories import git

ROOT = Path(__file__).parent.parent
BUNDLE = "mlscaffold/template.bundle"


def build(folder: Path, kind: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def wheel(folder: Path) -> zipfile.ZipFile:
    done = build(folder, "wheel")
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next((folder / "dist").glob("*.whl")))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", str(ROOT), "clone")
    return tmp_path / "clone"


def test_the_wheel_holds_the_history(clone: Path, tmp_path: Path) -> None:
    wheel(clone).extract(BUNDLE, tmp_path)
    heads = git(tmp_path, "bundle", "list-heads", BUNDLE).split()
    assert heads[0] == git(clone, "rev-parse", "HEAD")


def test_a_wheel_from_the_sdist_holds_the_same(clone: Path, tmp_path: Path) -> None:
    direct = wheel(clone).read(BUNDLE)
    done = build(clone, "sdist")
    assert done.returncode == 0, done.stderr
    with tarfile.open(next((clone / "dist").glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "sdist")  # Debian 12's Python has no filter yet
    unpacked = next((tmp_path / "sdist").iterdir())
    assert wheel(unpacked).read(BUNDLE)[:200] == direct[:200]


def test_a_shallow_clones_wheel_says_where_it_ends(tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth", "1", ROOT.as_uri(), "shallow")
    ends = wheel(tmp_path / "shallow").read("mlscaffold/template.shallow").decode().split()
    assert ends == [git(tmp_path / "shallow", "rev-parse", "HEAD")]


def test_uncommitted_changes_of_the_template_are_named(clone: Path) -> None:
    (clone / "template" / "new.txt").write_text("")
    done = build(clone, "wheel")
    assert done.returncode == 0
    assert "template/new.txt" in done.stdout + done.stderr


def test_without_git_the_build_says_what_is_missing(clone: Path) -> None:
    (clone / ".git").rename(clone.parent / "elsewhere")
    done = build(clone, "wheel")
    assert done.returncode != 0
    assert "build from a clone or from the sdist" in done.stdout + done.stderr
