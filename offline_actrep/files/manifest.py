"""What a store is: its columns, a file each of a fixed name, and the manifest that counts them.

A manifest comes with the data, so it may come from a stranger. It cannot name a file, a type that
is not of the list, or a size that the files do not have.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

MANIFEST = "manifest.json"
FORMAT = "offline_actrep store"
VERSION = 1
LARGEST_MANIFEST = 1 << 25
"""Bytes."""
LONGEST_STRING = 1024
"""Characters of an id, a timestamp or a split's name."""

_STRING = r"<U[1-9]\d{0,3}"
_TIMES = rf"(<[iu][248]|\|[iu]1|<f[248]|<M8\[(Y|M|W|D|h|m|s|ms|us|ns)\]|{_STRING})"


@dataclass(frozen=True)
class Slot:
    """What a column's file may hold.

    Attributes:
        dtype: pattern of numpy's name of the type.
        axes: the counts that give the shape.
        one_more: whether the first axis is one longer than its count.
        optional: whether a store may lack it.
    """

    dtype: str
    axes: tuple[str, ...]
    one_more: bool = False
    optional: bool = False


SLOTS = {
    "observations": Slot("<f4", ("rows", "observation_size")),
    "actions": Slot("<i8", ("rows",)),
    "rewards": Slot("<f4", ("rows",)),
    "terminated": Slot(r"\|b1", ("rows",)),
    "truncated": Slot(r"\|b1", ("rows",)),
    "next_observations": Slot("<f4", ("rows", "observation_size")),
    "has_next": Slot(r"\|b1", ("rows",)),
    "episode_offsets": Slot("<i8", ("episodes",), one_more=True),
    "episode_ids": Slot(f"(<i8|{_STRING})", ("episodes",)),
    "action_probabilities": Slot("<f8", ("rows",), optional=True),
    "allowed_offsets": Slot("<i8", ("rows",), one_more=True, optional=True),
    "allowed_indices": Slot("<i8", ("allowed",), optional=True),
    "timestamps": Slot(_TIMES, ("rows",), optional=True),
    "splits": Slot(_STRING, ("rows",), optional=True),
    "action_ids": Slot(f"(<i8|{_STRING})", ("actions",)),
    "action_names": Slot(_STRING, ("actions",), optional=True),
    "action_features": Slot("<f4", ("actions", "features"), optional=True),
}
"""The columns of a store; column `x` lies in the file `x.bin`, raw, in C order."""

