"""A log between its file and its noun: columns as arrays, of which no promise is made yet."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.files.faults import Labels, label, refusal
from offline_actrep.files.table import observation_names


@dataclass(frozen=True, eq=False)
class Ids:
    """A column of ids: row n holds `vocabulary[codes[n]]`; the vocabulary holds no others."""

    codes: Int64[np.ndarray, " N"]
    vocabulary: np.ndarray

    def encode(
        self, action_set: ActionSet
    ) -> tuple[Int64[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
        """Dense action indices, and which ids are known (index 0 stands where one is not)."""
        indices, known = action_set.find(self.vocabulary)
        return indices[self.codes], known[self.codes]

    def show(self, n: int) -> str:
        """The id of row n, quoted where it is a string."""
        return repr(self.vocabulary[self.codes[n]].item())


@dataclass(frozen=True, eq=False)
class Columns:
    """A log's columns as arrays, free of nulls and of odd lengths; no other rule was asked yet.

    Attributes:
        labels: the user's names of the columns that are there.
        next_given: `[N]` rows whose next observation the file states; elsewhere
            `next_observations` means nothing.
        allowed: CSR offsets `[N + 1]` and the ids they cut, or None.
        The rest: as in `Log`, with ids as logged.
    """

    labels: Labels
    episode_ids: Ids
    steps: Int64[np.ndarray, " N"]
    observations: Float32[np.ndarray, "N S"]
    actions: Ids
    rewards: Float32[np.ndarray, " N"]
    terminated: Bool[np.ndarray, " N"]
    truncated: Bool[np.ndarray, " N"]
    next_observations: Float32[np.ndarray, "N S"]
    next_given: Bool[np.ndarray, " N"]
    action_probabilities: Float64[np.ndarray, " N"] | None
    allowed: tuple[Int64[np.ndarray, " N_plus_1"], Ids] | None
    timestamps: np.ndarray | None
    splits: np.ndarray | None
    observation_names: tuple[str, ...]

    @cached_property
    def firsts(self) -> Bool[np.ndarray, " N"]:
        """Whether another episode than in the row above begins here."""
        codes = self.episode_ids.codes
        return np.concatenate([[True], codes[1:] != codes[:-1]])

    @cached_property
    def lasts(self) -> Bool[np.ndarray, " N"]:
        """Whether the row below is of another episode, or there is none."""
        return np.append(self.firsts[1:], True)


def to_columns(table: pa.Table, labels: Labels, file: Path) -> Columns:
    """A table of canonical columns without value faults, as arrays.

    Raises:
        ValueError: the metadata of `file`, the first of the log, names more or fewer
            observations than there are.
    """

    def maybe(field: str) -> np.ndarray | None:
        return to_array(table[field]) if field in labels else None

    observations = to_matrix(table["observation"], usual_length(table["observation"]))
    names = observation_names(table)
    if names and len(names) != observations.shape[1]:
        raise refusal(
            file,
            label(labels["observation"]),
            f"{len(names)} numbers, as many as its metadata names",
            f"{observations.shape[1]}",
            "write the file anew with a name for every number, or with none",
        )
    truncated, probabilities = maybe("truncated"), maybe("action_probability")
    following, given = observations, np.zeros(len(observations), bool)
    if "next_observation" in labels:
        given = table["next_observation"].is_valid().to_numpy()
        following = to_matrix(table["next_observation"], observations.shape[1])
    allowed = None
    if "allowed_actions" in labels:
        lists = table["allowed_actions"].combine_chunks()
        offsets = np.append(0, np.cumsum(lists.value_lengths().to_numpy())).astype(np.int64)
        allowed = (offsets, to_ids(lists.flatten()))
    return Columns(
        labels=labels,
        episode_ids=to_ids(table["episode_id"]),
        steps=to_array(table["step"]),
        observations=observations,
        actions=to_ids(table["action"]),
        rewards=to_array(table["reward"]),
        terminated=to_array(table["terminated"]),
        truncated=np.zeros(len(observations), bool) if truncated is None else truncated,
        next_observations=following,
        next_given=given,
        action_probabilities=probabilities,
        allowed=allowed,
        timestamps=maybe("timestamp"),
        splits=maybe("split"),
        observation_names=names,
    )


def logged_actions(columns: Columns) -> ActionSet:
    """The distinct ids taken or allowed anywhere in the log."""
    seen = [columns.actions.vocabulary]
    if columns.allowed is not None:
        seen.append(columns.allowed[1].vocabulary)
    return ActionSet.of(np.concatenate(seen))


def to_log(columns: Columns, action_set: ActionSet) -> Log:
    """Columns that break no rule, as a log."""
    starts = np.flatnonzero(columns.firsts)
    own, given = columns.observations, columns.next_given
    following = np.where(columns.lasts[:, None], own, np.append(own[1:], own[-1:], axis=0))
    following[given] = columns.next_observations[given]
    allowed = None
    if columns.allowed is not None:
        offsets, ids = columns.allowed
        allowed = AllowedActions(offsets, ids.encode(action_set)[0])
    return Log(
        action_set=action_set,
        observations=own,
        actions=columns.actions.encode(action_set)[0],
        rewards=columns.rewards,
        terminated=columns.terminated,
        truncated=columns.truncated,
        next_observations=following,
        has_next=given | ~columns.lasts,
        episode_offsets=np.append(starts, len(own)).astype(np.int64),
        episode_ids=columns.episode_ids.vocabulary[columns.episode_ids.codes[starts]],
        action_probabilities=columns.action_probabilities,
        allowed=allowed,
        timestamps=columns.timestamps,
        splits=columns.splits,
        observation_names=columns.observation_names,
    )


def to_ids(column: pa.ChunkedArray | pa.Array) -> Ids:
    """A column of ids without nulls as codes into its distinct ids."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = column.dictionary_encode()
    if pa.types.is_integer(column.type):
        vocabulary = coded.dictionary.to_numpy().astype(np.int64)
    else:
        vocabulary = np.array(coded.dictionary.to_pylist(), np.str_)
    return Ids(coded.indices.to_numpy().astype(np.int64), vocabulary)


def to_array(column: pa.ChunkedArray) -> np.ndarray:
    """A column without nulls as an array of its own; strings as numpy's."""
    if pa.types.is_large_string(column.type):
        ids = to_ids(column)
        return ids.vocabulary[ids.codes]
    return np.array(column.to_numpy())


def to_matrix(column: pa.ChunkedArray, size: int) -> Float32[np.ndarray, "N {size}"]:
    """A column of lists of `size` numbers; zeros where a list is null."""
    lists = column.combine_chunks()
    if not lists.null_count:
        return np.array(lists.flatten().to_numpy().reshape(-1, size))
    matrix = np.zeros((len(lists), size), np.float32)
    matrix[lists.is_valid().to_numpy(zero_copy_only=False)] = (
        lists.flatten().to_numpy().reshape(-1, size)
    )
    return matrix


def usual_length(column: pa.ChunkedArray) -> int:
    """The commonest length of the lists, at least 1."""
    lengths = column.combine_chunks().value_lengths().drop_null().to_numpy()
    return max(1, int(np.bincount(lengths).argmax())) if len(lengths) else 1
