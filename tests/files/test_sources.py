"""Sources: what stands for what, one table in every format, types that hold, files that broke."""

import itertools
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_actrep.files import containers
from offline_actrep.files.sources import (
    FORMATS,
    check_readable,
    check_same_schema,
    find_sources,
    reading,
    scan,
)
from offline_actrep.files.text import LONGEST_LINE

TABLE = pl.DataFrame(
    {
        "user": [3, 1, None],
        "price": [1.5, None, 2.0],
        "name": ["x", "é\n,", 'q"'],
        "bought": [True, False, None],
    }
)
WRITERS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".arrow": lambda frame, path: frame.write_ipc(path),
    ".arrows": lambda frame, path: frame.write_ipc_stream(path),
    ".csv": lambda frame, path: frame.write_csv(path),
    ".jsonl": lambda frame, path: frame.write_ndjson(path),
}
_NUMBERS = itertools.count()


def write(path: Path, frame: pl.DataFrame = TABLE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[path.suffix](frame, path)
    return path


def rows(path: Path | str) -> list[tuple[Any, ...]]:
    (source,) = find_sources(path)
    return scan(source).collect(engine="streaming").rows()


def names(sources: Any) -> list[str]:
    return [source.path.rsplit("/", 1)[-1] for source in find_sources(sources)]


# What stands for what.


def test_a_folder_stands_for_the_known_files_below_it(tmp_path: Path) -> None:
    for name in ("b.csv", "a/c.parquet", "a/.hidden/d.csv", "_tmp/e.csv", ".f.csv"):
        write(tmp_path / name)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "notes.txt").write_text("no log")
    assert names(tmp_path) == ["c.parquet", "b.csv"]
    assert names(f"{tmp_path}/*.csv") == ["b.csv"]
    assert names(f"{tmp_path}/**/*.parquet") == ["c.parquet"]
    assert names([tmp_path / "b.csv", tmp_path, f"{tmp_path}/b.csv"]) == ["c.parquet", "b.csv"]
    assert names(f"file://{tmp_path}/a") == ["c.parquet"]


def test_names_with_the_letters_of_globs_and_urls_are_files_too(tmp_path: Path) -> None:
    path = write(tmp_path / "we[i]rd * 100%20.parquet")
    assert names(path) == [path.name]
    assert rows(path) == [(*row, n) for n, row in enumerate(TABLE.rows())]


@pytest.mark.parametrize("place", ["nothing.csv", "*.csv", "empty"])
def test_a_source_that_stands_for_nothing_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"stands for no such file.*To mend it"):
        find_sources(tmp_path / place)


def test_other_refusals_of_names(tmp_path: Path) -> None:
    for name, mend in (("a.json", "jsonl"), ("a.csv.gz", "unpack it"), ("a.txt", "rename it")):
        (tmp_path / name).write_text("{}")
        with pytest.raises(ValueError, match=mend):
            find_sources(tmp_path / name)
    with pytest.raises(ValueError, match="empty list"):
        find_sources([])
    with pytest.raises(ValueError, match=r"nowhere://x: expected a URL that pyarrow or fsspec"):
        find_sources("nowhere://x")


def test_folders_of_key_and_value_become_columns(tmp_path: Path) -> None:
    for day, place in (("1", "x%20y"), ("2", "__HIVE_DEFAULT_PARTITION__")):
        write(tmp_path / f"day={day}" / f"place={place}" / "a.parquet")
    write(tmp_path / "day=late" / "place=z" / "a.csv")
    first, second, third = find_sources(tmp_path)
    assert first.hive == (("day", "1"), ("place", "x y"))
    assert dict(check_readable(first))["day"] == pl.Int64
    assert dict(check_readable(second))["place"] == pl.Null
    schema = check_same_schema([first, second, third])
    assert (schema["day"], schema["place"]) == (pl.String, pl.String)
    folders = [scan(one, schema).select("day", "place").collect().row(0) for one in (first, second)]
    assert folders == [("1", "x y"), ("2", None)]
    assert check_same_schema([first, second])["day"] == pl.Int64


