"""Clusters of the actions, whose centres are asked under the metric of the query's own state.

faiss k-means groups codes that do not depend on the state; the point of the action in the middle
of each group, in the query's state, says which groups to look through. Everything is torch, so
that an encoder of any depth will do.
"""

from typing import final

import faiss
import numpy as np
import torch
from jaxtyping import Float32, Int64

from offline_actrep.decoding.index import AbstractIndex, one_thread, static_codes
from offline_actrep.decoding.points import Codes, Heads
from offline_actrep.decoding.search import Found, nearest_of_list, scan


@final
class Ivf(AbstractIndex):
    """Effort is the number of groups that are looked through.

    Args:
        codes: of the encoder that it was built for.
        middles: the action in the middle of each group.
        offsets: where each group begins in `members`.
        members: the actions, group by group.
    """

    kind = "ivf"
    efforts = (8, 16, 32, 64, 128)

    def __init__(
        self,
        codes: Codes,
        middles: Int64[np.ndarray, " C"],
        offsets: Int64[np.ndarray, " C_plus_1"],
        members: Int64[np.ndarray, " A"],
    ) -> None:
        self.middles, self.offsets, self.members = middles, offsets, members
        self._at_middles = codes.part(middles)

    @staticmethod
    def build(codes: Codes, anchors: Heads, *, seed: int) -> "Ivf":
        """About 2 sqrt(A) groups of the actions' points at the anchors' states.

        Centres that no action is nearest to are dropped: a search that looks through a few groups
        would find nothing there.
        """
        static = static_codes(codes, anchors)
        n_groups = max(1, min(len(codes), round(2 * len(codes) ** 0.5)))
        with one_thread():
            means = faiss.Kmeans(
                static.shape[1], n_groups, niter=10, seed=seed, min_points_per_centroid=1
            )
            means.train(static)
            group = means.index.search(static, 1)[1][:, 0]
            everyone = faiss.IndexFlatL2(static.shape[1])
            everyone.add(static)
            middles = everyone.search(np.asarray(means.centroids), 1)[1][:, 0]
        sizes = np.bincount(group, minlength=n_groups)
        middles, sizes = middles[sizes > 0].astype(np.int64), sizes[sizes > 0]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return Ivf(codes, middles, offsets, np.argsort(group, kind="stable"))

    @staticmethod
    def restore(codes: Codes, tensors: dict[str, torch.Tensor]) -> "Ivf":
        """From what `tensors` gave."""
        parts = (tensors[name].numpy() for name in ("middles", "offsets", "members"))
        return Ivf(codes, *parts)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {
            "middles": torch.from_numpy(self.middles),
            "offsets": torch.from_numpy(self.offsets),
            "members": torch.from_numpy(self.members),
        }

    def search(
        self, codes: Codes, heads: Heads, points: Float32[np.ndarray, "B E"], effort: int
    ) -> Found:
        near = scan(self._at_middles, heads, points, fused=codes.is_shallow)
        looked = min(effort, len(self.middles))
        groups = np.argpartition(near, looked - 1, axis=1)[:, :looked]
        sizes = np.diff(self.offsets)[groups]
        offsets = np.concatenate([[0], np.cumsum(sizes.sum(axis=1))])
        starts, counts = self.offsets[groups].reshape(-1), sizes.reshape(-1)
        before = np.cumsum(counts) - counts
        within = np.arange(offsets[-1]) - np.repeat(before, counts)
        listed = self.members[np.repeat(starts, counts) + within]
        return nearest_of_list(codes, heads, points, offsets, listed)
