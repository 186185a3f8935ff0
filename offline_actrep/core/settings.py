"""Settings by name: the one check that every config's caller goes through."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Of every config dataclass: unknown fields are refused; what stands below a field describes it."""

_Config = TypeVar("_Config")


def refuse_unknown(owner: str, settings: Iterable[str], config: type[Any]) -> None:
    """Refuses a setting that is no field of the config dataclass.

    Raises:
        ValueError: names the setting and the near fields, or all where none is near.
    """
    refuse_unknown_names(owner, settings, [field.name for field in fields(config)])


def refuse_unknown_names(owner: str, settings: Iterable[str], known: list[str]) -> None:
    """The same where the known settings are given by name.

    Raises:
        ValueError: names the setting and the near ones, or all where none is near.
    """
    for setting in settings:
        if setting not in known:
            near = difflib.get_close_matches(setting, known, n=3, cutoff=0.4) or known
            raise ValueError(f"{owner} has no setting {setting!r}; near it: {', '.join(near)}")


def checked(owner: str, config: type[_Config], settings: Mapping[str, Any]) -> _Config:
    """A config dataclass with these fields.

    Raises:
        ValueError: an unknown field (the message names the near ones), or a value that a field
            refuses (whose field it is, what is expected and what there is).
    """
    refuse_unknown(owner, settings, config)
    return _made(owner, config, settings)


def changed(
    what: str, name: str, defaults: Mapping[str, _Config], changes: Mapping[str, Any]
) -> _Config:
    """The defaults of the named thing, config dataclasses all, with some fields changed.

    Raises:
        ValueError: an unknown name (those there are follow `unknown {what}`) or field, or a value
            that a field refuses.
    """
    if name not in defaults:
        raise ValueError(f"unknown {what} {name!r}; there are {', '.join(defaults)}")
    default: Any = defaults[name]
    refuse_unknown(name, changes, type(default))
    return _made(name, partial(replace, default), changes)


def _made(owner: str, config: Callable[..., _Config], settings: Mapping[str, Any]) -> _Config:
    try:
        return config(**settings)
    except ValidationError as error:
        raise ValueError("; ".join(_said(owner, each) for each in error.errors())) from error


def _said(owner: str, problem: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{owner}, {place}: {expected}, got {problem['input']!r}" if place else expected
