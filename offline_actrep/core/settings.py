"""Settings by name: the one check that every config's caller goes through."""

import difflib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any


def refuse_unknown(owner: str, settings: Iterable[str], config: type[Any]) -> None:
    """Refuses a setting that is no field of the config dataclass.

    Raises:
        ValueError: names the setting and the near fields, or all where none is near.
    """
    known = [field.name for field in fields(config)]
    for setting in settings:
        if setting not in known:
            near = difflib.get_close_matches(setting, known, n=3, cutoff=0.4) or known
            raise ValueError(f"{owner} has no setting {setting!r}; near it: {', '.join(near)}")
