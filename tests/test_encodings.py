"""A table in another encoding is refused with the way out, by the tool and by its projects."""

from pathlib import Path

import pytest

from mlscaffold import encodings, table
from mlscaffold.errors import MlscaffoldError

ROOT = Path(__file__).resolve().parents[1]
TWIN = ROOT / "template" / "src" / "{{ package_name }}" / "data" / "encodings.py"
ROWS = "größe,y\n" + "klein,0\ngroß,1\n" * 20


def test_the_tool_and_its_projects_share_the_file() -> None:
    assert TWIN.read_bytes() == Path(encodings.__file__).read_bytes()


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("latin-1", "line 1 has the byte 0xF6"),
        ("cp1252", "iconv -f WINDOWS-1252 -t UTF-8"),
        ("utf-16", "is UTF-16 text"),
        ("utf-16-le", "iconv -f UTF-16LE "),
        ("utf-16-be", "iconv -f UTF-16BE "),
        ("utf-32", "is UTF-32 text"),
    ],
)
def test_another_encoding_is_named_with_the_way_out(
    encoding: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(ROWS.encode(encoding))
    with pytest.raises(MlscaffoldError) as refused:
        table.inspect("t.csv", cwd=tmp_path)
    assert words in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_with_and_without_a_mark(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(ROWS.encode(encoding))
    assert table.inspect("t.csv", cwd=tmp_path).columns == ("größe", "y")


def test_the_line_is_the_file_s() -> None:
    with pytest.raises(encodings.EncodingError, match="line 3 has the byte 0xDF"):
        encodings.check("a\nb\ngroß c\n".encode("latin-1"))
    with pytest.raises(encodings.EncodingError, match="line 7 has a byte of zero"):
        encodings.check(b"a\0", 7)


def test_a_letter_may_be_cut_at_the_end() -> None:
    encodings.check("größe".encode()[:3])
