"""What a stage leaves on disk is whole or absent, and reads back as it was written."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offline_actrep.files import artifact
from offline_actrep.files.artifact import (
    DONE,
    UNFINISHED,
    digest,
    is_whole,
    may_become,
    new_artifact,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_a_finished_artifact_is_whole_and_says_what_it_was_made_from(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "points"
    with new_artifact(folder, {"kind": "points", "seed": 3}) as draft:
        write_json(draft / "content.json", [1])
        assert not is_whole(folder)
    assert is_whole(folder)
    assert read_json(folder / DONE) == {"kind": "points", "seed": 3}
    assert read_json(folder / "content.json") == [1]
    assert [entry.name for entry in folder.parent.iterdir()] == ["points"]


def test_an_error_inside_leaves_no_folder_under_the_name(tmp_path: Path) -> None:
    folder = tmp_path / "points"
    with (
        pytest.raises(RuntimeError, match="power cut"),
        new_artifact(folder, {"kind": "points"}) as draft,
    ):
        write_json(draft / "content.json", [1])
        raise RuntimeError("power cut")
    assert not folder.exists()
    assert not is_whole(folder)


def test_an_error_inside_leaves_the_earlier_artifact_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with new_artifact(folder, {"key": "old"}):
        pass
    with pytest.raises(RuntimeError), new_artifact(folder, {"key": "new"}):
        raise RuntimeError
    assert read_json(folder / DONE) == {"key": "old"}


def test_what_a_killed_attempt_left_is_removed(tmp_path: Path) -> None:
    stale = tmp_path / "points.tmp"
    with pytest.raises(KeyboardInterrupt), new_artifact(tmp_path / "points", {}) as draft:
        (draft / "half.bin").write_bytes(b"half")
        raise KeyboardInterrupt
    assert (stale / "half.bin").is_file()
    with new_artifact(tmp_path / "points", {}) as draft:
        assert [file.name for file in draft.iterdir()] == [UNFINISHED]
    assert [file.name for file in (tmp_path / "points").iterdir()] == [DONE]
    assert not stale.exists()


@pytest.mark.parametrize("name", ["thesis", "thesis.tmp"])
def test_a_folder_of_others_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "part").mkdir(parents=True)
    (tmp_path / name / "part" / "ch1.tex").write_text("all I have", encoding="utf-8")
    said = f"{name}: expected a new folder, or one with a policy to replace, got one with 'part'"
    with (
        pytest.raises(ValueError, match=said),
        new_artifact(tmp_path / "thesis", {"kind": "policy"}),
    ):
        raise AssertionError("nothing may be written")
    assert (tmp_path / name / "part" / "ch1.tex").is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_file_and_an_artifact_of_another_kind_are_left_alone(tmp_path: Path) -> None:
    with new_artifact(tmp_path / "points", {"kind": "representation"}):
        pass
    (tmp_path / "file").touch()
    for name, got in (("points", "a representation"), ("file", "a file")):
        with pytest.raises(ValueError, match=f"one with a policy to replace, got {got}"):
            may_become(tmp_path / name, "policy")
    may_become(tmp_path / "points", "representation")
    (tmp_path / "empty").mkdir()
    may_become(tmp_path / "empty", "policy")


def test_killed_while_an_earlier_artifact_is_removed_nothing_half_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "log"
    with new_artifact(folder, {"kind": "log"}) as draft:
        for name in ("log.parquet", "actions.parquet"):
            (draft / name).touch()
    unlink = Path.unlink

    def killed(file: Path, missing_ok: bool = False) -> None:
        unlink(file, missing_ok)
        if file.name.endswith(".parquet"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt), new_artifact(folder, {"kind": "log"}):
            pass
    assert len(list(folder.glob("*.parquet"))) == 1 and not is_whole(folder)
    with new_artifact(folder, {"kind": "log"}) as draft:
        (draft / "log.parquet").touch()
    assert sorted(file.name for file in folder.iterdir()) == [DONE, "log.parquet"]


def test_an_earlier_artifact_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    for name in ("first.json", "second.json"):
        with new_artifact(folder, {"name": name}) as draft:
            write_json(draft / name, {})
    assert sorted(file.name for file in folder.iterdir()) == sorted([DONE, "second.json"])


def test_the_mark_of_being_done_is_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    replace = artifact.os.replace

    def noting(source: Path, target: Path) -> None:
        moved.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(artifact.os, "replace", noting)
    with new_artifact(tmp_path / "points", {}) as draft:
        write_json(draft / "a.json", 1)
        write_tensors(draft / "b.safetensors", {"b": torch.zeros(2)})
    assert moved == ["a.json", "b.safetensors", DONE, "points"]


def test_a_folder_without_the_mark_is_no_artifact(tmp_path: Path) -> None:
    assert not is_whole(tmp_path / "nowhere")
    assert not is_whole(tmp_path)


def test_a_digest_is_stable_from_one_version_to_the_next() -> None:
    assert digest("policy", 1, {"gamma": 0.97}, None) == "21a57d3b2909ab22"


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_a_digest_does_not_depend_on_the_order_of_keys(content: dict[str, object]) -> None:
    turned = dict(reversed(list(content.items())))
    assert digest("a", content) == digest("a", turned)


def test_a_digest_tells_contents_and_their_order_apart() -> None:
    assert len({digest("a", "b"), digest("b", "a"), digest("ab"), digest(["a", "b"])}) == 4
    assert digest({"steps": 1}) != digest({"steps": 2})
    assert digest({"steps": 1}) != digest({"steps": "1"})


@given(JSON)
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, content) -> None:
    file = tmp_path_factory.getbasetemp() / "content.json"
    write_json(file, content)
    assert read_json(file) == content
    assert not file.with_name("content.json.tmp").exists()


def test_equal_json_is_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1, "y": [2.5]})
    write_json(tmp_path / "b.json", {"y": [2.5], "x": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_json_that_cannot_be_written_leaves_the_earlier_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"not json": object()})
    assert read_json(tmp_path / "a.json") == 1


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "nonsense"])
def test_broken_json_names_the_file_and_what_to_do(tmp_path: Path, text: str) -> None:
    file = tmp_path / "curve.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"curve\.json is not JSON: .*remove it") as caught:
        read_json(file)
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    written = {
        "floats": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
        "turned": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
        "ids": torch.tensor([2**40, -1]),
        "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(1.5),
    }
    write_tensors(file, written)
    read = read_tensors(file)
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name
    assert not file.with_name("weights.safetensors.tmp").exists()
