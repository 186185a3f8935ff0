"""Files that only grow: columns with the SHA-256 of what they hold, and a journal of lines.

What a kill or a full disk left behind the last line of the journal is cut off; what stands before
it was on the disk before the line was written.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Grown:
    """A column's file as it stands: bytes, and the digest of them."""

    size: int
    digest: "hashlib._Hash"

    @property
    def sha256(self) -> str:
        """64 hex digits."""
        return self.digest.hexdigest()

    @staticmethod
    def nothing() -> "Grown":
        """Of a file that is not there yet."""
        return Grown(0, hashlib.sha256())

    def grow(self, file: Path, column: np.ndarray) -> "Grown":
        """The column written behind what the file holds, and safe on the disk."""
        digest = self.digest.copy()
        data = _bytes(column)
        with _beside(digest.update, data), _opened(file, os.O_WRONLY | os.O_CREAT) as handle:
            os.ftruncate(handle, self.size)
            os.lseek(handle, self.size, os.SEEK_SET)
            _write(handle, data)
            os.fsync(handle)
        return Grown(self.size + len(data), digest)

    @staticmethod
    def take_up(file: Path, size: int, sha256: str) -> "Grown | None":
        """The file cut to `size` bytes, or None where those are not the bytes of that digest."""
        digest = hashlib.sha256()
        if not file.is_file() or file.stat().st_size < size:
            return None
        for part in read_parts(file, size):
            digest.update(part)
        if digest.hexdigest() != sha256:
            return None
        with _opened(file, os.O_WRONLY) as handle:
            os.ftruncate(handle, size)
        return Grown(size, digest)


def read_parts(file: Path, size: int, start: int = 0, whole: int = 1) -> Iterator[bytes]:
    """Bytes `start:start + size` of a file, some multiple of `whole` at a time."""
    at_once = max(1, _AT_ONCE // whole) * whole
    with file.open("rb") as stream:
        stream.seek(start)
        while size:
            part = stream.read(min(size, at_once))
            if len(part) < min(size, at_once):
                raise ValueError(f"{file}: expected {size - len(part):,} bytes more")
            size -= len(part)
            yield part


def write_whole(file: Path, columns: Iterable[np.ndarray]) -> str:
    """A file of arrays one after the other, safe on the disk; its SHA-256."""
    digest = hashlib.sha256()
    with _opened(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as handle:
        for column in columns:
            data = _bytes(column)
            _write(handle, data)
            digest.update(data)
        os.fsync(handle)
    return digest.hexdigest()


@final
class Journal:
    """Lines of JSON, of which the first says what the work is; a line counts when it is whole.

    Attributes:
        header: the first line that was found, or None.
        lines: those that were found after it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: list[Any] = []
        self.header: Any = None
        self._size = 0
        if file.is_file():
            self._read()

    def _read(self) -> None:
        for line in self.file.read_bytes().splitlines(keepends=True):
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not line.endswith(b"\n"):
                break
            self._size += len(line)
            if self.header is None:
                self.header = content
            else:
                self.lines.append(content)

    def begin(self, header: Any) -> None:
        """Begins anew."""
        self.header, self.lines, self._size = header, [], 0
        self.add(header)

    def add(self, content: Any) -> None:
        """One more line, safe on the disk."""
        line = json.dumps(content, sort_keys=True, allow_nan=False).encode() + b"\n"
        with _opened(self.file, os.O_WRONLY | os.O_CREAT) as handle:
            os.ftruncate(handle, self._size)
            os.lseek(handle, self._size, os.SEEK_SET)
            _write(handle, line)
            os.fsync(handle)
        self._size += len(line)


def sync_folder(folder: Path) -> None:
    """Makes safe which files a folder has."""
    with _opened(folder, os.O_RDONLY) as handle:
        os.fsync(handle)


def plain(content: Mapping[str, Any]) -> Any:
    """As JSON gives it back.

    Raises:
        ValueError: JSON has no form for it.
    """
    try:
        return json.loads(json.dumps(content, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected what JSON can say, got {error}: {content!r:.200}") from error


@contextmanager
def _opened(file: Path, flags: int) -> Iterator[int]:
    handle = os.open(file, flags, 0o666)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _beside(update: Callable[[memoryview], None], data: memoryview) -> Iterator[None]:
    """Digests the data while the block runs, where that is worth a thread."""
    if len(data) < _AT_ONCE // 16:
        update(data)
        yield
        return
    with ThreadPoolExecutor(1) as thread:
        digested = thread.submit(update, data)
        yield
        digested.result()


def _bytes(column: np.ndarray) -> memoryview:
    flat = np.ascontiguousarray(column).reshape(-1)
    return memoryview(flat.view(np.uint8)) if len(flat) else memoryview(b"")  # type: ignore[arg-type]


def _write(handle: int, data: memoryview | bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left[:_AT_ONCE]) :]
