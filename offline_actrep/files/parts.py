"""Files written one after another into a folder that appears when it is whole.

Until then they lie beside it, in a folder of its name with `.draft`, with a journal of what is
finished. A kill costs no more than the file that was being written.
"""

import os
import shutil
import weakref
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, final

from offline_actrep.files.alone import hold
from offline_actrep.files.artifact import DONE, is_whole, read_json, write_json
from offline_actrep.files.growing import Journal, plain, sync_folder
from offline_actrep.files.place import JOURNAL

PARTS_DRAFT = frozenset({JOURNAL, "lock", "parts", "old"})
"""All that lies in a draft."""


@final
class Parts:
    """A folder of parts that grows; no other process can write it at the same time.

    Args:
        target: where the folder will be.
        kind: of what it holds; goes into `artifact.json`.
        about: all that decides its bytes, as JSON can say it; goes into `artifact.json`.
        sources: what else must be the same for a draft to be taken up, such as when files changed.
        resume: whether to take up a draft of the same work, and to leave a folder of the same
            work as it is. Otherwise both are made anew, and a folder of the same kind is replaced.

    Attributes:
        whole: whether the folder is there already, so that nothing is left to do.
        folder: what to write into.
        done: the notes of the finished parts.

    Raises:
        ValueError: there is something else in the place of the target or in that of the draft, or
            another process is writing it.
    """

    def __init__(
        self,
        target: Path,
        kind: str,
        about: Mapping[str, Any],
        *,
        sources: Mapping[str, Any],
        resume: bool,
    ) -> None:
        self.target = target
        self._kind = kind
        self._about = plain(about)
        self._root = target.with_name(target.name + ".draft")
        self.whole = self._check_target(resume)
        check_ours(self._root, PARTS_DRAFT)
        if self.whole:
            shutil.rmtree(self._root, ignore_errors=True)
            return
        header = {"kind": kind, "about": self._about, "sources": plain(sources)}
        self._root.mkdir(parents=True, exist_ok=True)
        self._let_go = weakref.finalize(self, os.close, hold(self._root))
        self._journal = Journal(self._root / JOURNAL)
        if not resume or self._journal.header != header or not self.folder.is_dir():
            (self._root / JOURNAL).unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            self._journal.begin(header)

    @property
    def folder(self) -> Path:
        return self._root / "parts"

    @property
    def done(self) -> list[dict[str, Any]]:
        return self._journal.lines

    def add(self, note: Mapping[str, Any]) -> None:
        """One more part is finished and safe on the disk."""
        sync_folder(self.folder)
        self._journal.add(plain(note))
        self._journal.lines.append(plain(note))

    def drop(self, kept: int) -> None:
        """Forgets all parts but the first `kept`, to be written again."""
        lines = self._journal.lines[:kept]
        self._journal.begin(self._journal.header)
        for line in lines:
            self._journal.add(line)
        self._journal.lines = lines

    def finish(self, files: Mapping[str, Any]) -> None:
        """Puts the folder in its place; `files` says in `artifact.json` what is in it."""
        write_json(self.folder / DONE, {"kind": self._kind, "about": self._about, "files": files})
        sync_folder(self.folder)
        if self.target.exists():
            shutil.rmtree(self._root / "old", ignore_errors=True)
            os.replace(self.target, self._root / "old")
        os.replace(self.folder, self.target)
        sync_folder(self.target.parent)
        shutil.rmtree(self._root)
        self._let_go()

    def _check_target(self, resume: bool) -> bool:
        """Whether the work is done already."""
        if not os.path.lexists(self.target) or _is_empty(self.target):
            return False
        found = read_json(self.target / DONE) if is_whole(self.target) else {}
        if not isinstance(found, dict) or found.get("kind") != self._kind:
            raise ValueError(
                f"{self.target}: expected no folder or an empty one, got something else than this "
                "writes. To mend it: name another folder, or remove this one."
            )
        if resume and found.get("about") != self._about:
            raise ValueError(
                f"{self.target}: expected no folder or an empty one, got one that was made from "
                "something else or in another way. To mend it: name another folder, remove this "
                "one, or ask for it to be made anew."
            )
        return resume


def check_ours(folder: Path, known: Set[str]) -> None:
    """Refuses a folder beside the target that holds more than we write there.

    Raises:
        ValueError: there is a name that is not known.
    """
    others = sorted({one.name for one in folder.iterdir()} - known) if folder.is_dir() else []
    if others:
        raise ValueError(
            f"{folder}: expected no folder, or what a run that was cut short left there, got one "
            f"with {others[0]!r}. To mend it: move that away, or name another folder for the "
            "result."
        )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
