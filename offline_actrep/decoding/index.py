"""What a search that looks at few actions must do, and what is known of how often it errs."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from jaxtyping import Float32

from offline_actrep.decoding.points import Codes, Heads, points_of
from offline_actrep.decoding.search import Found

ANCHORS = 12
"""States whose points are laid side by side for the static structures."""
COMPONENTS = 16
"""Principal components of them that are kept."""
SAMPLE = 20_000
"""Actions from which the components are computed."""


class AbstractIndex(ABC):
    """A structure over the actions that does not depend on the state.

    Attributes:
        kind: its name.
        efforts: how hard it can look, in ascending order.
    """

    kind: str
    efforts: tuple[int, ...]

    @abstractmethod
    def search(
        self, codes: Codes, heads: Heads, points: Float32[np.ndarray, "B E"], effort: int
    ) -> Found:
        """The nearest action met, and its distance."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """What it is made of."""


@dataclass(frozen=True)
class Measured:
    """How a search did on points that it was not made from, against the exact one.

    Attributes:
        effort: how hard it looked.
        recall: share of queries whose distance is at most (1 + 1e-4) of the smallest: on the
            actions' points (5 % noise), and off them (50 %).
        ratio: mean of its distance by the smallest, on and off.
        queries: how many on, and as many off.
    """

    effort: int
    recall: tuple[float, float]
    ratio: tuple[float, float]
    queries: int

    @property
    def promised(self) -> float:
        """The smaller recall less what chance may have added: Wilson's bound at one deviation.

        Five hundred queries without a miss promise 0.998, and never 0.999.
        """
        n, share = self.queries, min(self.recall)
        spread = (share * (1 - share) / n + 1 / (4 * n * n)) ** 0.5
        return (share + 1 / (2 * n) - spread) / (1 + 1 / n)


def static_codes(codes: Codes, anchors: Heads) -> Float32[np.ndarray, "A D"]:
    """The actions' points at some states side by side, as principal components.

    Actions near each other here are near in most states: good enough to say whom to look at next,
    not to say who is nearest.
    """
    step = 8192
    generator = np.random.default_rng(0)
    some = np.sort(generator.permutation(len(codes))[:SAMPLE])
    sample = _side_by_side(codes.part(some), anchors)
    centre = sample.mean(axis=0)
    _, _, axes = np.linalg.svd(sample - centre, full_matrices=False)
    axes = axes[:COMPONENTS].T
    parts = [
        (_side_by_side(codes.part(slice(start, start + step)), anchors) - centre) @ axes
        for start in range(0, len(codes), step)
    ]
    return np.ascontiguousarray(np.concatenate(parts), np.float32)


def _side_by_side(codes: Codes, anchors: Heads) -> Float32[np.ndarray, "n D"]:
    n_anchors = max(len(anchors.shift), len(anchors.weight))
    at = [points_of(codes, anchors.rows(slice(s, s + 1)))[0] for s in range(n_anchors)]
    return torch.cat(at, dim=1).numpy()


@contextmanager
def one_thread() -> Iterator[None]:
    """faiss on one thread: same input, same bits."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