_Count = Annotated[int, Field(ge=0, le=1 << 48)]
_AtLeastOne = Annotated[int, Field(ge=1, le=1 << 48)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Counts(_Model):
    """Rows of the columns, and of what is in them."""

    rows: _AtLeastOne
    episodes: _AtLeastOne
    actions: _AtLeastOne
    observation_size: _AtLeastOne
    allowed: _Count
    features: _Count
    terminated: _Count
    truncated: _Count
    known_next: _Count


class Column(_Model):
    """Type and SHA-256 of a column's file."""

    dtype: Annotated[str, Field(max_length=16)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Spread(_Model):
    """Of every column of the observations, or of the one of the rewards."""

    mean: list[FiniteFloat]
    std: list[FiniteFloat]
    min: list[FiniteFloat]
    max: list[FiniteFloat]


class Statistics(_Model):
    """What an observation or a reward is scaled by."""

    observations: Spread
    rewards: Spread


class Manifest(_Model):
    """Everything of a store but its columns.

    Attributes:
        about: what it was made from; equal for equal work.
        extra: what else its maker has to say.
    """

    format: Literal["offline_actrep store"]
    version: Literal[1]  # VERSION
    counts: Counts
    observation_names: list[str]
    feature_names: list[str]
    columns: dict[str, Column]
    statistics: Statistics
    about: dict[str, Any]
    extra: dict[str, Any]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a column, from the counts."""
        first, *rest = (getattr(self.counts, axis) for axis in SLOTS[name].axes)
        return (first + SLOTS[name].one_more, *rest)

    def size(self, name: str) -> int:
        """Bytes of a column."""
        size = np.dtype(self.columns[name].dtype).itemsize
        for length in self.shape(name):
            size *= length
        return size


def is_store(path: str | Path) -> bool:
    """Whether a folder has a store's manifest; whether the store is whole is seen on opening."""
    return (Path(path) / MANIFEST).is_file()


def column_file(folder: Path, name: str) -> Path:
    """Where a column of a store lies."""
    return folder / f"{name}.bin"


def render_manifest(folder: Path, manifest: Mapping[str, Any]) -> bytes:
    """A manifest's bytes, for the folder it will lie in; equal content is equal bytes.

    Raises:
        ValueError: a reader would refuse it.
    """
    text = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
    _check_length(folder / MANIFEST, len(text))
    _parse(folder / MANIFEST, text)
    return text


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a store, held against the sizes of its files.

    Raises:
        ValueError: it is not there, not JSON, too large, of a later version, has a key too many
            or too few, or does not fit the files; says file, what was expected, what there is.
    """
    folder = Path(folder)
    file = folder / MANIFEST
    if not folder.is_dir() or not os.path.lexists(file):
        raise ValueError(
            f"{folder}: expected a store, a folder with {MANIFEST}, got "
            f"{'a folder without it' if folder.is_dir() else 'no folder'}. To mend it: name the "
            "folder that `convert --out` wrote, or `convert` the log first; a conversion that was "
            "cut short is taken up by the same command again."
        )
    _check_length(file, regular_size(file))
    manifest = _parse(file, file.read_bytes())
    for name in manifest.columns:
        path = column_file(folder, name)
        found, expected = regular_size(path), manifest.size(name)
        if found != expected:
            shape, dtype = manifest.shape(name), manifest.columns[name].dtype
            what = f"{expected:,} bytes, {dtype} of shape {list(shape)} as {MANIFEST} says"
            raise refusal(path, what, f"{found:,} bytes")
    return manifest


def regular_size(file: Path) -> int:
    """Bytes of a file that is no link, no pipe and no folder.

    Raises:
        ValueError: it is one of those, or not there.
    """
    try:
        found = os.lstat(file)
    except (OSError, ValueError) as error:
        raise refusal(file, "a file", f"none ({error})") from error
    if not stat.S_ISREG(found.st_mode):
        raise refusal(file, "a plain file", "a link, a folder or a device")
    return found.st_size


def refusal(file: Path, expected: str, found: str) -> ValueError:
    """The error for a store that is not as it was written."""
    return ValueError(
        f"{file}: expected {expected}, got {found}. To mend it: copy the store anew from where "
        "it was made, or convert the log again."
    )


def _check_length(file: Path, length: int) -> None:
    if length > LARGEST_MANIFEST:
        raise refusal(file, f"at most {LARGEST_MANIFEST:,} bytes", f"{length:,}")


def _parse(file: Path, text: bytes) -> Manifest:
    try:
        content = json.loads(
            text.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_each_once
        )
        _check_version(file, content)
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))[:200]
        found = repr(first["input"])[:80]
        raise refusal(file, f"under {place!r}: {first['msg']}", found) from None
    except (ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, _VersionError):
            raise
        raise refusal(file, "JSON, as it was written", str(error)[:200]) from None
    _check_columns(file, manifest)
    return manifest


class _VersionError(ValueError):
    """It is JSON, and it is not ours to read."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name}, which is not JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice!r} more than once")
    return content


def _check_version(file: Path, content: object) -> None:
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise _VersionError(
            f"{file}: expected store version {VERSION}, got {version}. To mend it: install a later "
            "offline_actrep, or convert the log with this one."
        )


def _check_columns(file: Path, manifest: Manifest) -> None:
    counts = manifest.counts
    for name, column in manifest.columns.items():
        if name not in SLOTS:
            raise refusal(file, f"columns of {', '.join(SLOTS)}", repr(name)[:80])
        fits = re.fullmatch(SLOTS[name].dtype, column.dtype, re.ASCII)
        if not fits or ("U" in column.dtype and int(column.dtype[2:]) > LONGEST_STRING):
            wanted = f"column {name!r} of a type like {SLOTS[name].dtype}"
            raise refusal(file, wanted, repr(column.dtype))
    has = manifest.columns.keys()
    for name, slot in SLOTS.items():
        if name not in has and not slot.optional:
            raise refusal(file, f"a column {name!r}", "none")
    pairs = [
        ("allowed_offsets", "allowed_offsets" in has, "allowed_indices", "allowed_indices" in has),
        ("allowed_indices", "allowed_indices" in has, "counts.allowed", counts.allowed > 0),
        ("action_features", "action_features" in has, "counts.features", counts.features > 0),
    ]
    for one, is_there, other, as_well in pairs:
        if is_there != as_well:
            raise refusal(file, f"both {one} and {other} or neither", "one of them")
    _check_lengths(file, manifest)


def _check_lengths(file: Path, manifest: Manifest) -> None:
    counts = manifest.counts
    names = {
        "observation_names": (len(manifest.observation_names), counts.observation_size),
        "feature_names": (len(manifest.feature_names), counts.features),
    }
    for key, (length, wanted) in names.items():
        if length not in (0, wanted):
            raise refusal(file, f"{wanted} of {key} or none", f"{length}")
    spreads = {"observations": counts.observation_size, "rewards": 1}
    for key, wanted in spreads.items():
        for kind, numbers in getattr(manifest.statistics, key):
            if len(numbers) != wanted:
                what = f"{wanted} numbers under 'statistics.{key}.{kind}'"
                raise refusal(file, what, f"{len(numbers)}")
