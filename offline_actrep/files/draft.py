"""A store while it is written: pieces are appended, and a kill costs no more than the last.

The draft lies beside the store to be, under its name with `.draft`:

    journal.jsonl   what the store is made from; then a line a piece: rows, sizes, digests, note
    store/          columns whose bytes are final; at the end all columns and the manifest
    provisional/    columns that are known only at the end: actions as codes of ids in the order
                    of their first appearance, strings as wide as the longest of each piece
    old/            the store that was there before, between two renames
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.files.growing import Grown, Journal, plain, read_parts, write_whole
from offline_actrep.files.manifest import FORMAT, MANIFEST, VERSION, column_file, render_manifest
from offline_actrep.files.pieces import (
    CODE,
    CODED,
    Codes,
    Piece,
    Tally,
    catalogue_columns,
    digest_of,
    narrow,
)
from offline_actrep.files.place import Place, told


@final
class StoreDraft:
    """A store that grows by pieces; made by `StoreDraft.open`.

    Attributes:
        folder: where the store will be.
        done: pieces that are safe.
        notes: the note of each.
    """

    def __init__(
        self,
        place: Place,
        about: dict[str, Any],
        action_set: ActionSet | None,
        observation_names: list[str],
    ) -> None:
        self.folder = place.target
        self.notes: list[dict[str, Any]] = []
        self._place = place
        self._about = about
        self._observation_names = observation_names
        self._codes = Codes(action_set)
        self._grown: dict[str, Grown] = {}
        self._dtypes: dict[str, list[tuple[str, int]]] = {}  # of every piece; bytes up to its end
        self._tally: Tally | None = None
        self._moving = False
        self._journal = Journal(place.journal)
        header = {
            "format": "offline_actrep draft 1",
            "about": about,
            "catalogue": None if action_set is None else digest_of(action_set),
            "observation_names": observation_names,
        }
        if self._journal.header == header and place.store.is_dir():
            self._take_up()
        else:
            place.begin()
            self._journal.begin(header)
            place.sync()

    @classmethod
    def open(
        cls,
        folder: str | Path,
        about: Mapping[str, Any],
        *,
        action_set: ActionSet | None = None,
        observation_names: Sequence[str] = (),
    ) -> "StoreDraft":
        """Takes up the draft of the same work, or begins anew.

        Args:
            folder: where the store will be; a store that is there is replaced by `finish`.
            about: all that decides what the store will hold, as JSON can say it. A draft is
                taken up when `about`, the catalogue and the names are the same.
            action_set: the catalogue, or None for the ids of the pieces.
            observation_names: a name a column of the observations, or none.

        Raises:
            ValueError: the folder holds something that is not a store, another program is
                writing it, or the pieces of the draft are no longer what was written.
        """
        target = Path(os.path.realpath(folder))
        with told(target):
            return cls(Place(target), plain(about), action_set, list(observation_names))

    @property
    def done(self) -> int:
        """Pieces that are safe."""
        return len(self.notes)

    def append(self, piece: Piece, note: Mapping[str, Any]) -> None:
        """One more piece, checked, and safe on the disk when this returns.

        A call that fails leaves the draft as it was.

        Raises:
            ValueError: the piece breaks a rule of `Log`, has an action that the catalogue lacks,
                has other columns or types than the pieces before, or the disk is full.
        """
        try:
            log, new = self._checked(piece)
            columns = self._columns(log, new)
            self._check_alike(columns)
        except ValueError as error:
            raise ValueError(f"{self.folder}, piece {self.done}: {error}") from error
        tally = Tally.of(log)
        if self._tally is not None:
            tally = self._tally.joined(tally)
        line = {"note": plain(note), "tally": tally.to_json()}
        grown = {}
        with told(self.folder):
            for name, column in columns.items():
                file = self._place.file(name, column.dtype.str)
                grown[name] = self._grown.get(name, Grown.nothing()).grow(file, column)
            if not self.done:
                self._place.sync()
            line["columns"] = {
                name: [column.dtype.str, grown[name].size, grown[name].sha256]
                for name, column in columns.items()
            }
            self._journal.add(line)
        self._grown = grown
        self._codes.keep(new)
        self._remember(line)

    def finish(self, extra: Mapping[str, Any]) -> None:
        """Makes the store of the pieces and puts it in its place.

        A call that is cut short can be repeated, here or after `open`.

        Args:
            extra: goes into the manifest.

        Raises:
            ValueError: there is no piece, or the disk is full.
        """
        if self._tally is None:
            raise ValueError(
                f"{self.folder}: expected at least one episode that was kept, got none. To mend "
                "it: look at what was refused, and why."
            )
        with told(self.folder):
            if not (self._moving and self._place.is_spent):
                self._settle_all(extra)
            self._moving = True
            self._place.move_in()

    # --- a piece as columns

    def _checked(self, piece: Piece) -> tuple[Log, dict[Any, int]]:
        """The piece as a log of provisional actions, which checks it; codes of new ids."""
        columns = [piece.actions, *([] if piece.allowed is None else [piece.allowed[1]])]
        codes, new = self._codes.encode(columns)
        log = Log(
            action_set=self._codes.as_actions(new),
            observations=piece.observations,
            actions=codes[0],
            rewards=piece.rewards,
            terminated=piece.terminated,
            truncated=piece.truncated,
            next_observations=piece.next_observations,
            has_next=piece.has_next,
            episode_offsets=np.append(0, np.cumsum(piece.episode_lengths)).astype(np.int64),
            episode_ids=piece.episode_ids,
            action_probabilities=piece.action_probabilities,
            allowed=None if piece.allowed is None else AllowedActions(piece.allowed[0], codes[1]),
            timestamps=piece.timestamps,
            splits=piece.splits,
            observation_names=tuple(self._observation_names),
        )
        return log, new

    def _columns(self, log: Log, new: dict[Any, int]) -> dict[str, np.ndarray]:
        """What a piece adds to each file of the draft."""
        before = self._tally.counts if self._tally else {"rows": 0, "allowed": 0}
        cut = 1 if self._tally else 0  # the first offset stands there already
        columns: dict[str, np.ndarray | None] = {
            "observations": log.observations,
            "actions": log.actions.astype(CODE),
            "rewards": log.rewards,
            "terminated": log.terminated,
            "truncated": log.truncated,
            "next_observations": log.next_observations,
            "has_next": log.has_next,
            "episode_offsets": log.episode_offsets[cut:] + before["rows"],
            "episode_ids": log.episode_ids,
            "action_probabilities": log.action_probabilities,
            "timestamps": log.timestamps,
            "splits": log.splits,
        }
        if self._codes.given is None:
            columns["vocabulary"] = self._codes.column(new)
        if log.allowed is not None:
            columns["allowed_offsets"] = log.allowed.offsets[cut:] + before["allowed"]
            columns["allowed_indices"] = log.allowed.indices.astype(CODE)
        return {name: narrow(name, one) for name, one in columns.items() if one is not None}

    def _check_alike(self, columns: Mapping[str, np.ndarray]) -> None:
        """Refuses a piece of other columns or types than those before it."""
        if self._tally is None:
            return
        apart = sorted(columns.keys() ^ self._dtypes.keys())
        if apart:
            here = "the column" if apart[0] in columns else "no column"
            raise ValueError(f"expected the columns of the first piece, got {here} {apart[0]!r}")
        for name, column in columns.items():
            first = self._dtypes[name][0][0]
            if column.dtype.str != first and not column.dtype.str[:2] == first[:2] == "<U":
                raise ValueError(f"column {name!r}: expected {first}, got {column.dtype.str}")
        size, expected = columns["observations"].shape[1], len(self._tally.observations.mean)
        if size != expected:
            raise ValueError(f"expected observations of {expected} numbers, got {size}")

    def _remember(self, line: Mapping[str, Any]) -> None:
        self.notes.append(line["note"])
        self._tally = Tally.from_json(line["tally"])
        for name, (dtype, size, _) in line["columns"].items():
            self._dtypes.setdefault(name, []).append((dtype, size))

    def _take_up(self) -> None:
        (self._place.store / MANIFEST).unlink(missing_ok=True)
        for line in self._journal.lines:
            self._remember(line)
        last = self._journal.lines[-1]["columns"] if self._journal.lines else {}
        self._journal.lines = []
        for name, (dtype, size, sha256) in last.items():
            file = self._place.file(name, dtype)
            grown = Grown.take_up(file, size, sha256)
            if grown is None:
                raise ValueError(
                    f"{file}: expected the {size:,} bytes that the journal tells of, got others. "
                    f"To mend it: remove {self._place.root} and run the same command again."
                )
            self._grown[name] = grown
        entries = [one for part in self._parts("vocabulary") for one in part.tolist()]
        self._codes.keep({entry: code for code, entry in enumerate(entries)})

    # --- what is known only at the end

    def _settle_all(self, extra: Mapping[str, Any]) -> None:
        """Writes what the store still lacks; the manifest is the last."""
        store = self._place.store
        (store / MANIFEST).unlink(missing_ok=True)
        catalogue, code_to_index = self._codes.settled()
        names = [name for name in self._dtypes if name != "vocabulary"]
        columns = {name: self._settle(name, code_to_index) for name in names}
        for name, column in catalogue_columns(catalogue).items():
            sha256 = write_whole(column_file(store, name), [column])
            columns[name] = {"dtype": column.dtype.str, "sha256": sha256}
        for stray in set(store.iterdir()) - {column_file(store, name) for name in columns}:
            stray.unlink()
        text = render_manifest(store, self._manifest(catalogue, columns, extra))
        write_whole(store / MANIFEST, [np.frombuffer(text, np.uint8)])
        self._place.sync()

    def _settle(self, name: str, code_to_index: Int64[np.ndarray, " A"]) -> dict[str, str]:
        """A column in its last form: type and SHA-256 of its file."""
        dtypes = [dtype for dtype, _ in self._dtypes[name]]
        file = column_file(self._place.store, name)
        if self._place.file(name, dtypes[0]) == file:
            return {"dtype": dtypes[0], "sha256": self._grown[name].sha256}
        if name in CODED:
            codes = (code_to_index[part] for part in self._parts(name))
            return {"dtype": "<i8", "sha256": write_whole(file, codes)}
        widest = max(dtypes, key=lambda dtype: int(dtype[2:]))
        strings = (part.astype(widest) for part in self._parts(name))
        return {"dtype": widest, "sha256": write_whole(file, strings)}

    def _parts(self, name: str) -> Iterator[np.ndarray]:
        """A provisional column, some rows at a time, each piece in its own type."""
        start = 0
        for dtype, stop in self._dtypes.get(name, []):
            file = self._place.file(name, dtype)
            for part in read_parts(file, stop - start, start, np.dtype(dtype).itemsize):
                yield np.frombuffer(part, dtype)
            start = stop

    def _manifest(
        self, catalogue: ActionSet, columns: Mapping[str, Any], extra: Mapping[str, Any]
    ) -> dict[str, Any]:
        assert self._tally is not None
        spreads = {"observations": self._tally.observations, "rewards": self._tally.rewards}
        counts = self._tally.counts | {
            "actions": len(catalogue),
            "observation_size": len(self._tally.observations.mean),
            "features": 0 if catalogue.features is None else catalogue.features.shape[1],
        }
        return {
            "format": FORMAT,
            "version": VERSION,
            "counts": counts,
            "observation_names": self._observation_names,
            "feature_names": list(catalogue.feature_names),
            "columns": dict(columns),
            "statistics": {
                name: {kind: getattr(one, kind).tolist() for kind in ("mean", "std", "min", "max")}
                for name, one in spreads.items()
            },
            "about": self._about,
            "extra": plain(extra),
        }
