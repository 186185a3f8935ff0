"""Tables by their documented columns: what is read, and that whatever does not fit is named."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_actrep.files.exchange.documented import (
    Column,
    Layout,
    find_table,
    read_table,
    refuse_repeats,
    refuse_rows,
    refuse_unknown,
)

COLUMNS = (
    Column("id", "integer", low=0),
    Column("score", "number", low=-1, high=1),
    Column("kind", "text", among=("a", "b"), may_be_null=True),
    Column("name", "text", longest=5),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documented") / "table.csv"


def test_columns_are_read_in_the_order_asked_for_whatever_their_order(path: Path) -> None:
    path.write_text('extra,name,score,id,kind\n?,"x,y",0.5,7,a\n!,z,-1,0,\n')
    table = read_table(path, COLUMNS)
    assert table.schema == {
        "id": pl.Int64,
        "score": pl.Float64,
        "kind": pl.String,
        "name": pl.String,
    }
    assert table.rows() == [(7, 0.5, "a", "x,y"), (0, -1.0, None, "z")]


@pytest.mark.parametrize(
    ("cell", "column", "expected", "found"),
    [
        ("x,0,a,n", "id", "a 64-bit integer, at least 0", "'x'"),
        ("-1,0,a,n", "id", "at least 0", "'-1'"),
        ("1.0,0,a,n", "id", "a 64-bit integer", "'1.0'"),
        (f"{2**63},0,a,n", "id", "a 64-bit integer", f"'{2**63}'"),
        (",0,a,n", "id", "a 64-bit integer", "nothing"),
        ("1,nan,a,n", "score", "a finite number", "'nan'"),
        ("1,inf,a,n", "score", "a finite number", "'inf'"),
        ("1,1e999,a,n", "score", "a finite number", "'1e999'"),
        ("1,1.01,a,n", "score", "at most 1", "'1.01'"),
        ("1,0,c,n", "kind", "one of 'a', 'b', or nothing", "'c'"),
        ("1,0,a,longer", "name", "text of at most 5 characters", "'longer'"),
        ("1,0,a", "name", "text of at most 5", "nothing"),
    ],
)
def test_a_cell_that_does_not_fit_is_named(
    path: Path, cell: str, column: str, expected: str, found: str
) -> None:
    path.write_text(f"id,score,kind,name\n1,0,a,n\n{cell}\n2,0,b,m\n{cell}\n")
    with pytest.raises(ValueError) as refused:
        read_table(path, COLUMNS)
    said = str(refused.value)
    assert said.startswith(f"{path}, column '{column}', row 1: expected ")
    assert expected in said
    assert f"got {found} (2 such rows in all)" in said
    assert "To mend it: " in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"id,score,kind,name\n", "no rows"),
        (b"id,score,kind\n1,0,a\n", "lacks the column.s. name; it has id, score, kind"),
        (b"id,id,score,kind,name\n1,1,0,a,n\n", "the column 'id' more than once"),
        (b"id,score,kind,name\n1,0,a,n,more\n", "cannot be read"),
        (b"id,score,unread,kind,name\n1,0,?,a,n,more\n", "cannot be read"),
        (b"id,score,kind,name\n1,0,a,\xff\xfe\n", "cannot be read"),
        (b'id,score,kind,name\n1,0,a,"n\n', "cannot be read"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_table(path, COLUMNS)


def test_a_directory_or_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_table(tmp_path / "none.csv", COLUMNS)
    with pytest.raises(ValueError, match=r"holds no a\.csv or b\.csv; get it there"):
        find_table(tmp_path, ("a.csv", "b.csv"), "get it there")


def test_times_are_in_utc_however_they_are_written(path: Path) -> None:
    when = Column("when", "time", written="%Y-%m-%d %H:%M:%S UTC")
    path.write_text("when\n2019-11-01 00:00:07 UTC\n")
    seven = read_table(path, [when]).item()
    zoned = Column("when", "time", written="%Y-%m-%d %H:%M:%S%.f%:z")
    path.write_text("when\n2019-11-01 01:00:07.000+01:00\n")
    assert read_table(path, [zoned]).item() == seven
    assert seven.isoformat() == "2019-11-01T00:00:07+00:00"
    parquet = path.with_suffix(".parquet")
    pl.DataFrame({"when": [seven.replace(tzinfo=None)]}).write_parquet(parquet)
    assert read_table(parquet, [when]).item() == seven
    path.write_text("when\n2019-13-01 00:00:07 UTC\n")
    with pytest.raises(ValueError, match="row 0: expected a time written %Y-%m"):
        read_table(path, [when])


def test_parquet_has_the_same_rules(path: Path) -> None:
    parquet = path.with_suffix(".parquet")
    good = pl.DataFrame({"id": [1], "score": [0], "kind": [None], "name": ["n"]})
    good.write_parquet(parquet)
    assert read_table(parquet, COLUMNS).rows() == [(1, 0.0, None, "n")]
    good.with_columns(id=pl.lit(1.5)).write_parquet(parquet)
    with pytest.raises(ValueError, match=r"column 'id', row 0: .* got 1\.5"):
        read_table(parquet, COLUMNS)
    good.with_columns(id=pl.lit([1])).write_parquet(parquet)
    with pytest.raises(ValueError, match=r"column 'id': expected a 64-bit integer.*nested values"):
        read_table(parquet, COLUMNS)
    parquet.write_bytes(parquet.read_bytes()[:-9])
    with pytest.raises(ValueError, match="cannot be read as a table"):
        read_table(parquet, COLUMNS)


def test_long_separators_and_other_encodings(path: Path) -> None:
    path.write_bytes('1::0.5::a::é:"\n'.encode("latin-1"))
    layout = Layout(separator="::", header=False, quoted=False, encoding="latin-1")
    assert read_table(path, COLUMNS, layout).rows() == [(1, 0.5, "a", 'é:"')]


def test_keys_and_marked_rows(path: Path) -> None:
    key = pl.Series("id", [3, 4, 3])
    with pytest.raises(ValueError, match="column 'id', row 2: expected each once, got 3"):
        refuse_repeats(path, key)
    refuse_repeats(path, key.head(2))
    with pytest.raises(ValueError, match=r"row 1: expected one that other\.csv has, got 4"):
        refuse_unknown(path, key, pl.Series([3]), Path("other.csv"))
    refuse_unknown(path, key, pl.Series([4, 3]), Path("other.csv"))
    refuse_rows(path, "id", pl.Series([False]), "nothing", key, "nothing")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120), st.booleans())
def test_whatever_the_bytes_a_table_is_read_or_refused(
    path: Path, content: bytes, with_header: bool
) -> None:
    head = b"id,score,kind,name\n1,0,a,n\n" if with_header else b""
    path.write_bytes(head + content)
    try:
        table = read_table(path, COLUMNS)
    except ValueError as refused:
        assert str(path) in str(refused)
        return
    assert (table["id"] >= 0).all()
    assert table["score"].is_between(-1, 1).all()
    assert set(table["kind"].drop_nulls()) <= {"a", "b"}
    assert (table["name"].str.len_chars() <= 5).all()
