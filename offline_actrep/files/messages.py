"""Arrow IPC as messages: how much each would unpack to, read before anything is unpacked.

A buffer that is compressed begins with its length unpacked, and pyarrow believes it. Of the
flatbuffers around it only these few fields are looked at (Arrow's `Message.fbs`).
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyarrow import ipc

_DICTIONARY, _ROWS = 2, 3
_HEADER_TYPE, _HEADER = 1, 2
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3
_DICTIONARY_ROWS = 1
_BLOCKS = (2, 3)

Body = Callable[[int, int], bytes]
"""`(start, size)` -> so many bytes of a message's body."""


def sizes_of_stream(opened: pa.NativeFile) -> Iterator[tuple[int, int]]:
    """Rows and bytes unpacked of every batch of a stream, dictionaries included.

    Raises:
        pa.ArrowInvalid: a message that is not laid out as Arrow's are.
    """
    for message in _messages(ipc.MessageReader.open_stream(opened)):
        body = memoryview(b"" if message.body is None else message.body)

        def part(at: int, length: int, body: memoryview = body) -> bytes:
            return bytes(body[at : at + length])

        with _laid_out():
            yield from _sizes(message.metadata.to_pybytes(), len(body), part)


def sizes_of_file(opened: pa.NativeFile) -> Iterator[tuple[int, int]]:
    """The same of an Arrow file, by its footer.

    Raises:
        pa.ArrowInvalid: a message or a footer that is not laid out as Arrow's are.
    """
    size = opened.size()
    with _laid_out():
        length = _number("<i", opened.read_at(4, size - 10), 0)
        if not 0 < length <= size - 18:
            raise IndexError(f"a footer of {length} bytes")
        footer = opened.read_at(length, size - 10 - length)
        for start, head, body in _blocks(footer):
            if start < 8 or head < 8 or body < 0 or start + head + body > size:
                raise IndexError(f"a batch of bytes {start} to {start + head + body}")
            flat = opened.read_at(head, start)
            flat = flat[8:] if flat.startswith(b"\xff\xff\xff\xff") else flat[4:]

            def part(at: int, length: int, begin: int = start + head) -> bytes:
                return opened.read_at(length, begin + at)

            yield from _sizes(flat, body, part)


@contextmanager
def _laid_out() -> Iterator[None]:
    try:
        yield
    except (struct.error, IndexError) as error:
        raise pa.ArrowInvalid(f"a message that is no Arrow message ({error})") from error


def _messages(reader: ipc.MessageReader) -> Iterator[ipc.Message]:
    try:
        while True:
            yield reader.read_next_message()
    except StopIteration:
        return


def _blocks(footer: bytes) -> Iterator[tuple[int, int, int]]:
    """Where the messages of a file begin, and how long their heads and bodies are."""
    root = _number("<I", footer, 0)
    for number in _BLOCKS:
        at = _field(footer, root, number)
        vector = _table(footer, at) if at else 0
        for n in range(_number("<I", footer, vector) if vector else 0):
            yield struct.unpack_from("<qi4xq", footer, vector + 4 + 24 * n)


def _sizes(flat: bytes, length: int, part: Body) -> Iterator[tuple[int, int]]:
    root = _number("<I", flat, 0)
    kind_at, header_at = _field(flat, root, _HEADER_TYPE), _field(flat, root, _HEADER)
    kind = flat[kind_at] if kind_at else 0
    if kind not in (_DICTIONARY, _ROWS):
        return
    batch = _table(flat, header_at)
    if kind == _DICTIONARY:
        batch = _table(flat, _field(flat, batch, _DICTIONARY_ROWS))
    length_at = _field(flat, batch, _LENGTH)
    rows = _number("<q", flat, length_at) if length_at else 0
    buffers_at = _field(flat, batch, _BUFFERS)
    vector = _table(flat, buffers_at) if buffers_at else 0
    packed, total = _field(flat, batch, _COMPRESSION), 0
    for n in range(_number("<I", flat, vector) if vector else 0):
        start, size = struct.unpack_from("<qq", flat, vector + 4 + 16 * n)
        if start < 0 or size < 0 or start + size > length:
            raise IndexError(f"a buffer of bytes {start} to {start + size} of {length}")
        claimed = _number("<q", part(start, 8), 0) if packed and size >= 8 else -1
        total += size if claimed < 0 else claimed
    yield rows, total


def _number(form: str, flat: bytes, at: int) -> int:
    return struct.unpack_from(form, flat, at)[0]


def _table(flat: bytes, at: int) -> int:
    """Where the table or vector lies that a field points to."""
    return at + _number("<I", flat, at)


def _field(flat: bytes, table: int, number: int) -> int:
    """Where a table's field lies, or 0 where it is left out."""
    directory = table - _number("<i", flat, table)
    at = 4 + 2 * number
    if at >= _number("<H", flat, directory):
        return 0
    offset = _number("<H", flat, directory + at)
    return table + offset if offset else 0
