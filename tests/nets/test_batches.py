"""Minibatches: so many, so large, of all rows."""

import torch

from offline_actrep.nets.batches import batches


def drawn(seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [batch.tolist() for batch in batches(10, 4, 100, generator)]


def test_their_number_their_size_and_their_range() -> None:
    assert [len(batch) for batch in drawn(0)] == [4] * 100
    assert {row for batch in drawn(0) for row in batch} == set(range(10))


def test_the_generator_decides() -> None:
    assert drawn(0) == drawn(0) != drawn(1)
