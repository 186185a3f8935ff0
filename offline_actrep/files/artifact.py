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

    `about` goes into `artifact.json`: what the artifact was made from. What an earlier, killed
    attempt left under the temporary name is removed first.
    """
    draft = folder.with_name(folder.name + ".tmp")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    yield draft
    write_json(draft / DONE, about)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(draft, folder)


def is_whole(folder: Path) -> bool:
    """Whether the folder holds a finished artifact."""
    return (folder / DONE).is_file()


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
