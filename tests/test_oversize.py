"""Small files that unpack to far more than memory holds: one line, and no more memory for it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from repositories import TEMPLATE, commit

from mlscaffold import address, oversize
from mlscaffold.address import Sample

ROOT = Path(__file__).parent.parent
MOST_MEMORY = 1_000_000_000
LONG = "x" * 1_000_000
Bomb = Callable[[Path], None]


def many_rows(path: Path) -> None:
    """A number in more rows than fit into memory."""
    columns = {name: pa.repeat(1, 10_000_000) for name in "abc"}
    with pq.ParquetWriter(path, pa.table(columns).schema, compression="zstd") as writer:
        for _ in range(4):
            writer.write_table(pa.table(columns), row_group_size=10_000_000)


def one_text_in_many_rows(path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), 50_000), pa.array([LONG])
    )
    pq.write_table(pa.table({"t": texts, "y": [0, 1] * 25_000}), path, compression="zstd")


def one_text_in_many_lists(path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), 50_000), pa.array([LONG])
    )
    lists = pa.ListArray.from_arrays(pa.array(range(0, 50_001, 10), pa.int32()), texts)
    pq.write_table(pa.table({"t": lists, "y": [0, 1] * 2_500}), path, compression="zstd")


def one_long_list(path: Path) -> None:
    lists = pa.ListArray.from_arrays([0, 40_000_000, 40_000_001], pa.repeat(0, 40_000_001))
    pq.write_table(pa.table({"t": lists, "y": [0, 1]}), path, compression="zstd")


def one_long_text(path: Path) -> None:
    table = pa.table({"t": ["x" * 300_000_000, "a"], "y": [0, 1]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)


def many_columns(path: Path) -> None:
    names = [f"c{number}" for number in range(200_000)]
    values = ",".join("1" for _ in names)
    path.write_text(",".join(names) + f"\n{values}\n{values}\n")


def many_columns_after_a_quoted_line_end(path: Path) -> None:
    names = ['"first\nname"', *(f"c{number}" for number in range(200_000))]
    path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")


def many_parquet_columns(path: Path) -> None:
    pq.write_table(pa.table({f"c{number}": [1, 2] for number in range(11_000)}), path)


def many_keys(path: Path) -> None:
    path.write_text("{" + ",".join(f'"c{number}": 1' for number in range(200_000)) + "}\n")


def another_key_in_each_line(path: Path) -> None:
    path.write_text("".join(f'{{"c{number}" : 1}}\n' for number in range(100_000)))


def escaped_keys(path: Path) -> None:
    path.write_text("".join(f'{{"\\u0063\\"{number}": 1}}\n' for number in range(100_000)))


def deep_lists(path: Path) -> None:
    path.write_text('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}\n")


def deep_objects(path: Path) -> None:
    path.write_text('{"a": ' * 200_000 + "1" + "}" * 200_000 + "\n")


def lists_that_are_not_closed(path: Path) -> None:
    path.write_text('{"a": ' + "[" * 200_000 + "\n")


BOMBS: dict[str, list[Bomb]] = {
    "parquet": [
        *(many_rows, one_text_in_many_rows, one_text_in_many_lists, one_long_list, one_long_text),
        many_parquet_columns,
    ],
    "csv": [many_columns, many_columns_after_a_quoted_line_end],
    "jsonl": [
        *(many_keys, another_key_in_each_line, escaped_keys),
        *(deep_lists, deep_objects, lists_that_are_not_closed),
    ],
}


# Its own memory, and not that of the test which starts it, as wait4 has it.
MEASURED = """
import atexit, pathlib, re, resource, sys
def measure():
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        most = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) * 1024
    else:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(most, file=sys.stderr)
