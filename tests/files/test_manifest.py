"""A manifest from a stranger: refused with the place named, or of no harm."""

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import same, small_log

from offline_actrep.files import manifest as manifest_module
from offline_actrep.files.manifest import SLOTS, is_store, read_manifest, render_manifest
from offline_actrep.files.store import open_store, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger") / "store"
    write_store(small_log(), folder)
    return folder


@pytest.fixture(scope="module")
def honest(store: Path) -> dict[str, Any]:
    return json.loads((store / "manifest.json").read_text())


@pytest.fixture(autouse=True)
def put_back(store: Path) -> Iterator[None]:
    """Every test finds the store as it was, and leaves nothing beside it."""
    content = (store / "manifest.json").read_bytes()
    beside = sorted(os.listdir(store.parent))
    yield
    (store / "manifest.json").write_bytes(content)
    assert sorted(os.listdir(store.parent)) == beside


def refused(store: Path, content: object) -> str:
    """What is said of a manifest."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (store / "manifest.json").write_bytes(text)
    with pytest.raises(ValueError) as caught:
        open_store(store)
    said = str(caught.value)
    assert str(store) in said and "expected" in said and "got" in said and "To mend it" in said
    assert len(said) < 2000
    return said


def places(content: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key and entry."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(content, dict):
        pairs = list(content.items())
    if isinstance(content, list):
        pairs = list(enumerate(content))
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(content: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    content = copy.deepcopy(content)
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return content


def remove(parent: Any, key: Any) -> None:
    del parent[key]


def put(value: object) -> Callable[[Any, Any], None]:
    def change(parent: Any, key: Any) -> None:
        parent[key] = value

    return change


VALUES = [
    None,
    True,
    -1,
    0,
    2**40,
    2**63,
    2**200,
    1.5,
    "",
    "../../../etc/passwd",
    "<f8",
    "|O",
    "<U1025",
    "cos\nsystem\n(S'true'\ntR.",
    [],
    [[]],
    {},
    {"dtype": "<f4", "sha256": "0" * 64, "path": "/etc/passwd"},
]


def harmless(path: tuple[Any, ...]) -> bool:
    """What only describes: no column hangs on it, or `verify` alone can tell."""
    told = {"about", "extra", "observation_names", "feature_names"}
    counted = {("counts", "terminated"), ("counts", "truncated"), ("counts", "known_next")}
    return path[0] in told | {"statistics"} or path[:2] in counted or path[-1] == "sha256"


def test_a_key_that_is_gone_is_missed(store: Path, honest: dict[str, Any]) -> None:
    gone = [path for path in places(honest) if path[0] not in ("about", "extra")]
    optional = {("columns", name) for name, slot in SLOTS.items() if slot.optional}
    tried = 0
    for path in gone:
        if path in optional - {("columns", "allowed_offsets"), ("columns", "allowed_indices")}:
            continue  # the log opens without it
        refused(store, changed(honest, path, remove))
        tried += 1
    assert tried > 60


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_value_that_is_another_is_refused(
    store: Path, honest: dict[str, Any], value: object
) -> None:
    tried = 0
    for path in places(honest):
        content = changed(honest, path, put(value))
        if harmless(path) or content == honest:
            continue
        if path == ("columns", "timestamps", "dtype") and value == "<f8":
            continue  # of the same size; nobody can tell
        refused(store, content)
        tried += 1
    assert tried > 35


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_what_only_describes_changes_no_column(
    store: Path, honest: dict[str, Any], value: object
) -> None:
    for path in places(honest):
        if harmless(path):
            content = changed(honest, path, put(value))
            (store / "manifest.json").write_text(json.dumps(content))
            try:
                log = open_store(store)
            except ValueError as error:
                assert str(store) in str(error)
                continue
            assert log.fingerprint == small_log().fingerprint


@pytest.mark.parametrize("value", [2, -3.5, 1e300])
def test_verify_refuses_statistics_and_counts_that_lie(
    store: Path, honest: dict[str, Any], value: float
) -> None:
    for path in places(honest):
        if harmless(path) and path[0] in ("statistics", "counts") and path[-1] != "rewards":
            content = changed(honest, path, put(value))
            if content == honest:
                continue
            (store / "manifest.json").write_text(json.dumps(content))
            with pytest.raises(ValueError, match="To mend it"):
                open_store(store, verify=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "JSON"),
        (b"\0" * 100, "JSON"),
        (b"{", "JSON"),
        (b"[]", "valid dictionary"),
        (b"null", "valid dictionary"),
        (b'"offline_actrep store"', "valid dictionary"),
        (b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system", "JSON"),
        (b"PAR1" * 40, "JSON"),
        ('{"é": "\ud800"}'.encode("utf-8", "surrogatepass"), "JSON"),
        (b'{"version": 1, "version": 1}', "the key 'version' more than once"),
        (b'{"version": NaN}', "NaN, which is not JSON"),
        (b'{"version": -Infinity}', "-Infinity, which is not JSON"),
        (b'{"version": 2}', "expected store version 1, got 2"),
        (b'{"version": ' + b"9" * 10_000 + b"}", "JSON"),
        (b"[" * 1_000_000, "JSON"),
        (b'{"a":' * 300_000, "JSON"),
        (b'{"about": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "JSON"),
        (b"[" + b"0," * 3_000_000 + b"0]", "valid dictionary"),
        (b"{" + b",".join(b'"%d": 0' % k for k in range(200_000)) + b"}", "format"),
        (b" " * (manifest_module.LARGEST_MANIFEST + 1), "at most"),
    ],
    ids=range(20),
)
def test_what_is_no_manifest_is_refused_and_soon(store: Path, text: bytes, message: str) -> None:
    begun = time.process_time()
    assert message in refused(store, text)
    assert time.process_time() - begun < 10  # a hang, not a speed


@given(where=st.floats(0, 1, exclude_max=True), put=st.binary(max_size=4), cut=st.integers(0, 4))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_bytes_that_changed_are_refused_or_of_no_harm(
    store: Path, honest: dict[str, Any], where: float, put: bytes, cut: int
) -> None:
    text = json.dumps(honest, indent=1, sort_keys=True).encode()
    at = int(where * len(text))
    (store / "manifest.json").write_bytes(text[:at] + put + text[at + cut :])
    try:
        log = open_store(store)
    except ValueError as error:
        assert str(store) in str(error)
        return
    for name in ("observations", "rewards", "terminated", "has_next", "episode_offsets"):
        assert getattr(log, name).tolist() == getattr(small_log(), name).tolist()


def test_names_cannot_leave_the_folder(store: Path, honest: dict[str, Any]) -> None:
    column = honest["columns"]["rewards"]
    for name in ("../rewards", "/etc/passwd", "rewards.bin", "rewards\0", "Rewards", "résumé", ""):
        said = refused(store, honest | {"columns": honest["columns"] | {name: column}})
        assert "expected columns of observations, actions" in said


def test_no_type_but_those_of_the_list(store: Path, honest: dict[str, Any]) -> None:
    for name in honest["columns"]:
        for dtype in ("|O", "O8", "<U0", "<U", "<U99999", "<V8", ">f4", "<c8", "f4,f4", "<U٣", "i"):
            said = refused(store, changed(honest, ("columns", name, "dtype"), put(dtype)))
            assert repr(name) in said or f"{name}.bin" in said


def test_sizes_are_counted_in_whole_numbers(store: Path, honest: dict[str, Any]) -> None:
    """Bytes that are 0, or right, modulo 2^64 are not taken for right."""
    names = {"observation_names": [], "statistics": honest["statistics"]}
    for rows, size in ((12, 2**48), (2**32, 2**32), (2**48, 2**48), (12 + 2**48, 2)):
        counts = honest["counts"] | {"rows": rows, "observation_size": size}
        refused(store, honest | names | {"counts": counts})


def test_an_honest_manifest_is_written_the_same_again(store: Path, honest: dict[str, Any]) -> None:
    assert render_manifest(store, honest) == (store / "manifest.json").read_bytes()
    assert read_manifest(store).columns.keys() == honest["columns"].keys()
    assert is_store(store) and not is_store(store.parent) and not is_store(store / "manifest.json")
    assert same(open_store(store, verify=True), small_log())


def test_no_manifest_is_written_that_would_be_refused(
    store: Path, honest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="under 'rows'"):
        render_manifest(store, honest | {"rows": 1})
    monkeypatch.setattr(manifest_module, "LARGEST_MANIFEST", 1000)
    with pytest.raises(ValueError, match="at most 1,000 bytes"):
        render_manifest(store, honest)
