"""Where a store grows before it takes its name: a folder beside it that one process holds."""

import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from offline_actrep.files.alone import hold
from offline_actrep.files.growing import sync_folder
from offline_actrep.files.manifest import column_file, is_store

JOURNAL = "journal.jsonl"
REWRITTEN = ("actions", "allowed_indices", "vocabulary")
"""Columns that get other bytes at the end."""
STORE_DRAFT = frozenset({JOURNAL, "lock", "store", "provisional", "old"})
"""All that lies in the folder."""


@final
class Place:
    """The folder of a draft; no other process can have it at the same time.

    Attributes:
        target: where the store will be.
        root: the draft's folder, beside it.

    Raises:
        ValueError: the target holds something that is not a store, the folder something that is
            not a draft, or another process has it.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.root = _root(target)
        _check_replaceable(target)
        self.root.mkdir(parents=True, exist_ok=True)
        others = sorted({one.name for one in self.root.iterdir()} - STORE_DRAFT)
        if others:
            raise ValueError(
                f"{self.root}: expected the draft of a store, got a folder with {others[0]!r}. "
                "To mend it: name another folder for the store, or remove this one."
            )
        self._let_go = weakref.finalize(self, os.close, hold(self.root))

    @property
    def journal(self) -> Path:
        """What the store is made from; then a line a piece."""
        return self.root / JOURNAL

    @property
    def store(self) -> Path:
        """Columns whose bytes are final; at the end all columns and the manifest."""
        return self.root / "store"

    @property
    def provisional(self) -> Path:
        """Columns that are known only at the end."""
        return self.root / "provisional"

    def file(self, name: str, dtype: str) -> Path:
        """Where a column grows: strings are made equally wide at the end, codes decoded."""
        rewritten = name in REWRITTEN or dtype.startswith("<U")
        return column_file(self.provisional if rewritten else self.store, name)

    def begin(self) -> None:
        """Removes what other work left, but for the store that was there before."""
        self.journal.unlink(missing_ok=True)
        old = self.root / "old"
        if old.exists() and not self.target.exists():
            os.replace(old, self.target)
        for part in (self.store, self.provisional, old):
            if part.exists():
                shutil.rmtree(part)
        self.store.mkdir()
        self.provisional.mkdir()
        sync_folder(self.root.parent)

    def sync(self) -> None:
        """Makes safe which files there are."""
        for folder in (self.store, self.provisional, self.root):
            sync_folder(folder)

    @property
    def is_spent(self) -> bool:
        """Whether the store is in its place, and nothing here is of use."""
        return not self.store.exists() and is_store(self.target)

    def move_in(self) -> None:
        """Puts the store in its place, and removes the rest; after a failure, what is left."""
        if not self.is_spent:
            _check_replaceable(self.target)
            old = self.root / "old"
            if self.target.exists():
                if old.exists():
                    shutil.rmtree(old)
                os.replace(self.target, old)
            os.replace(self.store, self.target)
        sync_folder(self.target.parent)
        shutil.rmtree(self.root)
        self._let_go()


def remove_spent(target: Path) -> None:
    """Removes a draft whose store was put in its place, as a kill may leave it."""
    if _root(target).exists():
        place = Place(target)
        if place.is_spent:
            place.move_in()


@contextmanager
def told(target: Path) -> Iterator[None]:
    """What the system refuses, told in words."""
    try:
        yield
    except OSError as error:
        there = next(one for one in (target, *target.parents) if one.is_dir())
        raise ValueError(
            f"{error.filename or target}: expected to write there, got {error.strerror or error} "
            f"({shutil.disk_usage(there).free:,} bytes are free). To mend it: make room, or see "
            "to it that the folder can be written, and run the same command again; finished "
            "pieces are kept."
        ) from error


def _root(target: Path) -> Path:
    return target.with_name(target.name + ".draft")


def _check_replaceable(target: Path) -> None:
    """Refuses to put a store in the place of what is none."""
    is_ours = target.is_dir() and (is_store(target) or not any(target.iterdir()))
    if os.path.lexists(target) and not is_ours:
        raise ValueError(
            f"{target}: expected no folder, an empty one or a store, got "
            f"{'a folder of something else' if target.is_dir() else 'a file'}. To mend it: name "
            "another folder, or remove this one."
        )
