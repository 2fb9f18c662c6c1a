from __future__ import annotations

import pytest

from mlscaffold.merge import syntax

GOOD = {
    "a.toml": "a = 1\n",
    "a.yaml": "a: !Ref x\nb: &b {c: 1}\nd: {<<: *b}\n---\na: 1\n",
    "a.yml": "[a, b]\n",
    "a.json": '{"a": [1]}',
    "a.py": "def f() -> int:\n    return '\\d'\n",
}
BAD = {
    "a.toml": "a = 1\na = 2\n",
    "a.yaml": "a: 1\nb:\n  - c: 1\n    c: 2\n",
    "a.yml": "a: [\n",
    "a.json": '{"a": 1, "a": 2}',
    "a.py": "def f():\nreturn\n",
}


@pytest.mark.parametrize("path", GOOD)
def test_a_file_that_no_longer_parses_is_seen(path: str) -> None:
    good, bad = GOOD[path].encode(), BAD[path].encode()
    assert syntax.is_broken(path, bad, good, good)
    assert not syntax.is_broken(path, good, good, good)
    assert not syntax.is_broken(path, bad, bad, good)
    assert not syntax.is_broken("a.txt", bad, good, good)


def test_a_whole_conflict_holds_both_and_what_they_share_once() -> None:
    found = syntax.whole_conflict(b"1\n2\nours", b"1\n3\ntheirs", "v2")
    assert found == (b"1\n<<<<<<< yours\n2\nours\n=======\n3\ntheirs\n>>>>>>> template v2\n")
    assert syntax.whole_conflict(b"1\n2\n9\n", b"1\n9\n", "v2") == (
        b"1\n<<<<<<< yours\n2\n=======\n>>>>>>> template v2\n9\n"
    )