def test_a_folder_may_not_hide_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "user=1" / "a.parquet")
    with pytest.raises(ValueError, match=r"column 'user': expected one column.*key=value"):
        check_readable(find_sources(path)[0])


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_urls_give_what_files_give(tmp_path: Path, suffix: str) -> None:
    frame = pl.concat([TABLE] * 50)
    path = write(tmp_path / f"a{suffix}", frame)
    memory = fsspec.filesystem("memory")
    with memory.open(f"/{tmp_path.name}/day=7/a{suffix}", "wb") as file:
        file.write(path.read_bytes())
    for url in (
        f"memory://{tmp_path.name}",
        f"memory://{tmp_path.name}/day=*/*{suffix}",
        f"memory://{tmp_path.name}/**/a{suffix}",
        f"memory://{tmp_path.name}/day=7/a{suffix}",
    ):
        (source,) = find_sources(url)
        assert not source.is_local
        found = scan(source).collect(engine="streaming")
        assert found.drop("day").rows() == rows(path)
        assert set(found["day"]) == {7}
    assert scan(source).select("source_row").tail(1).collect().item() == frame.height - 1
    few = scan(source).filter(pl.col("user") == 1).select("source_row", "price").head(2).collect()
    assert few.rows() == [(1, None), (4, None)]
    memory.rm(f"/{tmp_path.name}", recursive=True)
    with pytest.raises(ValueError, match="vanished"):
        check_readable(source)


# One table in every format.

VALUES = {
    "number": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "whole": st.integers(-(2**63), 2**63 - 1),
    "truth": st.booleans(),
    # text with a letter, for text of digits alone is taken for a number
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8).map(
        lambda text: text + "z"
    ),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    height = draw(st.integers(1, 6))
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    types = {"number": pl.Float64, "whole": pl.Int64, "truth": pl.Boolean, "text": pl.String}
    columns = {}
    for n, kind in enumerate(kinds):
        values = draw(
            st.lists(st.none() | VALUES[kind], min_size=height, max_size=height).filter(any_given)
        )
        if kind == "number":  # a column of whole floats is one of whole numbers in text
            values = [0.5 if value is None else value for value in [*values[:-1], 0.5]]
        columns[f"{kind} {n}"] = pl.Series(values, dtype=types[kind])
    return pl.DataFrame(columns)


def any_given(values: list[Any]) -> bool:
    return any(value is not None for value in values)


@given(tables())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_format_says_the_same(tmp_path: Path, frame: pl.DataFrame) -> None:
    folder = tmp_path / f"{next(_NUMBERS)}"
    expected = frame.with_columns(pl.int_range(pl.len()).alias("source_row"))
    for suffix in WRITERS:
        (source,) = find_sources(write(folder / f"a{suffix}", frame))
        assert scan(source).collect(engine="streaming").equals(expected), suffix
    assert check_same_schema(find_sources(folder)) == frame.schema


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (["1", "-20", ""], pl.Int64),
        (["007", "12"], pl.String),
        (["+1", "1"], pl.Float64),
        (["9223372036854775807", "1"], pl.Int64),
        (["9223372036854775808", "1"], pl.String),
        (["9007199254740993", "0.5"], pl.String),
        (["9007199254740991", "0.5"], pl.Float64),
        (["1e3", "2"], pl.Float64),
        (["1e400", "nan"], pl.Float64),
        (["True", "false"], pl.Boolean),
        (["true", "1"], pl.String),
        (["", ""], pl.String),
        (["1 ", "2"], pl.String),
        (["0x10", "2"], pl.String),
        (["1_000", "2"], pl.String),
        (["1"] * 2000 + ["a7"], pl.String),
        ([""] * 2000 + ["0.5"], pl.Float64),
    ],
)
def test_csv_is_of_the_narrowest_type_that_loses_nothing(
    tmp_path: Path, written: list[str], kind: Any
) -> None:
    (tmp_path / "a.csv").write_text("\n".join(["other,x", *(f"1,{value}" for value in written)]))
    source = find_sources(tmp_path)[0]
    schema = check_same_schema([source])
    assert schema["x"] == kind
    if kind in (pl.String, pl.Int64):
        found = scan(source, schema).select(pl.col("x").cast(pl.String)).collect()["x"].to_list()
        assert found == [value or None for value in written]
    assert check_same_schema([source], as_text={"x"})["x"] == pl.String


