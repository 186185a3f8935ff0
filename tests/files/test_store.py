"""Logs to stores and back; what `verify` finds; memory that stays flat."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from stored import makers, quick_disk, same, small_log, tree

from offline_actrep.core import mapped
from offline_actrep.core.log import Log
from offline_actrep.files import store as store_module
from offline_actrep.files.manifest import SLOTS, read_manifest
from offline_actrep.files.store import (
    holds_store,
    is_store,
    open_store,
    verify_store,
    write_store,
)

pytestmark = pytest.mark.usefixtures(quick_disk.__name__)


@given(make=makers())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_log_comes_back_as_it_was(make: Callable[[], Log], tmp_path: Path) -> None:
    log = make()
    write_store(log, tmp_path / "store")
    back = open_store(tmp_path / "store", verify=True)
    assert same(back, log)
    assert back.timestamps is None or back.timestamps.tolist() == log.timestamps.tolist()
    assert open_store(tmp_path / "store").observations.dtype == np.float32


def test_pieces_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = small_log(n_episodes=20)
    write_store(log, tmp_path / "whole")
    for rows in (1, 4, 7):
        monkeypatch.setattr(store_module, "_ROWS_OF_A_PIECE", rows)
        write_store(log, tmp_path / str(rows))
        one, other = tree(tmp_path / "whole"), tree(tmp_path / str(rows))
        del one["manifest.json"], other["manifest.json"]  # the mean's last bits depend on them
        assert one == other
        assert same(open_store(tmp_path / str(rows), verify=True), log)


def test_the_manifest_tells_what_there_is(tmp_path: Path) -> None:
    log = small_log()
    write_store(log, tmp_path / "store", {"made": "here"})
    manifest = read_manifest(tmp_path / "store")
    assert manifest.about == {"fingerprint": log.fingerprint, "made": "here"}
    counts = manifest.counts
    assert (counts.rows, counts.episodes, counts.actions) == (12, 6, 3)
    assert counts.terminated + counts.truncated == 6
    assert counts.known_next == 6
    for name, column in manifest.columns.items():
        content = (tmp_path / "store" / f"{name}.bin").read_bytes()
        assert hashlib.sha256(content).hexdigest() == column.sha256
    found, wide = manifest.statistics.observations, log.observations.astype(np.float64)
    np.testing.assert_allclose(found.mean, wide.mean(axis=0))
    np.testing.assert_allclose(found.std, wide.std(axis=0))
    assert found.min == log.observations.min(axis=0).tolist()
    assert found.max == log.observations.max(axis=0).tolist()
    np.testing.assert_allclose(manifest.statistics.rewards.mean, [log.rewards.mean(dtype="f8")])


def test_columns_are_read_only_and_stay_on_the_disk(tmp_path: Path) -> None:
    write_store(small_log(), tmp_path / "store")
    log = open_store(tmp_path / "store")
    with pytest.raises(ValueError, match="read-only"):
        log.rewards[0] = 1
    assert mapped._map_of(log.rewards[2:4]) is not None
    assert same(log.take_episodes(np.arange(6)), small_log())


def test_a_store_is_written_from_a_store(tmp_path: Path) -> None:
    write_store(small_log(), tmp_path / "one")
    write_store(open_store(tmp_path / "one"), tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    write_store(open_store(tmp_path / "one"), tmp_path / "one")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_a_store_takes_the_place_of_a_store_and_of_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    write_store(small_log(), folder)
    assert is_store(folder) and holds_store(folder, {"fingerprint": small_log().fingerprint})
    other = small_log(seed=1)
    write_store(other, folder)
    assert same(open_store(folder), other)
    assert not holds_store(folder, {"fingerprint": small_log().fingerprint})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("long")
    (tmp_path / "file").write_text("")
    for taken in ("mine", "file"):
        with pytest.raises(ValueError, match="expected no folder, an empty one or a store"):
            write_store(other, tmp_path / taken)
        assert not is_store(tmp_path / taken)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "long"
    (tmp_path / "fresh.draft").mkdir()
    (tmp_path / "fresh.draft" / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"a folder with 'notes\.txt'"):
        write_store(other, tmp_path / "fresh")


def test_what_no_store_can_hold_is_refused(tmp_path: Path) -> None:
    log = small_log()
    empty = np.zeros((12, 0), np.float32)
    cases = {
        "at least one number": {
            "observations": empty,
            "next_observations": empty,
            "observation_names": (),
        },
        "expected at most 1024 characters, got 2000": {"splits": np.array(["s" * 2000] * 12)},
        "'timestamps': expected a type like": {"timestamps": np.array([b"x"] * 12)},
    }
    for message, changes in cases.items():
        with pytest.raises(ValueError, match=message):
            write_store(replace(log, **changes), tmp_path / "store")
        assert not is_store(tmp_path / "store")


# What `verify` finds, and opening does not look for.


def spoil(folder: Path, name: str, change: Callable[[np.ndarray], None]) -> None:
    """Changes a column, and its SHA-256 in the manifest, as somebody who means it would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    column = np.fromfile(folder / f"{name}.bin", manifest["columns"][name]["dtype"])
    change(column)
    column.tofile(folder / f"{name}.bin")
    content = (folder / f"{name}.bin").read_bytes()
    manifest["columns"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def put(place: int, value: object) -> Callable[[np.ndarray], None]:
    def change(column: np.ndarray) -> None:
        column[place] = value

    return change


def raw(place: int, byte: int) -> Callable[[np.ndarray], None]:
    def change(column: np.ndarray) -> None:
        column.view(np.uint8)[place] = byte

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("observations", put(3, np.nan), "row 1: observation is not finite"),
        ("observations", put(3, 1e3), "'statistics.observations.mean'"),
        ("next_observations", put(0, np.inf), "row 0: next_observation is not finite"),
        ("rewards", put(11, -np.inf), "row 11: reward is not finite"),
        ("rewards", put(11, 5.0), "'statistics.rewards.mean'"),
        ("actions", put(2, 3), "row 2: action is not a dense index 0..2"),
        ("actions", put(2, -1), "row 2: action is not a dense index 0..2"),
        ("allowed_indices", put(0, -1), "row 0: allowed_actions"),
        ("allowed_indices", put(-1, 2**40), "row 11: allowed_actions"),
        ("allowed_offsets", put(3, 0), "offsets fall at row 2"),
        ("action_probabilities", put(4, 1.5), r"row 4: action_probability is not in \(0, 1\]"),
        ("terminated", put(0, False), "row 0: episode's last row is neither"),
        ("truncated", put(1, True), "row 1: episode goes on after a row that ends it"),
        ("has_next", put(0, True), "expected 7 under 'counts.known_next', got 6"),
        ("terminated", raw(0, 2), "expected bytes of 0 and 1"),
        ("splits", raw(3, 255), "a string with 0xff"),
        ("episode_ids", raw(2, 0x20), "a string with 0x2000"),
    ],
)
def test_verify_reads_every_row(
    tmp_path: Path, name: str, change: Callable[[np.ndarray], None], message: str
) -> None:
    folder = tmp_path / "store"
    write_store(small_log(), folder)
    spoil(folder, name, change)
    with pytest.raises(ValueError, match=message) as caught:
        verify_store(folder)
    assert str(folder) in str(caught.value) and "To mend it" in str(caught.value)
    assert len(open_store(folder)) == 12  # a look at the sizes finds nothing


