"""What is asked of a bench: which part, where things lie, and who is told."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from offline_actrep.bench.plan import BenchRecipe, Cell
from offline_actrep.files.alone import hold
from offline_actrep.portable import OnStage
from offline_actrep.run import OnEvent

OnNote = Callable[[str], None]
"""Is told a line."""


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Attributes:
        logs: made data sets.
        out: folders of the runs.
        publish: the rows, the trials and what is drawn from them.
    """

    logs: Path
    out: Path
    publish: Path

    @property
    def rows(self) -> Path:
        """The file of rows."""
        return self.publish / "rows.parquet"

    @property
    def tuned(self) -> Path:
        """The file of trials."""
        return self.publish / "tuned.json"


@contextmanager
def alone(places: Places) -> Iterator[None]:
    """No other bench writes the same rows or runs meanwhile; a lock falls with its process.

    Raises:
        ValueError: another one does, now.
    """
    with ExitStack() as locks:
        for folder in sorted({places.out, places.publish}):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                locks.callback(os.close, hold(folder))
            except ValueError as error:
                raise ValueError(
                    f"another bench writes into {folder}: wait for it, or give this one folders "
                    "of its own (--out, --publish)"
                ) from error
        yield


@dataclass
class Told:
    """Who is told what while a bench runs; and what failed."""

    on_event: OnEvent
    on_stage: OnStage
    on_note: OnNote
    failed: list[str] = field(default_factory=list)

    def fail(self, what: str) -> None:
        """Keeps and tells it."""
        self.failed.append(what)
        self.on_note(f"failed: {what}")


@dataclass(frozen=True)
class Only:
    """The part of a bench that is asked for; empty for all."""

    worlds: Sequence[str] = ()
    tiers: Sequence[str] = ()
    methods: Sequence[str] = ()
    seeds: Sequence[int] = ()
    sweeps: bool | None = None
    """Whether nothing but sweeps, or nothing of them; None for both."""

    @property
    def words(self) -> str:
        """The part, in words; empty for all."""
        named = {
            "worlds": self.worlds, "tiers": self.tiers, "methods": self.methods, "seeds": self.seeds
        }  # fmt: skip
        parts = [f"{what} {', '.join(map(str, asked))}" for what, asked in named.items() if asked]
        if self.sweeps is not None:
            parts.append("sweeps" if self.sweeps else "no sweeps")
        return "; ".join(parts)

    def check(self, bench: BenchRecipe) -> None:
        """Refuses what the bench does not have.

        Raises:
            ValueError: an unknown world, tier, method or seed; says which there are.
        """
        known = {
            "world": (self.worlds, [each.name for each in bench.worlds]),
            "tier": (self.tiers, sorted({cell.tier for cell in bench.cells()})),
            "method": (self.methods, [each.name for each in bench.methods]),
            "seed": (self.seeds, bench.seeds),
        }
        for what, (asked, there) in known.items():
            for each in asked:
                if each not in there:
                    names = ", ".join(map(str, there))
                    raise ValueError(f"the bench has no {what} {each!r}; there are {names}")

    def has(self, cell: Cell) -> bool:
        """Whether a log is in the part."""
        if self.sweeps is not None and self.sweeps != bool(cell.setting):
            return False
        here = not self.worlds or cell.world in self.worlds
        return here and (not self.tiers or cell.tier in self.tiers)

    def has_method(self, name: str) -> bool:
        """Whether a method is in the part."""
        return not self.methods or name in self.methods

    def has_seed(self, seed: int) -> bool:
        """Whether a seed is in the part."""
        return not self.seeds or seed in self.seeds

    def has_row(self, key: tuple[str, Cell, int]) -> bool:
        """Whether a method, log and seed is in the part."""
        name, cell, seed = key
        return self.has(cell) and self.has_method(name) and self.has_seed(seed)


@dataclass(frozen=True)
class Job:
    """A part of a bench, to be run.

    Attributes:
        workers: processes side by side.
    """

    bench: BenchRecipe
    places: Places
    told: Told
    only: Only
    workers: int
