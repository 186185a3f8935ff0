"""Whatever cuts the writing of a store short, at the end there is the same store, or none."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import tree

from offline_actrep.core.actions import ActionSet
from offline_actrep.files.columns import Ids
from offline_actrep.files.draft import StoreDraft
from offline_actrep.files.pieces import Piece
from offline_actrep.files.store import holds_store, is_store, open_store

ABOUT = {"sources": ["a", "b"], "n": 1}
CALLS = ("write", "fsync", "replace", "ftruncate", "unlink", "mkdir", "rmdir")


class Kill(BaseException):
    """As SIGKILL, but for the test's own sake."""


class Disk:
    """Counts what is asked of the disk, and fails at one of the calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.fail_at: int | None = None
        self.error: BaseException = Kill()
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls - 1 == self.fail_at:
                if name == "write":  # half of it arrives
                    call(args[0], args[1][: len(args[1]) // 2])
                raise self.error
            return None if name == "fsync" else call(*args, **kwargs)

        return counted

    def fail(self, at: int | None, error: BaseException | None = None) -> None:
        self.calls, self.fail_at, self.error = 0, at, error or Kill()


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system has such a folder: thousands of small files are written."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def pieces(*, strings: bool = True) -> list[Piece]:
    """Three, with ids in different orders of appearance and strings of different lengths."""
    made = []
    kinds = {
        True: (["b", "a"], ["é" * 9, "b"], ["a", "zz", "b"]),
        False: ([7, -3], [2**62, 7], [-3, 90, 7]),
    }
    for k, ids in enumerate(kinds[strings]):
        vocabulary = np.array(ids)
        lengths = np.array([1, 2, k + 1])
        n = int(lengths.sum())
        last = np.zeros(n, bool)
        last[np.cumsum(lengths) - 1] = True
        rows = np.arange(n)
        observations = np.stack([rows * 0.5 + k, rows * 0], axis=1).astype(np.float32)
        codes = rows % len(ids)
        made.append(
            Piece(
                observations=observations,
                actions=Ids(codes, vocabulary),
                rewards=(rows - k).astype(np.float32),
                terminated=last,
                truncated=np.zeros(n, bool),
                next_observations=observations,
                has_next=~last,
                episode_lengths=lengths,
                episode_ids=np.array([f"{'e' * 10**k}{i}" for i in range(3)]),
                action_probabilities=np.full(n, 0.5),
                allowed=(np.arange(n + 1), Ids(codes[::-1][::-1], vocabulary)),
                timestamps=rows * 10,
                splits=np.array(["train"] * n if k else ["test"] * n),
            )
        )
    return made


def work(folder: Path, *, strings: bool = True, count: int = 3) -> None:
    """What a converter does: takes up what is there, and goes on to the end."""
    if holds_store(folder, ABOUT):
        return
    draft = StoreDraft.open(folder, ABOUT)
    assert draft.notes == [{"piece": k} for k in range(draft.done)]
    for k, piece in enumerate(pieces(strings=strings)[draft.done : count], draft.done):
        draft.append(piece, {"piece": k})
    draft.finish({"report": "short"})


def whole(tmp_path: Path, disk: Disk, **how: Any) -> tuple[dict[str, bytes], int]:
    """The store that an uninterrupted run makes, and the calls it takes."""
    disk.fail(None)
    work(tmp_path / "whole", **how)
    return tree(tmp_path / "whole"), disk.calls


def must_be_whole_or_absent(folder: Path, expected: dict[str, bytes]) -> None:
    if is_store(folder):
        assert tree(folder) == expected
        open_store(folder, verify=True)


def test_pieces_become_one_log(tmp_path: Path) -> None:
    work(tmp_path / "store")
    log = open_store(tmp_path / "store", verify=True)
    assert log.action_set.ids.tolist() == ["a", "b", "zz", "é" * 9]
    taken = [piece.actions.vocabulary[piece.actions.codes] for piece in pieces()]
    assert log.action_set.decode(log.actions).tolist() == np.concatenate(taken).tolist()
    assert log.allowed is not None
    assert log.action_set.decode(log.allowed.indices).tolist() == np.concatenate(taken).tolist()
    assert log.episode_offsets.tolist() == [0, 1, 3, 4, 5, 7, 9, 10, 12, 15]
    assert log.episode_ids.tolist()[3:5] == ["e" * 10 + "0", "e" * 10 + "1"]
    assert log.splits is not None and log.splits.tolist() == ["test"] * 4 + ["train"] * 11
    rewards = np.concatenate([piece.rewards for piece in pieces()])
    assert log.rewards.tolist() == rewards.tolist()
    assert not (tmp_path / "store.draft").exists()


def test_a_kill_at_any_call_to_the_disk_changes_nothing(tmp_path: Path, disk: Disk) -> None:
    expected, calls = whole(tmp_path, disk, count=2)
    assert calls > 100
    for at in range(calls):
        folder = tmp_path / "killed"
        disk.fail(at)
        with pytest.raises(Kill):
            work(folder, count=2)
        must_be_whole_or_absent(folder, expected)
        disk.fail(None)
        work(folder, count=2)
        assert tree(folder) == expected, f"killed at call {at}"
        assert sorted(os.listdir(tmp_path)) == ["killed", "whole"], f"killed at call {at}"
        shutil.rmtree(folder)


@given(kills=st.lists(st.integers(0, 200), min_size=2, max_size=6), strings=st.booleans())
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_number_of_kills_changes_nothing(
    tmp_path: Path, disk: Disk, kills: list[int], strings: bool
) -> None:
    shutil.rmtree(tmp_path / "whole", ignore_errors=True)
    expected, _ = whole(tmp_path, disk, strings=strings)
    folder = tmp_path / "killed"
    shutil.rmtree(folder, ignore_errors=True)
    for at in kills:
        disk.fail(at)
        try:
            work(folder, strings=strings)
        except Kill:
            must_be_whole_or_absent(folder, expected)
    disk.fail(None)
    work(folder, strings=strings)
    assert tree(folder) == expected


def test_a_kill_while_a_store_is_replaced_loses_neither(tmp_path: Path, disk: Disk) -> None:
    expected, calls = whole(tmp_path, disk)
    folder = tmp_path / "store"
    disk.fail(None)
    earlier = StoreDraft.open(folder, {"other": "work"})
    earlier.append(pieces()[0], {})
    earlier.finish({})
    before = tree(folder)
    shutil.copytree(folder, tmp_path / "before")
    disk.fail(None)
    work(folder)
    for at in range(calls - 20, disk.calls, 3):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "before", folder)
        disk.fail(at)
        with pytest.raises(Kill):
            work(folder)
        if folder.exists():
            assert tree(folder) in (before, expected)
        else:
            assert tree(tmp_path / "store.draft" / "old") == before
        disk.fail(None)
        work(folder)
        assert tree(folder) == expected
        assert not (tmp_path / "store.draft").exists()


def test_other_work_brings_a_replaced_store_back_before_it_begins(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    work(folder)
    place = tmp_path / "store.draft"
    StoreDraft.open(folder, {"other": "work"})
    folder.rename(place / "old")  # killed between the two renames
    StoreDraft.open(folder, {"yet": "another"})
    open_store(folder, verify=True)


def test_a_full_disk_is_told_and_mended_by_the_same_call(tmp_path: Path, disk: Disk) -> None:
    expected, calls = whole(tmp_path, disk)
    for at in range(0, calls, 13):
        folder = tmp_path / "full"
        disk.fail(at, OSError(errno.ENOSPC, "No space left on device"))
        told = 0
        for _ in range(2):  # the second time nothing fails
            try:
                work(folder)
            except ValueError as error:
                told += 1
                assert "No space left on device" in str(error) and "make room" in str(error)
                assert str(tmp_path) in str(error)
                must_be_whole_or_absent(folder, expected)
        assert told == 1
        assert tree(folder) == expected
        shutil.rmtree(folder)


def test_an_append_that_failed_can_be_repeated_on_the_same_draft(
    tmp_path: Path, disk: Disk
) -> None:
    expected, _ = whole(tmp_path, disk)
    disk.fail(None)
    draft = StoreDraft.open(tmp_path / "store", ABOUT)
    for k, piece in enumerate(pieces()):
        for at in (1, 17, 30):
            disk.fail(at, OSError(errno.EIO, "Input/output error"))
            with pytest.raises(ValueError, match="Input/output error"):
                draft.append(piece, {"piece": k})
        disk.fail(None)
        draft.append(piece, {"piece": k})
    disk.fail(30, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ValueError, match="No space left"):
        draft.finish({"report": "short"})
    disk.fail(None)
    draft.finish({"report": "short"})
    assert tree(tmp_path / "store") == expected


def test_a_journal_that_ends_in_noise_is_cut(tmp_path: Path) -> None:
    work(tmp_path / "whole")
    for noise in (b"\0" * 600, b'{"note"', b"\n\n", b"[1", b"\xff\xfe\n", b"[" * 100_000 + b"\n"):
        folder = tmp_path / "store"
        draft = StoreDraft.open(folder, ABOUT)
        draft.append(pieces()[0], {"piece": 0})
        with (tmp_path / "store.draft" / "journal.jsonl").open("ab") as stream:
            stream.write(noise)
        with (tmp_path / "store.draft" / "store" / "rewards.bin").open("ab") as stream:
            stream.write(noise)
        assert StoreDraft.open(folder, ABOUT).done == 1
        work(folder)
        assert tree(folder) == tree(tmp_path / "whole")
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"about": ABOUT | {"n": 2}},
        {"about": {}},
        {"action_set": ActionSet(np.array(["a", "b", "zz", "é" * 9]))},
        {"observation_names": ["x", "y"]},
    ],
)
def test_other_work_begins_anew(tmp_path: Path, changes: dict[str, Any]) -> None:
    draft = StoreDraft.open(tmp_path / "store", ABOUT)
    draft.append(pieces()[0], {})
    again = StoreDraft.open(tmp_path / "store", ABOUT)
    assert (again.done, again.notes) == (1, [{}])
    arguments: dict[str, Any] = {"about": ABOUT} | changes
    anew = StoreDraft.open(tmp_path / "store", **arguments)
    assert (anew.done, anew.notes) == (0, [])
    assert StoreDraft.open(tmp_path / "store", **arguments).done == 0


@pytest.mark.parametrize("harm", ["other byte", "shorter", "gone"])
def test_a_draft_that_was_tampered_with_is_refused(tmp_path: Path, harm: str) -> None:
    draft = StoreDraft.open(tmp_path / "store", ABOUT)
    draft.append(pieces()[0], {})
    file = tmp_path / "store.draft" / "provisional" / "actions.bin"
    content = file.read_bytes()
    file.write_bytes(content[:-1] if harm == "shorter" else content[:-1] + b"\7")
    if harm == "gone":
        file.unlink()
    with pytest.raises(ValueError, match=r"actions\.bin: expected the 16 bytes that the journal"):
        StoreDraft.open(tmp_path / "store", ABOUT)


def test_a_draft_without_pieces_makes_no_store(tmp_path: Path) -> None:
    draft = StoreDraft.open(tmp_path / "store", ABOUT)
    with pytest.raises(ValueError, match="at least one episode that was kept, got none"):
        draft.finish({})
    assert not is_store(tmp_path / "store")


def test_what_json_cannot_say_is_refused(tmp_path: Path) -> None:
    for about in ({"x": float("nan")}, {"x": Path("y")}):
        with pytest.raises(ValueError, match="expected what JSON can say"):
            StoreDraft.open(tmp_path / "store", about)


HOLDER = """
import fcntl, sys
with open(sys.argv[1], "r+") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_another_process_is_kept_out(tmp_path: Path) -> None:
    StoreDraft.open(tmp_path / "store", ABOUT).append(pieces()[0], {})
    lock = tmp_path / "store.draft" / "lock"
    command = [sys.executable, "-I", "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another program is writing there"):
            StoreDraft.open(tmp_path / "store", ABOUT)
        holder.kill()
    assert StoreDraft.open(tmp_path / "store", ABOUT).done == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timestamps": None}, "got no column 'timestamps'"),
        ({"timestamps": np.arange(5, dtype=np.float64)}, "'timestamps': expected <i8, got <f8"),
        ({"episode_ids": np.arange(3)}, "'episode_ids': expected <U2, got <i8"),
        ({"actions": Ids(np.zeros(5, np.int64), np.array([4]))}, "of the kind str, got int64"),
        ({"rewards": np.full(5, np.nan, np.float32)}, "row 0: reward is not finite"),
        ({"episode_lengths": np.array([1, 2, 3])}, "must rise from 0 to 5"),
        ({"episode_ids": np.array(["s" * 1025] * 3)}, "at most 1024 characters, got 1025"),
        ({"allowed": (np.arange(6), Ids(np.zeros(5, np.int64), np.array(["a"])))}, "row 0: allow"),
    ],
)
def test_a_piece_that_does_not_fit_is_refused_and_changes_nothing(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    work(tmp_path / "whole")
    draft = StoreDraft.open(tmp_path / "store", ABOUT)
    draft.append(pieces()[0], {"piece": 0})
    with pytest.raises(ValueError, match=message) as caught:
        draft.append(replace(pieces()[1], **changes), {"piece": 1})
    assert f"{tmp_path / 'store'}, piece 1: " in str(caught.value)
    for k, piece in enumerate(pieces()[1:], 1):
        draft.append(piece, {"piece": k})
    draft.finish({"report": "short"})
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")


def test_pieces_of_other_width_are_refused(tmp_path: Path) -> None:
    draft = StoreDraft.open(tmp_path / "store", ABOUT)
    draft.append(pieces()[0], {})
    wide = np.zeros((5, 3), np.float32)
    with pytest.raises(ValueError, match="expected observations of 2 numbers, got 3"):
        draft.append(replace(pieces()[1], observations=wide, next_observations=wide), {})


def test_a_given_catalogue_stands_as_it_is(tmp_path: Path) -> None:
    ids = np.array(["zz", "never", "é" * 9, "b", "a"])
    features = np.arange(10, dtype=np.float32).reshape(5, 2)
    actions = ActionSet(ids, ("1", "2", "3", "4", "5"), features, ("f", "g"))
    draft = StoreDraft.open(
        tmp_path / "store", ABOUT, action_set=actions, observation_names=("x", "y")
    )
    for piece in pieces():
        draft.append(piece, {})
    draft.finish({})
    log = open_store(tmp_path / "store", verify=True)
    assert log.action_set.same_as(actions) and log.action_set.names == actions.names
    np.testing.assert_array_equal(log.action_set.features, features)
    assert (log.action_set.feature_names, log.observation_names) == (("f", "g"), ("x", "y"))
    work(tmp_path / "other")
    other = open_store(tmp_path / "other")
    assert log.action_set.decode(log.actions).tolist() == (
        other.action_set.decode(other.actions).tolist()
    )
    unknown = StoreDraft.open(tmp_path / "third", ABOUT, action_set=ActionSet(ids[:3]))
    with pytest.raises(ValueError, match="piece 0: action 'b' in row 0 is not one of the 3"):
        unknown.append(pieces()[0], {})


def test_the_journal_has_a_line_a_piece(tmp_path: Path) -> None:
    draft = StoreDraft.open(tmp_path / "store", ABOUT)
    for k, piece in enumerate(pieces()):
        draft.append(piece, {"piece": k})
    lines = (tmp_path / "store.draft" / "journal.jsonl").read_text().splitlines()
    header, *rest = map(json.loads, lines)
    assert header["about"] == ABOUT
    assert [line["note"] for line in rest] == [{"piece": 0}, {"piece": 1}, {"piece": 2}]
    assert [line["columns"]["rewards"][1] for line in rest] == [16, 36, 60]
    assert rest[-1]["tally"]["counts"]["rows"] == 15
