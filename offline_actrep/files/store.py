"""The log as a store: memory-mapped columns that open in milliseconds whatever their size."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks, release
from offline_actrep.files.artifact import sha256
from offline_actrep.files.columns import Ids
from offline_actrep.files.draft import StoreDraft as StoreDraft
from offline_actrep.files.growing import plain
from offline_actrep.files.manifest import Manifest, column_file, read_manifest, refusal
from offline_actrep.files.manifest import is_store as is_store
from offline_actrep.files.moments import Moments
from offline_actrep.files.pieces import Piece as Piece
from offline_actrep.files.place import remove_spent

_ROWS_OF_A_PIECE = 1 << 18


def open_store(folder: str | Path, *, verify: bool = False) -> Log:
    """A store as a log whose columns are read from the disk as they are used.

    Sizes and types are held against the manifest, rows were checked when they were written. A
    pass over all rows, or many minibatches of a log that is larger than memory, should call
    `Log.release` from time to time.

    Args:
        folder: what `write_store` or `convert` wrote.
        verify: also read everything: SHA-256 of every file, every rule of `Log`, the statistics.
            Do this once with a store that comes from somebody else.

    Raises:
        ValueError: the store is not as it was written; says file, what was expected, what there
            is, how to mend it.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    columns = {name: _mapped(folder, name, manifest) for name in manifest.columns}
    if verify:
        _verify_files(folder, manifest, columns)
    catalogue = {name: columns.pop(name) for name in list(columns) if name.startswith("action_")}
    probabilities = catalogue.pop("action_probabilities", None)
    try:
        action_set = _action_set(catalogue, manifest)
        allowed = None
        if "allowed_offsets" in columns:
            offsets, indices = columns.pop("allowed_offsets"), columns.pop("allowed_indices")
            allowed = AllowedActions(offsets, indices, checked=not verify)
        log = Log(
            **columns,
            action_set=action_set,
            action_probabilities=probabilities,
            allowed=allowed,
            observation_names=tuple(manifest.observation_names),
            checked=not verify,
        )
    except ValueError as error:
        raise refusal(folder, "the columns of a log", str(error)) from error
    if verify:
        _verify_counts(folder, manifest, log)
    return log


def verify_store(folder: str | Path) -> None:
    """Reads all of a store at constant memory, and holds it against its manifest.

    Raises:
        ValueError: as `open_store` with `verify`.
    """
    open_store(folder, verify=True)


def holds_store(folder: str | Path, about: Mapping[str, Any]) -> bool:
    """Whether a store of this work is in its place, so that nothing is left to do.

    What a kill after the very last step left of its draft is removed.

    Raises:
        ValueError: there is a store, and its manifest is not as it was written.
    """
    target = Path(os.path.realpath(folder))
    if not is_store(target) or read_manifest(target).about != plain(about):
        return False
    remove_spent(target)
    return True


def write_store(log: Log, folder: str | Path, about: Mapping[str, Any] | None = None) -> None:
    """A log as a store, which appears whole or not at all; a store that is there is replaced.

    Args:
        log: opened again, it is equal.
        folder: its folder is made where there is none.
        about: goes into the manifest: what the log was made from.

    Raises:
        ValueError: the folder holds something else, or the disk is full.
    """
    if log.observation_size == 0:
        raise ValueError("expected observations of at least one number, got none")
    about = {"fingerprint": log.fingerprint} | dict(about or {})
    draft = StoreDraft.open(
        folder, about, action_set=log.action_set, observation_names=log.observation_names
    )
    first = sum(note["episodes"] for note in draft.notes)
    while first < log.n_episodes:
        end = log.episode_offsets[first] + _ROWS_OF_A_PIECE
        last = int(np.searchsorted(log.episode_offsets, end, side="right")) - 1
        last = max(last, first + 1)
        draft.append(_piece(log, first, last), {"episodes": last - first})
        log.release()
        first = last
    draft.finish({})


