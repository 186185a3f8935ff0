"""Minibatches: so many, so large, of all rows."""

from pathlib import Path

import pytest
import torch

from offline_actrep.core import mapped
from offline_actrep.core.log import Log
from offline_actrep.files.store import open_store, write_store
from offline_actrep.nets.batches import batches, minibatches


def drawn(seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [batch.tolist() for batch in batches(10, 4, 100, generator)]


def test_their_number_their_size_and_their_range() -> None:
    assert [len(batch) for batch in drawn(0)] == [4] * 100
    assert {row for batch in drawn(0) for row in batch} == set(range(10))


def test_the_generator_decides() -> None:
    assert drawn(0) == drawn(0) != drawn(1)


def test_minibatches_are_rows_of_the_log(
    maze_log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store(maze_log, tmp_path / "store")
    stored = open_store(tmp_path / "store")
    numbers = list(batches(len(maze_log), 8, 5, torch.Generator().manual_seed(1)))
    for small in (1 << 26, 0):
        monkeypatch.setattr(mapped, "_SMALL", small)
        found = list(minibatches(stored, 8, 5, torch.Generator().manual_seed(1)))
        assert len(found) == 5
        for rows, batch in zip(numbers, found, strict=True):
            for name, tensor in vars(batch).items():
                assert tensor.numpy().tolist() == getattr(maze_log, name)[rows.numpy()].tolist()