@pytest.mark.parametrize("name", sorted(set(SLOTS) - {"action_names", "action_features"}))
def test_verify_finds_a_bit_that_fell(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "store"
    write_store(small_log(), folder)
    content = bytearray((folder / f"{name}.bin").read_bytes())
    content[-1] ^= 1
    (folder / f"{name}.bin").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{name}.bin: expected bytes of SHA-256")):
        verify_store(folder)


# What opening looks for.


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("episode_offsets", put(0, 1), "must rise from 0 to 12"),
        ("episode_offsets", put(-1, 2**60), "must rise from 0 to 12"),
        ("episode_offsets", put(2, 0), "must rise from 0 to 12"),
        ("episode_offsets", put(2, -5), "must rise from 0 to 12"),
        ("allowed_offsets", put(0, 5), "offsets must run from 0"),
        ("allowed_offsets", put(-1, 2**62), "offsets must run from 0"),
        ("action_ids", raw(3, 255), "a string with 0xff"),
        ("action_ids", lambda ids: ids.__setitem__(0, ids[1]), "more than once"),
    ],
)
def test_opening_looks_at_what_is_cheap(
    tmp_path: Path, name: str, change: Callable[[np.ndarray], None], message: str
) -> None:
    folder = tmp_path / "store"
    write_store(small_log(), folder)
    spoil(folder, name, change)
    with pytest.raises(ValueError, match=message) as caught:
        open_store(folder)
    assert str(folder) in str(caught.value)


