"""Settings as TOML, checked whole: an unknown key is refused and the near ones are named."""

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """Refuses what it does not know; cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


_Read = TypeVar("_Read", bound=BaseModel)


def read_toml(file: Path, model: type[_Read], paths: Sequence[tuple[str, ...]] = ()) -> _Read:
    """A file as the model asked for.

    Args:
        file: what to read.
        model: what it holds.
        paths: keys that hold a path or a list of them; they become absolute, being relative to
            the file's folder. "*" stands for every entry of an array of tables.

    Raises:
        ValueError: no such file, broken TOML, an unknown key (with the near ones), a bad value.
    """
    content = toml_content(file)
    for keys in paths:
        _absolute(content, keys, file.resolve().parent)
    return as_model(file, content, model)


def toml_content(file: Path) -> dict[str, Any]:
    """What a file says, unchecked.

    Raises:
        ValueError: no such file, or broken TOML.
    """
    if not file.is_file():
        raise ValueError(f"expected a TOML file, got {str(file)!r}, which is none")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}") from error


def as_model(file: Path, content: Any, model: type[_Read]) -> _Read:
    """A file's content, or a table of it, as the model asked for.

    Raises:
        ValueError: an unknown key (with the near ones), or a bad value; names the file.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{file}:\n" + "\n".join(explain(error, model))) from error


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A line for every problem: where it is, what it is, the near keys of an unknown one."""
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"]) or "top level"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            key = str(problem["loc"][-1])
            near = difflib.get_close_matches(key, _all_keys(model), n=3, cutoff=0.5)
            message = f"unknown key{'; near it: ' + ', '.join(near) if near else ''}"
        lines.append(f"  {place}: {message}")
    return lines


def _absolute(table: Any, keys: tuple[str, ...], folder: Path) -> None:
    key, *rest = keys
    if key == "*":
        for entry in table if isinstance(table, list) else []:
            _absolute(entry, tuple(rest), folder)
    elif isinstance(table, dict) and rest:
        _absolute(table.get(key), tuple(rest), folder)
    elif isinstance(table, dict) and isinstance(table.get(key), str):
        table[key] = str(folder / table[key])
    elif isinstance(table, dict) and isinstance(table.get(key), list):
        table[key] = [str(folder / entry) for entry in table[key]]


def _all_keys(kind: Any) -> list[str]:
    """Every key that the model or a table within it knows."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {f.alias or name: f.annotation for name, f in kind.model_fields.items()}
    elif is_dataclass(kind):
        fields = {name: field.type for name, field in kind.__dataclass_fields__.items()}
    else:
        return sorted({key for part in get_args(kind) for key in _all_keys(part)})
    return sorted({*fields, *(key for part in fields.values() for key in _all_keys(part))})
