"""What a conversion writes kept episodes to: a store, or a folder of canonical parquet."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl
from jaxtyping import Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks
from offline_actrep.files.artifact import DONE, is_whole, read_json
from offline_actrep.files.manifest import Spread, Statistics, is_store, read_manifest
from offline_actrep.files.moments import Moments
from offline_actrep.files.parquet import read_action_table, write_action_table, write_log
from offline_actrep.files.parts import Parts
from offline_actrep.files.place import told
from offline_actrep.files.store import Piece, StoreDraft, open_store

ROWS = "rows"
"""Folder of a parquet result that holds the log."""
ACTIONS = "actions.parquet"
_KIND = "converted log"


class AbstractOutput(ABC):
    """Pieces on their way to a result.

    Attributes:
        notes: of the pieces that are safe, of this run or of one before it.
    """

    notes: list[dict[str, Any]]

    @abstractmethod
    def append(self, piece: Piece, note: Mapping[str, Any]) -> None:
        """One more piece, safe on the disk when this returns."""

    @abstractmethod
    def finish(self, extra: Mapping[str, Any]) -> None:
        """Puts the result in its place; there is at least one piece."""

    @staticmethod
    @abstractmethod
    def about(target: Path) -> dict[str, Any] | None:
        """What the result in the target was made from, or None where there is none."""

    @staticmethod
    @abstractmethod
    def statistics(target: Path) -> Statistics:
        """Of the observations and rewards of a result."""

    @staticmethod
    @abstractmethod
    def actions(target: Path) -> tuple[ActionSet, Int64[np.ndarray, " A"]]:
        """The catalogue of a result, and the rows of every action."""


@final
class StoreOutput(AbstractOutput):
    """Appends to a store."""

    def __init__(
        self,
        target: Path,
        about: Mapping[str, Any],
        action_set: ActionSet | None,
        observation_names: tuple[str, ...],
    ) -> None:
        self._draft = StoreDraft.open(
            target, about, action_set=action_set, observation_names=observation_names
        )

    @property
    def notes(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Of the pieces that are safe."""
        return self._draft.notes

    def append(self, piece: Piece, note: Mapping[str, Any]) -> None:
        """One more piece."""
        self._draft.append(piece, note)

    def finish(self, extra: Mapping[str, Any]) -> None:
        """The store in its place."""
        self._draft.finish(extra)

    @staticmethod
    def about(target: Path) -> dict[str, Any] | None:
        """From the manifest."""
        return read_manifest(target).about if is_store(target) else None

    @staticmethod
    def statistics(target: Path) -> Statistics:
        """From the manifest."""
        return read_manifest(target).statistics

    @staticmethod
    def actions(target: Path) -> tuple[ActionSet, Int64[np.ndarray, " A"]]:
        """Counted over the mapped column."""
        log = open_store(target)
        counts = np.zeros(len(log.action_set), np.int64)
        for rows in blocks(len(log)):
            counts += np.bincount(log.actions[rows], minlength=len(counts))
            log.release()
        return log.action_set, counts


