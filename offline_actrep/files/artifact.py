"""What a stage leaves on disk: a folder of JSON, safetensors and parquet, whole or absent."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

DONE = "artifact.json"
"""The file that a folder gets last; a folder without it is not an artifact."""
UNFINISHED = "artifact.unfinished"
"""The file that a folder holds while it is written or removed: it is ours, and may be removed."""


def digest(*parts: object) -> str:
    """16 hex digits of SHA-256 over the JSON of the parts: the name of what is made from them."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(file: Path) -> str:
    """64 hex digits of SHA-256 over a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def new_artifact(folder: Path, about: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to write into; it takes its name only when the block ends without an error.

    `about` goes into `artifact.json`: what the artifact was made from. An earlier artifact of the
    same kind is replaced, and what a killed attempt left under the temporary name is removed.

    Raises:
        ValueError: as `may_become` does.
    """
    may_become(folder, about.get("kind"))
    draft = _draft(folder)
    _remove(draft)
    draft.mkdir(parents=True)
    (draft / UNFINISHED).touch()
    yield draft
    write_json(draft / DONE, about)
    (draft / UNFINISHED).unlink()
    _remove(folder)
    os.replace(draft, folder)


def may_become(folder: Path, kind: str | None) -> None:
    """Refuses to put an artifact in the place of what is none, before the work that makes it.

    Raises:
        ValueError: the folder, or the one it is written in, holds what this program did not write,
            or an artifact of another kind.
    """
    for place in (folder, _draft(folder)):
        held = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
        if place.exists() and not place.is_dir():
            got = "a file"
        elif not held or UNFINISHED in held:
            continue
        elif DONE not in held:
            got = f"one with {held[0]!r}"
        elif place == folder and (found := read_json(place / DONE).get("kind")) != kind:
            got = f"a {found}"
        else:
            continue
        raise ValueError(
            f"{place}: expected a new folder, or one with a {kind} to replace, got {got}. To mend "
            "it: name another folder, or remove it."
        )


def _draft(folder: Path) -> Path:
    return folder.with_name(folder.name + ".tmp")


def _remove(folder: Path) -> None:
    """All of a folder that is ours; killed half-way, it stays known as ours and as unfinished."""
    if not folder.exists():
        return
    if is_whole(folder):
        os.replace(folder / DONE, folder / UNFINISHED)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != UNFINISHED:
            entry.unlink()
    (folder / UNFINISHED).unlink(missing_ok=True)
    folder.rmdir()


def is_whole(folder: Path) -> bool:
    """Whether the folder holds a finished artifact."""
    return (folder / DONE).is_file()


def is_made_from(folder: Path, key: str) -> bool:
    """Whether the folder holds a finished artifact that says `key` of what it was made from."""
    return is_whole(folder) and read_json(folder / DONE)["key"] == key


def write_json(path: Path, content: object) -> None:
    """Whole or not at all; keys sorted, so that equal content is equal bytes."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """UTF-8, whole or not at all."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: the file is not JSON; says which file and where.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}; remove it and run again") from error


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """As safetensors, whole or not at all."""
    draft = path.with_name(path.name + ".tmp")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, draft)
    os.replace(draft, path)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """What `write_tensors` wrote."""
    return load_file(path)
