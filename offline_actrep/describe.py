"""What can be set, as tables: of every representation, learner and estimator, and of TOML files.

All of it is read off the classes that check the settings: names, kinds, defaults, meanings.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from offline_actrep.bench.plan import BenchRecipe
from offline_actrep.dataset import DatasetRecipe
from offline_actrep.files.mapping import LogMapping
from offline_actrep.offline.learner import CONTINUOUS, DISCRETE
from offline_actrep.offline.train import DEFAULTS as LEARNERS
from offline_actrep.online.learners import DEFAULTS as ONLINE
from offline_actrep.ope.fqe import FqeConfig
from offline_actrep.ope.propensities import PropensityConfig
from offline_actrep.recipe import Recipe
from offline_actrep.report import Table
from offline_actrep.representations.catalog import METHODS

COLUMNS = ("setting", "what it takes", "default", "meaning")
FILES: dict[str, type[Any]] = {
    "recipe": Recipe,
    "mapping": LogMapping,
    "bench": BenchRecipe,
    "dataset": DatasetRecipe,
}
"""TOML files, by what they are."""


def names() -> dict[str, tuple[str, ...]]:
    """All that can be described, by kind."""
    return {
        "representations": tuple(METHODS),
        "learners of points": CONTINUOUS,
        "learners of ids": DISCRETE,
        "learners in worlds": tuple(ONLINE),
        "estimators": ("fqe", "propensities"),
        "TOML files": tuple(FILES),
    }


def described(name: str) -> list[Table]:
    """A table of settings; of a TOML file, one for each table that it may have.

    Raises:
        ValueError: nothing is called so; names the near ones.
    """
    if name in FILES:
        return list(_of_file(name, FILES[name]))
    config = _config(name)
    schema = TypeAdapter(type(config)).json_schema()
    return [_table(name, schema, schema.get("$defs", {}), asdict(config))]


def _config(name: str) -> Any:
    if name in METHODS:
        return METHODS[name].config()
    known = LEARNERS | ONLINE | {"fqe": FqeConfig(), "propensities": PropensityConfig()}
    if name not in known:
        every = [each for kind in names().values() for each in kind]
        near = difflib.get_close_matches(name, every, n=3) or every
        raise ValueError(f"nothing is called {name!r}; near it: {', '.join(near)}")
    return known[name]


def _of_file(name: str, model: type[Any]) -> Iterator[Table]:
    """The file's own table, then those within it, in the order in which they are first named."""
    schema = TypeAdapter(model).json_schema()
    defined = schema.get("$defs", {})
    yield _table(f"{name}.toml", schema, defined, {})
    waiting, seen = list(_named(schema)), set[str]()
    while waiting:
        inner = waiting.pop(0)
        if inner not in seen and "properties" in defined[inner]:
            yield _table(inner, defined[inner], defined, {})
            waiting += _named(defined[inner])
        seen.add(inner)


def _named(schema: Any) -> Iterator[str]:
    """The tables that a schema speaks of."""
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for key, part in schema.items():
            if key != "$defs":
                yield from _named(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _named(part)


def _table(
    name: str, schema: Mapping[str, Any], defined: Mapping[str, Any], given: Mapping[str, Any]
) -> Table:
    needed = frozenset(schema.get("required", ()))
    rows = [
        (
            setting,
            _takes(about, defined),
            "needed" if setting in needed else _default(given.get(setting, about.get("default"))),
            _meaning(about, defined),
        )
        for setting, about in schema["properties"].items()
    ]
    return Table(COLUMNS, rows, caption=f"{name}: {_first(schema)}")


def _meaning(about: Mapping[str, Any], defined: Mapping[str, Any]) -> str:
    """Its own words; without any, those of the one table that it holds."""
    inner = list(_named(about))
    if "description" in about or len(inner) != 1:
        return " ".join(about.get("description", "").split())
    return _first(defined[inner[0]])


def _first(schema: Mapping[str, Any]) -> str:
    return " ".join(schema.get("description", "").split("\n\n")[0].split())


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "its own defaults"
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _takes(about: Mapping[str, Any], defined: Mapping[str, Any]) -> str:
    """A kind in words."""
    if "$ref" in about:
        return _takes(defined[about["$ref"].rpartition("/")[2]], defined)
    if "enum" in about:
        return " or ".join(map(str, about["enum"]))
    if "const" in about:
        return str(about["const"])
    if "anyOf" in about:
        kinds = dict.fromkeys(_takes(each, defined) for each in about["anyOf"])
        return " or ".join(kind for kind in kinds if kind != "null")
    kind = about.get("type", "anything")
    if kind == "array":
        return f"list of {_takes(about.get('items', {}), defined)}"
    if kind == "object":
        return f"table {about['title']}" if "properties" in about else "table"
    return f"{kind}{_range(about)}"


def _range(about: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    ends = [f"{sign} {about[key]:g}" for key, sign in signs.items() if key in about]
    return f" {', '.join(ends)}" if ends else ""