def test_csv_of_other_separators_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    for name, text in (
        ("a.csv", "\ufeffuser;price\n1;2,5\n"),
        ("b.tsv", "user\tprice\r\n1\t2,5\r\n"),
    ):
        (tmp_path / name).write_bytes(text.encode())
        assert rows(tmp_path / name) == [(1, "2,5", 0)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5"], pl.Float64),
        (["1", '"a"'], pl.String),
        (["1", "9223372036854775808"], pl.Int128),
        (["null", "null"], pl.String),
        (["[1]", "[2.5, null]"], pl.List(pl.Float64)),
        (['{"a": 1}', '{"b": 2}'], pl.Struct({"a": pl.Int64, "b": pl.Int64})),
    ],
)
def test_json_is_of_a_type_that_holds_all(tmp_path: Path, values: list[str], kind: Any) -> None:
    (tmp_path / "a.jsonl").write_text("".join(f'{{"x": {value}}}\n' for value in values))
    schema = check_same_schema(find_sources(tmp_path))
    assert schema["x"] == kind
    found = scan(find_sources(tmp_path)[0], schema).collect()["x"].to_list()
    if kind in (pl.Int128, pl.Float64):
        assert found == [json.loads(value) for value in values]


def test_json_blocks_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offline_actrep.files.text._BLOCK", 64)
    lines = [{"x": n, "later": "y"} if n > 20 else {"x": n} for n in range(40)]
    text = "\n\n".join(json.dumps(line) for line in [*lines, {"x": 1.5}])
    (tmp_path / "a.jsonl").write_text(text)
    found = scan(find_sources(tmp_path)[0]).collect()
    assert found["x"].to_list() == [*map(float, range(40)), 1.5]
    assert found["later"].null_count() == 22
    assert found["source_row"].to_list() == list(range(41))


# Files that differ.


def test_widths_that_hold_each_other_agree(tmp_path: Path) -> None:
    kinds = {"a": (pl.Int8, pl.Int32), "b": (pl.UInt32, pl.Int64), "c": (pl.Float32, pl.Float64)}
    kinds |= {"d": (pl.String, pl.Categorical), "e": (pl.UInt64, pl.Int64), "f": (pl.Null, pl.Int8)}
    for n in (0, 1):
        frame = pl.DataFrame({k: pl.Series(["1"]).cast(pl.Int8) for k in kinds})
        casts = [pl.col(k).cast(pl.String).cast(t[n], strict=False) for k, t in kinds.items()]
        write(tmp_path / f"{n}.parquet", frame.select(casts))
    sources = find_sources(tmp_path)
    schema = check_same_schema(sources)
    expected = [pl.Int32, pl.Int64, pl.Float64, pl.String, pl.Int128, pl.Int8]
    assert list(schema.values()) == expected
    both = pl.concat([scan(source, schema) for source in sources]).collect()
    assert both["a"].to_list() == [1, 1]
    assert both["f"].to_list() == [None, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Int64, pl.String),
        (pl.Int64, pl.Float64),
        (pl.Int64, pl.List(pl.Int64)),
        (pl.Datetime("us"), pl.Datetime("ns")),
        (pl.Boolean, pl.Int8),
    ],
)
def test_drift_names_both_files_and_the_column(tmp_path: Path, one: Any, other: Any) -> None:
    for name, kind in (("1.parquet", one), ("2.parquet", other)):
        write(tmp_path / name, pl.DataFrame({"a": [1], "x": pl.Series([None], dtype=kind)}))
    sources = find_sources(tmp_path)
    with pytest.raises(ValueError, match=r"2\.parquet, column 'x': expected .*1\.parquet has, got"):
        check_same_schema(sources)
    assert list(check_same_schema(sources, used={"a"})) == ["a"]