atexit.register(measure)
from mlscaffold.__main__ import main
main()
"""


def run_within_memory(*arguments: str, cwd: Path) -> tuple[int, str]:
    """Runs mlscaffold; its exit code and what it wrote to stderr. It may not take much memory."""
    command = (sys.executable, "-c", MEASURED, *arguments)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    *lines, memory = done.stderr.splitlines(keepends=True)
    assert int(memory) < MOST_MEMORY, done.stderr
    return done.returncode, "".join(lines)


@pytest.mark.parametrize(
    ("ending", "make"), [(ending, make) for ending, makes in BOMBS.items() for make in makes]
)
def test_new_refuses_a_table_that_unpacks_to_too_much(
    tmp_path: Path, ending: str, make: Bomb
) -> None:
    make(tmp_path / f"bomb.{ending}")
    command = ("new", "demo", "--defaults", "--no-env")
    code, written = run_within_memory(*command, "--data-uri", f"bomb.{ending}", cwd=tmp_path)
    assert code == 2, written
    assert written.count("\n") == 1, written
    assert f"bomb.{ending}" in written
    assert not (tmp_path / "demo").exists()


def read(path: Path) -> Sample:
    return address.read(str(path), cwd=path.parent)


def test_what_repeats_and_is_wide_or_nested_is_read(tmp_path: Path) -> None:
    dice = random.Random(0)
    rows = 20_000
    table = pa.table(
        {
            "id": [f"customer {number}" for number in range(rows)],
            "plan": [dice.choice(["basic", "pro", None]) for _ in range(rows)],
            "constant": [1.5] * rows,
            "missing": pa.array([None] * rows, pa.float64()),
            "note": [dice.choice(["a" * 5_000, "b" * 5_000]) for _ in range(rows)],
            "tags": [["x", "y"]] * rows,
            "place": [{"city": "Ulm"}] * rows,
            "kind": pa.array(["k"] * rows).dictionary_encode(),
            "raw": pa.array([b"x"] * rows, pa.binary()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=5_000)
    sample = read(tmp_path / "t.parquet")
    assert sample.rows == rows
    assert sample.table.to_pylist() == table.to_pylist()
    wide = {f"c{number}": [1, 2] for number in range(500)}
    pq.write_table(pa.table(wide), tmp_path / "wide.parquet")
    assert read(tmp_path / "wide.parquet").table.num_columns == 500


def test_a_batch_is_cut_where_its_texts_are_too_long_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a" * 1_000, "b" * 1_000] * 500
    pq.write_table(pa.table({"t": texts}), tmp_path / "t.parquet")
    monkeypatch.setattr(oversize, "ALWAYS_FITS", 300_000)
    path = str(tmp_path / "t.parquet")
    size = (tmp_path / "t.parquet").stat().st_size
    metadata = oversize.parquet_metadata(path, (tmp_path / "t.parquet").read_bytes()[-8:], size)
    batches = list(oversize.parquet_batches(path, metadata, size, 1_000))
    assert [batch.num_rows for batch in batches] == [250] * 4
    assert pa.Table.from_batches(batches).column("t").to_pylist() == texts


@pytest.mark.parametrize(
    "lines",
    [
        b'{"a": 1, "b": "x: {[\\"y\\": "}\n' * 20_000,
        b'{"a": [[1, 2], [3]], "b": {"c": {"d": "}}}"}}}\n' * 1_000,
        b"".join(b'{"a": "said \\"%d\\": ok"}\n' % number for number in range(20_000)),
        b'{"a": "' + b"[" * 5_000 + b'"}\n',
        b'{"a": ' + b"[" * 90 + b"1" + b"]" * 90 + b"}\n",
        b"",
    ],
)
def test_lines_that_only_look_odd_pass(lines: bytes) -> None:
    keys: set[bytes] = set()
    oversize.check_json(lines, keys)
    assert len(keys) < 100


def test_the_tool_and_its_projects_read_with_the_same_file() -> None:
    theirs = ROOT / "template/src/{{ package_name }}/data/oversize.py"
    assert Path(oversize.__file__).read_bytes() == theirs.read_bytes()


# YAML

ALIASES = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
MERGED = "a0: &a0 {k0: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], k{n}: 1}}\n" for n in range(1, 10)
)
DEEP = "a: " + "[" * 50_000 + "]" * 50_000 + "\n"
ITSELF = "a: &a [*a]\n"
YAML_BOMBS = {"aliases": ALIASES, "merged": MERGED, "deep": DEEP, "itself": ITSELF}


def new_within_memory(folder: Path, *arguments: str) -> str:
    """What `new` writes when it refuses its input; the names of its places are the caller's."""
    command = ("new", "demo", "--defaults", "--no-env")
    code, written = run_within_memory(*command, *arguments, cwd=folder)
    assert code == 2, written
    assert written.count("\n") == 1, written
    assert not (folder / "demo").exists()
    return written


