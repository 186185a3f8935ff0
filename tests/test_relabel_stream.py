"""Points for logs of any size: the same points, whole outputs, and nothing left of a kill."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.files.parquet import ColumnMapping, read_log, read_points, write_log
from offline_actrep.files.store import write_store
from offline_actrep.relabel import relabel
from offline_actrep.relabel_stream import open_points, relabel_files
from offline_actrep.representations.catalog import fit

BENCHMARKS = Path(__file__).parent / "benchmarks"


class Stopped(Exception):
    """What ends a run in the middle."""


@pytest.fixture
def log(maze_log: Log) -> Log:
    """Ids with holes, as logs have them."""
    return replace(maze_log, action_set=ActionSet(np.arange(16) * 10 + 3))


@pytest.fixture
def merlion(log: Log) -> AbstractRepresentation:
    return fit("merlion", log, seed=0, dim=3, steps=10, behaviour_steps=5, hidden=8, batch_size=32)


@pytest.fixture
def store(log: Log, tmp_path: Path) -> Path:
    write_store(log, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def parquet(log: Log, tmp_path: Path) -> Path:
    """Two files, the second of small row groups; a column more than the schema knows."""
    write_log(log, tmp_path / "whole.parquet")
    table = pq.read_table(tmp_path / "whole.parquet")
    table = table.append_column("shop", pa.array(["a", "b"] * 1000).slice(0, len(table)))
    folder = tmp_path / "parquet"
    folder.mkdir()
    pq.write_table(table.slice(0, 70), folder / "a.parquet")
    pq.write_table(table.slice(70), folder / "b.parquet", row_group_size=32)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder; hidden ones too."""
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def test_a_store_leaves_as_canonical_parquet(
    log: Log, merlion: AbstractRepresentation, store: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    found = relabel_files(
        store,
        merlion,
        tmp_path / "out",
        rows_a_part=100,
        on_step=lambda done, all_, _: told.append((done, all_)),
    )
    assert (found.rows, found.dim, found.kept) == (len(log), 3, 0)
    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert len(files) == found.parts == -(-len(log) // 100)
    assert files[0].name == "part-00000.parquet"
    assert told[-1] == (len(log), len(log)) and len(told) == found.parts
    points = read_points(tmp_path / "out")
    assert points is not None
    np.testing.assert_allclose(points, relabel(log, merlion).points, atol=1e-6)
    write_log(log, tmp_path / "plain.parquet")
    plain = read_log(tmp_path / "plain.parquet")
    assert read_log(tmp_path / "out").fingerprint == plain.fingerprint


@pytest.mark.parametrize("source", ["store", "parquet"])
def test_a_sidecar_holds_the_points_in_the_order_of_the_rows(
    request: pytest.FixtureRequest,
    log: Log,
    merlion: AbstractRepresentation,
    tmp_path: Path,
    source: str,
) -> None:
    relabel_files(request.getfixturevalue(source), merlion, tmp_path / "out", sidecar=True)
    points = open_points(tmp_path / "out")
    assert isinstance(points, np.memmap) and points.mode == "r"
    np.testing.assert_allclose(points, relabel(log, merlion).points, atol=1e-6)
    assert {one.name for one in (tmp_path / "out").iterdir()} == {"points.npy", "artifact.json"}


def test_equal_cuts_are_equal_bits(
    log: Log, merlion: AbstractRepresentation, store: Path, tmp_path: Path
) -> None:
    relabel_files(store, merlion, tmp_path / "out", sidecar=True)
    assert np.array_equal(open_points(tmp_path / "out"), relabel(log, merlion).points)


def test_parquet_keeps_its_columns_and_gets_one_more(
    log: Log, merlion: AbstractRepresentation, parquet: Path, tmp_path: Path
) -> None:
    found = relabel_files(parquet, merlion, tmp_path / "out", rows_a_part=64)
    sizes = [pq.read_metadata(one).num_rows for one in sorted((tmp_path / "out").glob("*.parquet"))]
    assert sizes[:2] == [70, 64] and sum(sizes) == len(log)  # a row group is not cut
    assert found.parts == len(sizes)
    before = pa.concat_tables(
        [pq.read_table(parquet / name) for name in ("a.parquet", "b.parquet")]
    )
    after = pa.concat_tables(pq.read_table(one) for one in sorted((tmp_path / "out").glob("part*")))
    assert after.column_names == [*before.column_names, "point"]
    assert after.drop_columns("point").equals(before)
    assert after.schema.metadata == before.schema.metadata
    points = read_points(tmp_path / "out")
    np.testing.assert_allclose(points, relabel(log, merlion).points, atol=1e-6)


def test_points_that_are_there_are_replaced(
    merlion: AbstractRepresentation, parquet: Path, tmp_path: Path
) -> None:
    relabel_files(parquet, merlion, tmp_path / "once")
    other = fit("random_table", read_log(parquet), dim=2, seed=0)
    relabel_files(tmp_path / "once", other, tmp_path / "twice")
    points = read_points(tmp_path / "twice")
    assert points is not None and points.shape[1] == 2
    names = pq.read_schema(next((tmp_path / "twice").glob("*.parquet"))).names
    assert names.count("point") == 1


def test_columns_may_have_other_names(
    log: Log, merlion: AbstractRepresentation, parquet: Path, tmp_path: Path
) -> None:
    table = pq.read_table(parquet)
    seen = np.stack(table["observation"].to_numpy())
    for place, name in enumerate(("x", "y", "t")):
        table = table.append_column(name, pa.array(seen[:, place]))
    names = ["item" if name == "action" else name for name in table.column_names]
    table = table.drop_columns("next_observation").drop_columns("observation")
    names = [name for name in names if "observation" not in name]
    pq.write_table(table.rename_columns(names), tmp_path / "named.parquet")
    mapping = ColumnMapping(observation=["x", "y", "t"], action="item")
    relabel_files(
        tmp_path / "named.parquet", merlion, tmp_path / "out", columns=mapping, sidecar=True
    )
    np.testing.assert_allclose(
        open_points(tmp_path / "out"), relabel(log, merlion).points, atol=1e-6
    )


@pytest.mark.parametrize("ids", [np.arange(16), np.array([f"ware {n}" for n in range(16)])])
def test_ids_of_any_kind_find_their_action(log: Log, tmp_path: Path, ids: np.ndarray) -> None:
    named = replace(log, action_set=ActionSet(ids[::-1].copy()))
    points = fit("random_table", named, dim=2, seed=0)
    write_log(named, tmp_path / "log.parquet")
    relabel_files(tmp_path / "log.parquet", points, tmp_path / "out", sidecar=True)
    assert np.array_equal(open_points(tmp_path / "out"), relabel(named, points).points)


@pytest.mark.parametrize("source", ["store", "parquet"])
@pytest.mark.parametrize("sidecar", [False, True])
def test_a_run_that_was_cut_goes_on_and_leaves_the_same_bytes(
    request: pytest.FixtureRequest,
    merlion: AbstractRepresentation,
    tmp_path: Path,
    source: str,
    sidecar: bool,
) -> None:
    path = request.getfixturevalue(source)
    calls = 0

    def stop(done: int, rows: int, losses: Mapping[str, float]) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 4):
            raise Stopped

    def run(out: str, on_step=None):
        return relabel_files(
            path, merlion, tmp_path / out, rows_a_part=64, sidecar=sidecar, on_step=on_step
        )

    whole = run("whole")
    for _ in range(2):
        with pytest.raises(Stopped):
            run("cut", stop)
        assert not (tmp_path / "cut").exists()
    resumed = run("cut", stop)
    assert (whole.kept, resumed.kept) == (0, 2)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert not (tmp_path / "cut.draft").exists()
    assert run("cut").kept == resumed.parts  # nothing is left to do


@pytest.mark.parametrize("sidecar", [False, True])
def test_a_draft_that_somebody_damaged_is_not_built_on(
    merlion: AbstractRepresentation, store: Path, tmp_path: Path, sidecar: bool
) -> None:
    def run(out: str, on_step=None):
        return relabel_files(
            store, merlion, tmp_path / out, rows_a_part=64, sidecar=sidecar, on_step=on_step
        )

    def stop(done: int, rows: int, losses: Mapping[str, float]) -> None:
        if done > 130:
            raise Stopped

    run("whole")
    with pytest.raises(Stopped):
        run("cut", stop)
    name = "points.npy" if sidecar else "part-00001.parquet"
    damaged = tmp_path / "cut.draft" / "parts" / name
    data = bytearray(damaged.read_bytes())
    data[-9] ^= 1
    damaged.write_bytes(data)
    assert run("cut").kept == (0 if sidecar else 1)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_a_draft_of_other_work_is_not_taken_up(
    log: Log, merlion: AbstractRepresentation, store: Path, tmp_path: Path
) -> None:
    def stop(done: int, rows: int, losses: Mapping[str, float]) -> None:
        if done > 64:
            raise Stopped

    with pytest.raises(Stopped):
        relabel_files(store, merlion, tmp_path / "out", rows_a_part=64, on_step=stop)
    other = fit("random_table", log, dim=2, seed=0)
    assert relabel_files(store, other, tmp_path / "out", rows_a_part=64).kept == 0
    points = read_points(tmp_path / "out")
    assert points is not None and np.array_equal(points, relabel(log, other).points)


def test_what_is_there_is_replaced_only_when_asked(
    log: Log, merlion: AbstractRepresentation, store: Path, tmp_path: Path
) -> None:
    relabel_files(store, merlion, tmp_path / "out")
    before = content(tmp_path / "out")
    other = fit("random_table", log, dim=2, seed=0)
    with pytest.raises(ValueError, match=r"out: expected no folder .* made from something else"):
        relabel_files(store, other, tmp_path / "out")
    assert content(tmp_path / "out") == before
    assert relabel_files(store, other, tmp_path / "out", resume=False).dim == 2
    points = read_points(tmp_path / "out")
    assert points is not None and points.shape[1] == 2


def test_a_strangers_folder_is_left_alone(
    merlion: AbstractRepresentation, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work", encoding="utf-8")
    for resume in (True, False):
        with pytest.raises(ValueError, match="got something else than this writes"):
            relabel_files(store, merlion, tmp_path / "out", resume=resume)
    with pytest.raises(ValueError, match="got something else than this writes"):
        relabel_files(store, merlion, store, resume=False)
    assert content(tmp_path / "out") == {"thesis.tex": b"years of work"}


def test_what_others_keep_in_the_drafts_place_is_left_alone(
    merlion: AbstractRepresentation, store: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "out.draft"
    theirs.mkdir()
    for name in ("mine.txt", "journal.jsonl"):
        (theirs / name).write_text("years of work", encoding="utf-8")
    before = content(theirs)
    message = r"out\.draft: expected no folder, .* got one with 'mine\.txt'\. To mend it: move"
    for resume in (True, False):
        with pytest.raises(ValueError, match=message):
            relabel_files(store, merlion, tmp_path / "out", resume=resume)
    assert content(theirs) == before and not (tmp_path / "out").exists()
    theirs.rename(tmp_path / "away")
    relabel_files(store, merlion, tmp_path / "out")
    (tmp_path / "away").rename(theirs)
    with pytest.raises(ValueError, match=message):  # though nothing is left to do
        relabel_files(store, merlion, tmp_path / "out")
    assert content(theirs) == before


def test_a_log_of_other_actions_or_observations_is_refused(
    log: Log, merlion: AbstractRepresentation, tmp_path: Path
) -> None:
    other = replace(log, action_set=ActionSet(np.arange(16)))
    write_log(other, tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"'action', row \d+: expected one of the 16 actions"):
        relabel_files(tmp_path / "other.parquet", merlion, tmp_path / "out")
    write_store(other, tmp_path / "other")
    with pytest.raises(ValueError, match="knows 16 actions, the log has 16, and they are not"):
        relabel_files(tmp_path / "other", merlion, tmp_path / "out")
    narrow = replace(
        log,
        observations=np.ascontiguousarray(log.observations[:, :2]),
        next_observations=np.ascontiguousarray(log.next_observations[:, :2]),
        observation_names=(),
    )
    write_log(narrow, tmp_path / "narrow.parquet")
    with pytest.raises(ValueError, match=r"expected observations of 3 numbers, .* got 2"):
        relabel_files(tmp_path / "narrow.parquet", merlion, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "column", "wrong"),
    [
        ([0.0, np.nan, 0.0], "observation", "got nan at place 1"),
        ([0.0, 0.0], "observation", "expected a list of 3 numbers"),
        (None, "observation", "expected a value, got null"),
        (None, "action", "expected a value, got null"),
    ],
)
def test_a_row_that_cannot_be_taken_is_named(
    merlion: AbstractRepresentation,
    parquet: Path,
    tmp_path: Path,
    value: object,
    column: str,
    wrong: str,
) -> None:
    table = pq.read_table(parquet / "b.parquet")
    values = table[column].to_pylist()
    values[41] = value
    kind = pa.list_(pa.float32()) if column == "observation" else pa.int64()
    table = table.set_column(table.column_names.index(column), column, pa.array(values, kind))
    pq.write_table(table, tmp_path / "bad.parquet", row_group_size=32)
    with pytest.raises(ValueError, match=rf"bad\.parquet, column '{column}', row 41: .*{wrong}"):
        relabel_files(tmp_path / "bad.parquet", merlion, tmp_path / "out", rows_a_part=32)
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_read_or_differ_are_named(
    merlion: AbstractRepresentation, parquet: Path, tmp_path: Path
) -> None:
    table = pq.read_table(parquet / "b.parquet").drop_columns("reward")
    pq.write_table(table, parquet / "c.parquet")
    with pytest.raises(ValueError, match=r"c\.parquet, column 'reward': .*a\.parquet has it"):
        relabel_files(parquet, merlion, tmp_path / "out")
    data = (parquet / "b.parquet").read_bytes()
    for damaged in (b"", data[:1000], b"PAR1" + data[4:-500] + b"x" * 500):
        (parquet / "c.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"c\.parquet cannot be read as a parquet file"):
            relabel_files(parquet, merlion, tmp_path / "out")
    pq.write_table(table.drop_columns("action"), parquet / "c.parquet")
    with pytest.raises(ValueError, match=r"c\.parquet, column 'action': .*column mapping"):
        relabel_files(parquet / "c.parquet", merlion, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_sidecar_is_no_points(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no finished sidecar"):
        open_points(tmp_path)


def test_kills_leave_no_trace() -> None:
    script = [sys.executable, BENCHMARKS / "relabel_kill.py", "--kills", "3", "--rows", "16384"]
    ran = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("1 kills") == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_log() -> None:
    sizes = ["--rows", "200000", "1000000", "--rows-a-part", "65536", "--json"]
    script = [sys.executable, BENCHMARKS / "relabel_memory.py", *sizes]
    ran = subprocess.run(script, capture_output=True, text=True, timeout=300, check=True)
    lines = json.loads(ran.stdout)
    assert len(lines) == 4
    for line in lines:
        less, more = line["MB"]
        assert more - less < 32, line