def test_a_column_that_comes_and_goes_is_refused_if_it_is_used(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", pl.DataFrame({"a": [1]}))
    write(tmp_path / "2.parquet", pl.DataFrame({"a": [1], "x": [1]}))
    sources = find_sources(tmp_path)
    with pytest.raises(ValueError, match=r"1\.parquet, column 'x': expected .*2\.parquet"):
        check_same_schema(sources, used={"a", "x"})
    assert list(check_same_schema(sources, used={"a", "absent"})) == ["a"]


def test_csv_and_parquet_agree_on_text(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", pl.DataFrame({"id": [1, 2]}))
    (tmp_path / "2.csv").write_text("id\na7\n")
    sources = find_sources(tmp_path)
    schema = check_same_schema(sources)
    found = [scan(source, schema).collect()["id"].to_list() for source in sources]
    assert found == [["1", "2"], ["a7"]]


# Files that broke.


def damaged(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


BROKEN: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "zero bytes": (".parquet", lambda _: b"", "zero bytes"),
    "zero bytes csv": (".csv", lambda _: b"", "zero bytes"),
    "cut parquet": (".parquet", lambda b: b[:-20], "truncated"),
    "half parquet": (".parquet", lambda b: b[: len(b) // 2], "truncated"),
    "only magic": (".parquet", lambda _: b"PAR1", "truncated"),
    "two magics": (".parquet", lambda _: b"PAR1PAR1", "truncated"),
    "footer too long": (
        ".parquet",
        lambda b: b[:-8] + struct.pack("<I", 1 << 30) + b"PAR1",
        "footer that says it is 1073741824 bytes",
    ),
    "footer of zeros": (
        ".parquet",
        lambda b: b[:4] + bytes(len(b) - 12) + b[-8:],
        "expected",
    ),
    "not parquet": (".parquet", lambda b: b"hello" * 20, "that parquet begins with"),
    "an arrow file": (".parquet", lambda _: b"ARROW1" + bytes(20), r"rename it to \.arrow"),
    "encrypted": (".parquet", lambda b: b"PARE" + b[4:], "encrypted"),
    "cut arrow": (".arrow", lambda b: b[:-3], "truncated"),
    "cut stream": (".arrows", lambda b: b[:-8], "truncated"),
    "not arrow": (".arrow", lambda b: b"hello" * 20, "rename|name the file"),
    "arrow of noise": (".arrow", lambda b: b[:8] + bytes(len(b) - 16) + b[-8:], "expected"),
    "gzip csv": (".csv", lambda b: b"\x1f\x8b" + b, "got gzip"),
    "UTF-16 csv": (".csv", lambda b: b.decode().encode("utf-16"), "got UTF-16"),
    "zero byte in csv": (".csv", lambda b: b[:3] + b"\0" + b[3:], "zero byte"),
    "latin csv header": (".csv", lambda b: b"\xe9" + b, "header: expected UTF-8"),
    "latin csv": (".csv", lambda b: b + b"1,2,\xe9,true\n", "expected rows|utf"),
    "ragged csv": (".csv", lambda b: b + b"1,2,x,true,5\n", "row 3 has 5 fields, the header 4"),
    "no header": (".csv", lambda b: b"\n" + b, "header"),
    "duplicate csv": (".csv", lambda b: b.replace(b"price", b"user"), "'user': expected one"),
    "cut json": (".jsonl", lambda b: b[:-12], r"line 2: expected a JSON object"),
    "json list": (".jsonl", lambda b: b + b"[1]\n", r"line 3: expected a JSON object"),
    "json noise": (".jsonl", lambda b: b"hello\n" + b, r"line 0: expected a JSON object"),
    "json infinity": (".jsonl", lambda b: b + b'{"user": NaN}\n', "expected a JSON object"),
    "blank json": (".jsonl", lambda _: b"\n\n\n", "expected JSON objects"),
    "empty objects": (".jsonl", lambda _: b"{}\n{}\n", "expected JSON objects"),
    "latin json": (".jsonl", lambda b: b + b'{"name": "\xe9"}\n', "expected"),
    "key twice": (".jsonl", lambda b: b + b'{"user": 1, "user" : 2}\n', "line 3.*'user' twice"),
    "key twice in escapes": (
        ".jsonl",
        lambda b: b + b'{"user": 1, "\\u0075ser": 2}\n',
        "line 3.*'user' twice",
    ),
    "half a pair": (".jsonl", lambda b: b + b'{"name": "\\ud800"}\n', "line 3.*surrogates"),
    "deep json": (
        ".jsonl",
        lambda b: b + b'{"user": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n",
        "expected",
    ),
    "list after number": (".jsonl", lambda b: b + b'{"user": [1]}\n', "expected"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, case: str) -> None:
    suffix, change, message = BROKEN[case]
    path = damaged(write(tmp_path / f"a{suffix}"), change)
    with pytest.raises(ValueError, match=message) as refused:
        check_readable(find_sources(path)[0])
    assert path.name in str(refused.value)
    assert "To mend it" in str(refused.value)


def test_duplicate_columns_of_parquet_and_arrow_are_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    for source in find_sources(tmp_path):
        with pytest.raises(ValueError, match="column 'a': expected one column of that name, got 2"):
            check_readable(source)


def test_an_empty_shard_is_read_as_no_rows(tmp_path: Path) -> None:
    whole, empty = tmp_path / "a.parquet", tmp_path / "b.parquet"
    TABLE.write_parquet(whole)
    pq.write_table(TABLE.clear().to_arrow(), empty)
    assert pq.read_metadata(empty).num_row_groups == 1, "this writer makes a group of no rows"
    files = find_sources([whole, empty])
    schema = check_same_schema(files)
    assert [scan(file, schema).collect().height for file in files] == [3, 0]


def test_absurd_row_groups_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [0] * 1000}), path, row_group_size=100)
    (source,) = find_sources(path)
    assert check_readable(source) == {"x": pl.Int64}
    for limit, value in (("MOST_ROWS", 99), ("MOST_VALUES", 99), ("MOST_BYTES", 9)):
        with monkeypatch.context() as patch:
            patch.setattr(containers, limit, value)
            with pytest.raises(ValueError, match=r"row group 0: expected at most .*row groups of"):
                check_readable(source)
    monkeypatch.setattr(containers, "MOST_GROUPS", 9)
    with pytest.raises(ValueError, match=r"expected at most 9 row groups, got 10"):
        check_readable(source)


@pytest.mark.parametrize("suffix", [".arrow", ".arrows"])
@pytest.mark.parametrize("packed", ["zstd", "lz4", "uncompressed"])
def test_a_batch_that_unpacks_to_more_than_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, packed: Any
) -> None:
    frame = pl.DataFrame({"x": [0] * 100_000, "name": ["a"] * 100_000})
    frame = frame.with_columns(kind=pl.col("name").cast(pl.Categorical))
    write_to = frame.write_ipc if suffix == ".arrow" else frame.write_ipc_stream
    write_to(tmp_path / f"a{suffix}", compression=packed)
    (source,) = find_sources(tmp_path)
    assert scan(source).collect().drop("source_row").equals(frame.cast({"kind": pl.String}))
    monkeypatch.setattr(containers, "MOST_BYTES", 800_000)
    with pytest.raises(ValueError, match=r"batch \d: expected at most .* 800000 bytes unpacked"):
        check_readable(source)
    monkeypatch.setattr(containers, "MOST_ROWS", 99_999)
    with pytest.raises(ValueError, match=r"batch \d: expected at most 99999 rows"):
        check_readable(source)


def test_names_kept_for_the_job_are_refused(tmp_path: Path) -> None:
    for name in ("source_row", "source_file"):
        write(tmp_path / "a.parquet", pl.DataFrame({name: [1]}))
        with pytest.raises(ValueError, match=f"column '{name}'.*rename the column"):
            check_readable(find_sources(tmp_path)[0])


def test_a_file_that_vanishes_or_changes_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    other = write(tmp_path / "b.parquet")
    sources = find_sources(tmp_path)
    schema = check_same_schema(sources)
    frame = pl.concat([scan(source, schema) for source in sources])
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.parquet.*vanished"), reading(sources):
        frame.collect()
    with pytest.raises(ValueError, match=r"a\.parquet.*vanished"):
        check_readable(sources[0])
    write(other, TABLE.head(1))
    with pytest.raises(ValueError, match=r"b\.parquet.*written since"):
        check_readable(sources[1])


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = find_sources(write(tmp_path / "a.parquet"))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(source), "open", refuse)
    with pytest.raises(ValueError, match=r"a\.parquet.*Permission denied.*you may read it"):
        check_readable(source)