@final
class ParquetOutput(AbstractOutput):
    """Writes a file a piece."""

    def __init__(
        self,
        target: Path,
        about: Mapping[str, Any],
        action_set: ActionSet | None,
        observation_names: tuple[str, ...],
    ) -> None:
        self._action_set, self._names = action_set, observation_names
        with told(target):
            again = self.about(target) is not None  # what is there is to be made anew
            self._parts = Parts(target, _KIND, about, sources={}, resume=not again)
            (self._parts.folder / ROWS).mkdir(exist_ok=True)

    @property
    def notes(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Of the files that are safe."""
        return [part["note"] for part in self._parts.done]

    def append(self, piece: Piece, note: Mapping[str, Any]) -> None:
        """One more file."""
        number = len(self._parts.done)
        file = self._parts.folder / ROWS / f"part-{number:06d}.parquet"
        moments = {
            "observations": Moments.of(piece.observations).to_json(),
            "rewards": Moments.of(piece.rewards[:, None]).to_json(),
        }
        with told(self._parts.target):
            write_log(_log_of(piece, self._names), file)
            with file.open("rb") as written:
                os.fsync(written.fileno())
            self._parts.add({"note": note, "moments": moments})

    def finish(self, extra: Mapping[str, Any]) -> None:
        """The folder in its place, with the catalogue beside the log."""
        folder = self._parts.folder
        with told(self._parts.target):
            wanted = {f"part-{number:06d}.parquet" for number in range(len(self._parts.done))}
            for stray in (folder / ROWS).iterdir():  # of a run that was killed
                if stray.name not in wanted:
                    stray.unlink()
            actions = self._action_set or ActionSet.of(_logged(folder / ROWS))
            write_action_table(actions, folder / ACTIONS)
            moments: dict[str, Moments] = {}
            for part in self._parts.done:
                for name, found in part["moments"].items():
                    one = Moments.from_json(found)
                    moments[name] = moments[name].joined(one) if name in moments else one
            spreads = {
                name: {kind: getattr(one, kind).tolist() for kind in Spread.model_fields}
                for name, one in moments.items()
            }
            self._parts.finish({"statistics": spreads, **extra})

    @staticmethod
    def about(target: Path) -> dict[str, Any] | None:
        """From `artifact.json`."""
        found = read_json(target / DONE) if is_whole(target) else {}
        is_ours = isinstance(found, dict) and found.get("kind") == _KIND
        return found["about"] if is_ours else None

    @staticmethod
    def statistics(target: Path) -> Statistics:
        """From `artifact.json`."""
        return Statistics.model_validate(read_json(target / DONE)["files"]["statistics"])

    @staticmethod
    def actions(target: Path) -> tuple[ActionSet, Int64[np.ndarray, " A"]]:
        """Counted over the files."""
        action_set = read_action_table(target / ACTIONS)
        found = _scan(target / ROWS).group_by("action").len().collect(engine="streaming")
        counts = np.zeros(len(action_set), np.int64)
        counts[action_set.encode(found["action"].to_numpy())] = found["len"].to_numpy()
        return action_set, counts


OUTPUTS: dict[str, type[StoreOutput] | type[ParquetOutput]] = {
    "store": StoreOutput,
    "parquet": ParquetOutput,
}
"""What can be written, by name."""


def _scan(folder: Path) -> pl.LazyFrame:
    files = sorted(folder.glob("*.parquet"))
    return pl.scan_parquet(files, glob=False, missing_columns="insert")


def _logged(folder: Path) -> np.ndarray:
    """The distinct ids taken or allowed anywhere in the files."""
    frame = _scan(folder)
    parts = [frame.select("action")]
    if "allowed_actions" in frame.collect_schema():
        parts.append(frame.select(pl.col("allowed_actions").explode().alias("action")))
    return pl.concat(parts).drop_nulls().unique().collect(engine="streaming")["action"].to_numpy()


def _log_of(piece: Piece, names: tuple[str, ...]) -> Log:
    seen = [piece.actions.vocabulary]
    if piece.allowed is not None:
        seen.append(piece.allowed[1].vocabulary)
    actions = ActionSet.of(np.concatenate(seen))
    allowed = None
    if piece.allowed is not None:
        allowed = AllowedActions(piece.allowed[0], piece.allowed[1].encode(actions)[0])
    return Log(
        action_set=actions,
        observations=piece.observations,
        actions=piece.actions.encode(actions)[0],
        rewards=piece.rewards,
        terminated=piece.terminated,
        truncated=piece.truncated,
        next_observations=piece.next_observations,
        has_next=piece.has_next,
        episode_offsets=np.append(0, np.cumsum(piece.episode_lengths)).astype(np.int64),
        episode_ids=piece.episode_ids,
        action_probabilities=piece.action_probabilities,
        allowed=allowed,
        timestamps=piece.timestamps,
        splits=piece.splits,
        observation_names=names,
    )
