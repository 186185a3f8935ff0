"""The public logs that can be imported, by name."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from offline_actrep.core.log import Log
from offline_actrep.core.settings import refuse_unknown_names
from offline_actrep.files.exchange.complete_journey import read_complete_journey
from offline_actrep.files.exchange.kuairand import read_kuairand
from offline_actrep.files.exchange.kuairec import read_kuairec
from offline_actrep.files.exchange.movielens import read_movielens
from offline_actrep.files.exchange.multiwoz import read_multiwoz
from offline_actrep.files.exchange.open_bandit import read_open_bandit
from offline_actrep.files.exchange.rl4rs import read_rl4rs
from offline_actrep.files.exchange.store_events import read_store_events

READERS: dict[str, Callable[..., Any]] = {
    "complete_journey": read_complete_journey,
    "kuairand": read_kuairand,
    "kuairec": read_kuairec,
    "movielens": read_movielens,
    "multiwoz": read_multiwoz,
    "open_bandit": read_open_bandit,
    "rl4rs": read_rl4rs,
    "store_events": read_store_events,
}
"""Each has a card `datasets/<name>/README.md`."""


def import_log(name: str, folder: str | Path, **settings: Any) -> Log:
    """A public log from its owner's files, e.g. `import_log("movielens", "ml-1m")`.

    Args:
        name: a key of `READERS`.
        folder: where the files lie.
        settings: arguments of the reader.

    Raises:
        ValueError: an unknown name or setting (the message names the near ones), or as the reader.
    """
    if name not in READERS:
        raise ValueError(f"unknown log {name!r}; there are {', '.join(sorted(READERS))}")
    reader = READERS[name]
    known = [each for each in inspect.signature(reader).parameters if each != "folder"]
    refuse_unknown_names(name, settings, known)
    read = reader(folder, **settings)
    return read if isinstance(read, Log) else read[0]