def _piece(log: Log, first: int, last: int) -> Piece:
    """Episodes first..last-1 of a log."""
    offsets = log.episode_offsets[first : last + 1]
    rows = slice(int(offsets[0]), int(offsets[-1]))
    allowed = None
    if log.allowed is not None:
        part = log.allowed.between(rows.start, rows.stop)
        allowed = (part.offsets, Ids(part.indices, log.action_set.ids))

    def maybe(column: np.ndarray | None) -> np.ndarray | None:
        return None if column is None else column[rows]

    return Piece(
        observations=log.observations[rows],
        actions=Ids(log.actions[rows], log.action_set.ids),
        rewards=log.rewards[rows],
        terminated=log.terminated[rows],
        truncated=log.truncated[rows],
        next_observations=log.next_observations[rows],
        has_next=log.has_next[rows],
        episode_lengths=np.diff(offsets),
        episode_ids=log.episode_ids[first:last],
        action_probabilities=maybe(log.action_probabilities),
        allowed=allowed,
        timestamps=maybe(log.timestamps),
        splits=maybe(log.splits),
    )


def _mapped(folder: Path, name: str, manifest: Manifest) -> np.ndarray:
    """A column of a store, read-only."""
    dtype, shape = np.dtype(manifest.columns[name].dtype), manifest.shape(name)
    path = column_file(folder, name)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(handle, "rb") as file:
            return np.asarray(np.memmap(file, dtype, "r", shape=shape))
    except (OSError, ValueError) as error:
        raise refusal(path, f"{dtype.str} of shape {list(shape)}", str(error)) from error


def _action_set(columns: Mapping[str, np.ndarray], manifest: Manifest) -> ActionSet:
    for column in columns.values():
        _check_letters(column)
    names, features = columns.get("action_names"), columns.get("action_features")
    return ActionSet(
        ids=np.array(columns["action_ids"]),
        names=() if names is None else tuple(names.tolist()),
        features=None if features is None else np.array(features),
        feature_names=tuple(manifest.feature_names),
    )


def _check_letters(column: np.ndarray) -> None:
    """Refuses numbers that stand for no letter; Python cannot make strings of them."""
    if column.dtype.kind == "U":
        for rows in blocks(len(column)):
            if column[rows].view(np.uint32).max() > 0x10FFFF:
                raise ValueError(f"a string with {column[rows].view(np.uint32).max():#x}")
            release(column)


def _verify_files(folder: Path, manifest: Manifest, columns: Mapping[str, np.ndarray]) -> None:
    for name, column in columns.items():
        path, expected = column_file(folder, name), manifest.columns[name].sha256
        found = sha256(path)
        if found != expected:
            raise refusal(path, f"bytes of SHA-256 {expected}", found)
        try:
            _check_letters(column)
        except ValueError as error:
            raise refusal(path, "letters", str(error)) from error
        if column.dtype == bool:
            for rows in blocks(len(column)):
                if column[rows].view(np.uint8).max() > 1:
                    raise refusal(path, "bytes of 0 and 1", "others")
                release(column)


def _verify_counts(folder: Path, manifest: Manifest, log: Log) -> None:
    """Counts and statistics, which are no column's."""
    counts = dict.fromkeys(("terminated", "truncated", "known_next"), 0)
    spreads: dict[str, Moments] = {}
    for rows in blocks(len(log)):
        counts["terminated"] += int(log.terminated[rows].sum())
        counts["truncated"] += int(log.truncated[rows].sum())
        counts["known_next"] += int(log.has_next[rows].sum())
        parts = {"observations": log.observations[rows], "rewards": log.rewards[rows, None]}
        for name, part in parts.items():
            found = Moments.of(part)
            spreads[name] = spreads[name].joined(found) if name in spreads else found
        log.release()
    for name, count in counts.items():
        stated = getattr(manifest.counts, name)
        if stated != count:
            raise refusal(folder, f"{count} under 'counts.{name}'", str(stated))
    for name, found in spreads.items():
        for kind, numbers in getattr(manifest.statistics, name):
            slack = 1e-6 * np.maximum(np.abs(found.min), np.abs(found.max)) + 1e-30
            if not (np.abs(getattr(found, kind) - numbers) <= slack).all():
                raise refusal(folder, f"the columns' 'statistics.{name}.{kind}'", "others")
