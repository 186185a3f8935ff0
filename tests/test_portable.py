"""The process in which logs are made: what it is told, what comes back, how it may end."""

import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from offline_actrep.core.progress import OnStep
from offline_actrep.files.artifact import read_json, write_json
from offline_actrep.portable import ENVIRONMENT, OnStage, portably


def silent(name: str) -> OnStep:
    del name
    return lambda done, steps, losses: None


def note_environment(file: Path, on_stage: OnStage) -> None:
    del on_stage
    write_json(file, {"told": dict(os.environ), "threads": torch.get_num_threads()})


def count(to: int, on_stage: OnStage) -> None:
    on_step = on_stage("counting")
    for k in range(to):
        on_step(k + 1, to, {"left": float(to - k - 1)})
    on_stage("silence")


def multiply(file: Path, on_stage: OnStage) -> None:
    """Sums long enough that the order in which they are added shows."""
    del on_stage
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randn(*shape, generator=generator) for shape in ((64, 999), (999, 33)))
    np.save(file, torch.tanh(rows @ columns).sum(0).numpy())


def refuse(kind: type[Exception], on_stage: OnStage) -> None:
    del on_stage
    raise kind("no such thing")


def die(on_stage: OnStage) -> None:
    on_stage("dying")
    os.kill(os.getpid(), signal.SIGKILL)


def test_it_is_told_how_to_round_and_its_parent_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    before = dict(os.environ)
    portably(partial(note_environment, tmp_path / "found.json"), silent)
    found = read_json(tmp_path / "found.json")
    assert ENVIRONMENT.items() <= found["told"].items()
    assert found["threads"] == 1
    assert dict(os.environ) == before


def test_progress_is_told_stage_by_stage() -> None:
    heard: list[tuple[str, int, int, Mapping[str, float]]] = []
    stages: list[str] = []

    def on_stage(name: str) -> OnStep:
        stages.append(name)
        return lambda done, steps, losses: heard.append((name, done, steps, losses))

    portably(partial(count, 3), on_stage)
    assert stages == ["counting", "silence"]
    assert heard == [("counting", k + 1, 3, {"left": 2.0 - k}) for k in range(3)]


@pytest.mark.parametrize("kind", [ValueError, ImportError, FileNotFoundError])
def test_what_it_raises_is_raised_here(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="no such thing"):
        portably(partial(refuse, kind), silent)


def leave(on_stage: OnStage) -> None:
    del on_stage
    os._exit(3)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (die, r"died \(exit status -9\).*memory.*run the same command"),
        (leave, r"died \(exit status 3\).*stands above.*main guard.*run the same command"),
    ],
)
def test_its_death_is_told(work: Callable[[OnStage], None], said: str) -> None:
    with pytest.raises(ChildProcessError, match=said):
        portably(work, silent)


@pytest.mark.parametrize(
    "other",
    [{"MKL_ENABLE_INSTRUCTIONS": "AVX2"}, {"ATEN_CPU_CAPABILITY": "default"}],
    ids=lambda other: next(iter(other)),
)
def test_other_instructions_give_the_same_bits(
    other: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    portably(partial(multiply, tmp_path / "here.npy"), silent)
    for name, value in other.items():
        monkeypatch.setenv(name, value)
    portably(partial(multiply, tmp_path / "there.npy"), silent)
    here, there = np.load(tmp_path / "here.npy"), np.load(tmp_path / "there.npy")
    np.testing.assert_array_equal(here.view(np.int32), there.view(np.int32))