@pytest.mark.parametrize("bomb", YAML_BOMBS)
def test_new_refuses_questions_that_blow_up(tmp_path: Path, bomb: str) -> None:
    commit(tmp_path / "t", {**TEMPLATE, "copier.yml": YAML_BOMBS[bomb]})
    assert str(tmp_path / "t") in new_within_memory(tmp_path, "--template", str(tmp_path / "t"))


def test_new_refuses_included_questions_that_blow_up(tmp_path: Path) -> None:
    files = {"copier.yml": "!include a0.yml\n", "a9.yml": "a: {default: 1}\n"}
    files |= {f"a{n}.yml": f"!include a{n + 1}.yml\n---\n" * 10 for n in range(9)}
    files = {name: text.removesuffix("---\n") for name, text in files.items()}
    commit(tmp_path / "t", {**TEMPLATE, **files})
    assert "copier.yml" in new_within_memory(tmp_path, "--template", str(tmp_path / "t"))


@pytest.mark.parametrize("bomb", YAML_BOMBS)
def test_new_refuses_answers_that_blow_up(tmp_path: Path, bomb: str) -> None:
    (tmp_path / "answers.yml").write_text(YAML_BOMBS[bomb])
    assert "answers.yml" in new_within_memory(tmp_path, "--data-file", "answers.yml")


def test_new_refuses_an_answer_that_blows_up(tmp_path: Path) -> None:
    flow = "{" + ", ".join(ALIASES.strip().splitlines()) + "}"
    assert "key_columns" in new_within_memory(tmp_path, "--data", f"key_columns={flow}")


def test_answers_with_aliases_are_taken(tmp_path: Path) -> None:
    commit(tmp_path / "t", {**TEMPLATE, "copier.yml": "q: &q {type: str, default: a}\nr: *q\n"})
    (tmp_path / "answers.yml").write_text("q: &x b & c\nr: *x\n")
    command = ("new", "demo", "--defaults", "--no-env")
    given = ("--template", str(tmp_path / "t"), "--data-file", "answers.yml", "--data", "q=a & b")
    assert run_within_memory(*command, *given, cwd=tmp_path)[0] == 0


# Links


def test_new_refuses_links_that_lead_round_and_round(tmp_path: Path) -> None:
    source = tmp_path / "t"
    commit(source, {**TEMPLATE, "a/x": "", "b/x": ""})
    for link, target in {"a/to-b": "../b", "b/to-a": "../a", "a/here": "."}.items():
        (source / link).symlink_to(target)
    commit(source, {})
    written = new_within_memory(tmp_path, "--template", str(source))
    assert "that it is in" in written


def test_new_refuses_links_that_multiply(tmp_path: Path) -> None:
    source = tmp_path / "t"
    commit(source, {**TEMPLATE, **{f"d{n}/x": "" for n in range(8)}})
    for number in range(7):
        for name in "abcdefgh":
            (source / f"d{number}/{name}").symlink_to(f"../d{number + 1}")
    commit(source, {})
    assert "behind links" in new_within_memory(tmp_path, "--template", str(source))


def test_links_to_folders_within_the_template_are_rendered(tmp_path: Path) -> None:
    source = tmp_path / "t"
    commit(source, {**TEMPLATE, "a/x": "1\n"})
    (source / "b").symlink_to("a")
    commit(source, {})
    command = ("new", "demo", "--defaults", "--no-env")
    code, written = run_within_memory(*command, "--template", str(source), cwd=tmp_path)
    assert code == 0, written
    assert (tmp_path / "demo/b/x").read_text() == "1\n"


def test_a_link_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for destination in ("nowhere", "nowhere/demo"):
        command = ("new", destination, "--defaults", "--no-env")
        code, written = run_within_memory(*command, cwd=tmp_path)
        assert code == 2, written
        assert written.count("\n") == 1, written
    assert not (tmp_path / "gone").exists()
