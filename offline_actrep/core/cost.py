"""What a piece of work costs: seconds on the clock, and the most memory that was held."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """Filled when the work is done.

    Attributes:
        seconds: of wall time; what the work says to leave out (`pauses`) is.
        peak_mb: most resident memory of this process meanwhile, in 10^6 bytes; None where the
            system does not tell (only Linux does).
        pauses: seconds of other work in between.
    """

    seconds: float = 0.0
    peak_mb: float | None = None
    pauses: float = 0.0

    def as_dict(self) -> dict[str, float | None]:
        """For JSON."""
        return {"seconds": self.seconds, "peak_mb": self.peak_mb}


@contextmanager
def costing() -> Iterator[Cost]:
    """Measures the block, e.g. `with costing() as cost: ...`; read `cost` afterwards."""
    cost, began = Cost(), time.perf_counter()
    if _RESET.exists():
        _RESET.write_text("5")  # the peak begins anew from what is held now
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - began - cost.pauses
        cost.peak_mb = _peak()


def _peak() -> float | None:
    if not _RESET.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None
