"""A walk over a fixed graph of the actions, under the metric of the query's own state.

The graph is level 0 of a faiss HNSW over codes that do not depend on the state (`static_codes`);
the walk goes best first and computes the state's own distance only at the nodes that it meets
(as SL2G does for neural measures: Tan et al., WSDM 2020).
"""

from typing import final

import faiss
import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64

from offline_actrep.decoding import kernels
from offline_actrep.decoding.index import AbstractIndex, one_thread, static_codes
from offline_actrep.decoding.points import Codes, Heads
from offline_actrep.decoding.search import Found, scan, settle

LINKS = 16
"""Links that HNSW keeps a node; level 0 has twice as many."""
ENTRIES = 1024
"""Actions, drawn once, whose distances begin every walk."""


@final
class Graph(AbstractIndex):
    """Effort is the number of nearest actions that a walk keeps.

    Args:
        codes: of the encoder that it was built for.
        neighbours: each action's, filled up with -1.
        entries: where walks begin.
    """

    kind = "graph"
    efforts = (32, 64, 128, 256, 512, 1024, 2048)

    def __init__(
        self,
        codes: Codes,
        neighbours: Int32[np.ndarray, "A links"],
        entries: Int64[np.ndarray, " n"],
    ) -> None:
        self.neighbours, self.entries = neighbours, entries
        self._at_entries = codes.part(entries)
        self._marks = np.zeros(len(neighbours) + 1, np.int32)

    @staticmethod
    def build(codes: Codes, anchors: Heads, *, seed: int) -> "Graph":
        """Over the actions' points at the anchors' states."""
        static = static_codes(codes, anchors)
        with one_thread():
            index = faiss.IndexHNSWFlat(static.shape[1], LINKS)
            index.add(static)
        ends = faiss.vector_to_array(index.hnsw.offsets)  # type: ignore[attr-defined]
        flat = faiss.vector_to_array(index.hnsw.neighbors)  # type: ignore[attr-defined]
        neighbours = flat[ends[:-1, None].astype(np.int64) + np.arange(2 * LINKS)]
        generator = np.random.default_rng(seed)
        entries = np.sort(generator.permutation(len(codes))[:ENTRIES])
        return Graph(codes, neighbours, entries)

    @staticmethod
    def restore(codes: Codes, tensors: dict[str, torch.Tensor]) -> "Graph":
        """From what `tensors` gave."""
        return Graph(codes, tensors["neighbours"].numpy(), tensors["entries"].numpy())

    def tensors(self) -> dict[str, torch.Tensor]:
        return {
            "neighbours": torch.from_numpy(self.neighbours),
            "entries": torch.from_numpy(self.entries),
        }

    def search(
        self, codes: Codes, heads: Heads, points: Float32[np.ndarray, "B E"], effort: int
    ) -> Found:
        at_entries = scan(self._at_entries, heads, points, fused=True)
        beam = min(effort, len(codes))
        found = np.empty((len(points), beam), np.int64)
        distances = np.empty((len(points), beam), np.float32)
        kernels.walk(
            codes.table, codes.bent, heads.shift, heads.weight, heads.bias, points,
            self.neighbours, self.entries, at_entries, self._marks, found, distances,
        )  # fmt: skip
        offsets = np.arange(len(points) + 1) * beam
        return settle(codes, heads, points, offsets, found.reshape(-1), distances.reshape(-1))