def test_a_full_disk_is_not_blamed_on_the_files(tmp_path: Path) -> None:
    sources = find_sources(write(tmp_path / "a.parquet"))
    with pytest.raises(OSError, match="No space left"), reading(sources):
        raise OSError(28, "No space left on device")


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offline_actrep.files.text._BLOCK", 10)
    monkeypatch.setattr("offline_actrep.files.text.LONGEST_LINE", 50)
    assert LONGEST_LINE > 50
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"x": "' + "y" * 100 + '"}\n')
    with pytest.raises(ValueError, match=r"line 1: expected at most 50 bytes"):
        check_readable(find_sources(tmp_path)[0])


@given(st.binary(max_size=300), st.sampled_from(sorted(FORMATS)))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_noise_is_refused_or_read_but_never_anything_else(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = tmp_path / f"{next(_NUMBERS)}{suffix}"
    path.write_bytes(content)
    try:
        with reading(sources := find_sources(path)):
            scan(sources[0]).collect(engine="streaming")
    except ValueError as refused:
        assert path.name in str(refused)
    os.unlink(path)


@given(st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_flipped_byte_is_refused_or_read(tmp_path: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(sorted(WRITERS)))
    path = write(tmp_path / f"{next(_NUMBERS)}{suffix}")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        with reading(sources := find_sources(path)):
            scan(sources[0]).collect(engine="streaming")
    except ValueError as refused:
        assert path.name in str(refused)
    os.unlink(path)
