from __future__ import annotations

from pathlib import Path

import pytest

from mlscaffold import files


def test_write_text_replaces_whole(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b.txt", "one\n")
    files.write_text(tmp_path / "a" / "b.txt", "two\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"two\n"
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_write_text_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    files.write_text(tmp_path / "b.txt", "one\n")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(tmp_path / "b.txt", "\ud800")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["one\n"]


def test_folder_beside_leaves_nothing_behind(tmp_path: Path) -> None:
    with files.folder_beside(tmp_path / "x" / "y") as folder:
        (folder / "f").write_text("")
    assert not list(tmp_path.iterdir())


def test_move_into_place_makes_the_destination(tmp_path: Path) -> None:
    with files.folder_beside(tmp_path / "x" / "y") as folder:
        (folder / "y").mkdir()
        files.move_into_place(folder / "y", tmp_path / "x" / "y")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["y"]


def test_move_into_place_keeps_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "f").write_text("")
    (tmp_path / "here").mkdir()
    inode = (tmp_path / "here").stat().st_ino
    files.move_into_place(tmp_path / "new", tmp_path / "here")
    assert (tmp_path / "here" / "f").exists()
    assert (tmp_path / "here").stat().st_ino == inode


def test_make_whole_that_fails_keeps_the_old_folder(tmp_path: Path) -> None:
    files.make_whole(tmp_path / "a", lambda folder: (folder / "one").write_text(""))

    def fail(folder: Path) -> None:
        (folder / "two").write_text("")
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - any will do
        files.make_whole(tmp_path / "a", fail)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["one"]


def test_remove_takes_read_only_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_text("")
    (tmp_path / "a" / "f").chmod(0o400)
    files.remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()
