"""Global generators start from the seed inside, and the caller's come back."""

import random

import numpy as np
import pytest
import torch

from offline_actrep.nets.seeding import seeded


def draw() -> tuple[float, float, float]:
    return torch.rand(()).item(), float(np.random.random()), random.random()


def test_the_seed_decides_every_generator() -> None:
    drawn = []
    for seed in (1, 1, 2):
        with seeded(seed):
            drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))


def test_the_callers_state_comes_back() -> None:
    with seeded(9):
        expected = draw(), draw()
    with seeded(9):
        first = draw()
        with seeded(1):
            draw()
        assert (first, draw()) == expected


def test_it_comes_back_after_an_error_too() -> None:
    with seeded(9):
        expected = draw(), draw()
    with seeded(9):
        first = draw()
        with pytest.raises(RuntimeError), seeded(1):
            draw()
            raise RuntimeError
        assert (first, draw()) == expected


def test_a_seed_beyond_32_bits_will_do() -> None:
    with seeded(2**40 + 1):
        draw()