def grow_file(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def cut_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def link_file(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def folder_for_file(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe_for_file(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, grow_file, cut_file, empty_file, link_file, folder_for_file, pipe_for_file],
    ids=lambda harm: harm.__name__,
)
@pytest.mark.parametrize("name", ["manifest.json", "observations.bin", "action_ids.bin"])
def test_a_file_that_is_not_as_written_is_refused(
    tmp_path: Path, harm: Callable[[Path], None], name: str
) -> None:
    folder = tmp_path / "store"
    write_store(small_log(), folder)
    harm(folder / name)
    if (harm, name) == (cut_file, "manifest.json"):
        return  # the last byte is the end of the line
    with pytest.raises(ValueError, match=re.escape(str(folder))) as caught:
        open_store(folder)
    assert "expected" in str(caught.value) and "To mend it" in str(caught.value)


def test_no_store_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"expected a store, a folder with manifest\.json"):
            open_store(folder)


# Memory.


def mapped_now() -> float:
    """MiB of files in this process's memory."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssFile:\s+(\d+) kB", status)[0]) / 1024


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 16 MiB of observations."""
    folder = tmp_path_factory.mktemp("wide") / "store"
    n, part = 1 << 14, small_log()
    ends = np.arange(n) % 16 == 15
    observations = np.random.default_rng(0).standard_normal((n, 256), np.float32)
    log = Log(
        action_set=part.action_set,
        observations=observations,
        actions=np.zeros(n, np.int64),
        rewards=np.zeros(n, np.float32),
        terminated=ends,
        truncated=np.zeros(n, bool),
        next_observations=observations,
        has_next=~ends,
        episode_offsets=np.arange(0, n + 1, 16),
        episode_ids=np.arange(n // 16),
    )
    write_store(log, folder)
    return folder


@needs_proc
def test_release_gives_back_what_was_read(wide: Path) -> None:
    before = mapped_now()
    log = open_store(wide)
    assert mapped_now() - before < 4
    total = float(log.observations.sum())
    assert mapped_now() - before > 14
    log.release()
    assert mapped_now() - before < 4
    assert float(log.observations.sum()) == total
    log.release()


@needs_proc
def test_rows_are_taken_at_flat_memory(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_SMALL", 1 << 20)
    log = open_store(wide)
    rows = np.random.default_rng(1).integers(len(log), size=5000)
    before = mapped_now()
    taken = mapped.take(log.observations, rows)
    assert mapped_now() - before < 4
    np.testing.assert_array_equal(taken, log.observations[rows])
    log.release()


@needs_proc
def test_fingerprint_and_verify_leave_nothing_in_memory(wide: Path) -> None:
    before = mapped_now()
    log = open_store(wide)
    assert log.fingerprint == open_store(wide, verify=True).fingerprint
    assert mapped_now() - before < 4
