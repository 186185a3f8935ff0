"""One contract for the search of the nearest action, and the choice of how it is done.

`Decoder.nearest(observations, points, allowed)` is exact unless a recall below 1 is asked for.
Then an index answers, with the least effort that can promise this recall after what was measured
on queries kept apart when the index was made; where none can, the exact search answers.

A table of all points of a state is not kept for when the state comes back. A kept one would answer
in 7 us where the fused scan takes 350 (MLP) or 110 (bilinear) at 4,096 actions, but it costs about
five scans of an MLP to make and 164 kB to keep, and in this package's worlds of a thousand actions
and more a state came back at most twice in 1,920 decisions, on average.

Nor are there two stages, a static index over the points' averages and then the state's own
distance for what it finds: at 100,000 actions the true answer was among the 1,024 found for 25 % of
queries (MLP), 38 % (two layers) and 72 % (bilinear), and for 80 to 88 % with codes standardised a
state.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from offline_actrep.core.actions import AllowedActions, refuse_empty
from offline_actrep.decoding import exact, search
from offline_actrep.decoding.graph import Graph
from offline_actrep.decoding.index import ANCHORS, AbstractIndex, Measured
from offline_actrep.decoding.ivf import Ivf
from offline_actrep.decoding.points import Codes, Heads, points_of
from offline_actrep.decoding.search import Found

Method = Literal["auto", "split", "fused", "graph", "ivf"]
"""How to search; `auto` chooses by the number of actions and the encoder."""

INDEXED = 50_000
"""From this many actions on an index pays for itself."""
FUSED = 64
"""From this many actions on the fused scan is worth its compiling."""
ROWS = 512
"""Most rows at once: what they make of the encoder is an 8 kB row at most."""
AT_ONCE = 2_000_000
"""Most distances at once: 8 MB."""
NOISE = (0.05, 0.5)
"""Noise of calibration queries, in deviations of the points: on the actions' points, and off."""
TOLERANCE = 1e-4
"""How much farther than the nearest, relatively, an answer may be and still count as it."""

KINDS: dict[str, type[Graph] | type[Ivf]] = {"graph": Graph, "ivf": Ivf}

Head = Callable[[Float[Tensor, "B S"]], Heads]
"""What the states of a batch make of the encoder."""


def choose(codes: Codes, *, recall: float, method: Method = "auto") -> Method:
    """The method, where it is `auto`.

    A deep encoder is dear at every node of a walk and cheap in a batch: it gets groups and the
    split scan; all others get the graph and the fused scan.
    """
    if method != "auto":
        return method
    if recall < 1.0 and len(codes) >= INDEXED:
        return "graph" if codes.is_shallow else "ivf"
    return "fused" if codes.is_shallow and len(codes) >= FUSED else "split"


@dataclass(frozen=True, eq=False)
class Calibrated:
    """An index and how it did."""

    index: AbstractIndex
    measured: tuple[Measured, ...]

    def effort(self, recall: float) -> int | None:
        """The least effort that can promise the recall, on the actions' points and off."""
        enough = [m.effort for m in self.measured if m.promised >= recall]
        return enough[0] if enough else None

    def config(self) -> dict[str, Any]:
        """What JSON must hold to make it again, beside the index's tensors."""
        measured = [
            {**asdict(m), "recall": list(m.recall), "ratio": list(m.ratio)} for m in self.measured
        ]
        return {"kind": self.index.kind, "measured": measured}


def restore(codes: Codes, config: dict[str, Any], tensors: dict[str, Tensor]) -> Calibrated:
    """From what `config` and the index's `tensors` gave."""
    measured = tuple(
        Measured(m["effort"], tuple(m["recall"]), tuple(m["ratio"]), m["queries"])
        for m in config["measured"]
    )
    return Calibrated(KINDS[config["kind"]].restore(codes, tensors), measured)


@final
class Decoder:
    """The nearest action among those of one encoder.

    Args:
        codes: the actions' share of the encoder.
        head: the states' share.
        recall: share of queries whose nearest action must be found; 1 is exact.
        method: how; `auto` chooses.
        indexed: the index that `graph` and `ivf` need; without it the search is exact.

    Raises:
        ValueError: a compiled method for an encoder with more than one hidden layer, or an index
            of another kind than the method's.
    """

    def __init__(
        self,
        codes: Codes,
        head: Head,
        *,
        recall: float = 1.0,
        method: Method = "auto",
        indexed: Calibrated | None = None,
    ) -> None:
        self.codes, self.head, self.recall = codes, head, recall
        self.method = choose(codes, recall=recall, method=method)
        if self.method in ("fused", "graph") and not codes.is_shallow:
            raise ValueError(
                f"the method {self.method!r} is for one hidden layer or a bilinear encoder; this "
                f"encoder has {1 + len(codes.layers)} hidden layers, take 'split' or 'ivf'"
            )
        self._index, self._effort = None, None
        if indexed is not None and self.method in ("graph", "ivf"):
            if indexed.index.kind != self.method:
                raise ValueError(f"asked for {self.method}, got an index {indexed.index.kind}")
            self._index, self._effort = indexed.index, indexed.effort(recall)

    def nearest(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, " B"], Float32[Tensor, " B"]]:
        """Dense index of the nearest action, and its l1 distance; the lowest index wins a tie.

        Raises:
            ValueError: a row whose allowed set is empty.
        """
        wanted = np.ascontiguousarray(points.detach().numpy(), np.float32)
        if allowed is not None:
            refuse_empty(allowed.counts > 0)
        best, gap = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.float32)
        for start in range(0, len(wanted), ROWS):
            part = slice(start, start + ROWS)
            heads, asked = self.head(observations[part]), wanted[part]
            if allowed is None:
                best[part], gap[part] = self._of_all(heads, asked)
            else:
                lists = allowed.take(np.arange(start, start + len(asked)))
                best[part], gap[part] = self._of_allowed(heads, asked, lists)
        return torch.from_numpy(best), torch.from_numpy(gap)

    def neighbours(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        count: int,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, "B K"], Float32[Tensor, "B K"]]:
        """Dense indices of the `count` nearest actions, nearest first, and their l1 distances.

        Exact, whatever recall is asked for. The lower index comes first where two are as near;
        -1 and infinity where a row allows fewer.

        Raises:
            ValueError: a row whose allowed set is empty or whose distances are not numbers; a
                `count` below 1.
        """
        exact.refuse_none(count)
        wanted = np.ascontiguousarray(points.detach().numpy(), np.float32)
        if allowed is not None:
            refuse_empty(allowed.counts > 0)
        best = np.empty((len(wanted), count), np.int64)
        gap = np.empty((len(wanted), count), np.float32)
        step = max(1, AT_ONCE // len(self.codes))
        for start in range(0, len(wanted), ROWS):
            heads = self.head(observations[start : start + ROWS])
            for first in range(start, min(start + ROWS, len(wanted)), step):
                part = slice(first, min(first + step, start + ROWS, len(wanted)))
                own = heads.rows(slice(part.start - start, part.stop - start))
                lists = None if allowed is None else allowed.between(part.start, part.stop)
                best[part], gap[part] = search.few(
                    self.codes, own, wanted[part], count, lists, fused=self._is_fused
                )
        found = torch.from_numpy(best)
        exact.refuse_lost(found)
        return found, torch.from_numpy(gap)

    def exact(self, heads: Heads, points: Float32[np.ndarray, "B E"]) -> Found:
        """The nearest of all actions, whatever recall is asked for."""
        step = max(1, AT_ONCE // len(self.codes))
        best, gap = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            best[part], gap[part] = search.nearest_of_all(
                self.codes, heads.rows(part), points[part], fused=self._is_fused
            )
        return best, gap

    @property
    def _is_fused(self) -> bool:
        return self.method != "split" and self.codes.is_shallow

    def _of_all(self, heads: Heads, points: Float32[np.ndarray, "B E"]) -> Found:
        if self._index is None or self._effort is None:
            return self.exact(heads, points)
        return self._index.search(self.codes, heads, points, self._effort)

    def _of_allowed(
        self, heads: Heads, points: Float32[np.ndarray, "B E"], allowed: AllowedActions
    ) -> Found:
        """An index cannot promise its recall among the allowed: where its answer is not allowed
        the row's list is looked through; where it is, it is as good as without the list."""
        listed = np.arange(len(points))
        best, gap = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
        if 4 * len(allowed.indices) > len(points) * len(self.codes):
            best, gap = self._of_all(heads, points)
            listed = np.flatnonzero(~allowed.holds(best))
        for part in _parts(listed, allowed.counts):
            lists = allowed.take(part)
            best[part], gap[part] = search.nearest_of_list(
                self.codes, heads.rows(part), points[part], lists.offsets, lists.indices
            )
        return best, gap


def _parts(
    rows: Int64[np.ndarray, " n"], counts: Int64[np.ndarray, " B"]
) -> list[Int64[np.ndarray, " m"]]:
    """The rows in runs whose lists hold about `AT_ONCE` actions."""
    if not len(rows):
        return []
    ends = np.cumsum(counts[rows]) // AT_ONCE
    return np.split(rows, np.flatnonzero(np.diff(ends)) + 1)


def make_index(
    codes: Codes,
    head: Head,
    observations: Float32[np.ndarray, "N S"],
    *,
    method: Literal["graph", "ivf"],
    queries: int = 500,
    seed: int = 0,
) -> Calibrated:
    """An index, and how well it finds the nearest action of points near the actions' own.

    The states of the anchors and those of the queries are different rows of `observations` where
    there are enough.

    Args:
        codes: the actions' share of the encoder.
        head: the states' share.
        observations: states such as it will be asked about.
        method: which kind.
        queries: on the actions' points, and as many off.
        seed: of the anchors, of what the index draws, and of the queries.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(observations))
    anchors = head(torch.from_numpy(observations[rows[:ANCHORS]]))
    rest = rows[ANCHORS:] if len(rows) > ANCHORS else rows
    index = KINDS[method].build(codes, anchors, seed=seed)
    asked = head(torch.from_numpy(observations[generator.choice(rest, queries)]))
    sets = [queries_near(codes, asked, noise, generator) for noise in NOISE]
    decoder = Decoder(codes.part(slice(None)), head)  # so that its blocks go when it goes
    smallest = [decoder.exact(asked, points)[1] for points in sets]
    measured = []
    for effort in index.efforts:
        found = [index.search(codes, asked, points, effort)[1] for points in sets]
        measured.append(compare(effort, found, smallest))
        if min(measured[-1].recall) == 1.0:
            break
    return Calibrated(index, tuple(measured))


def queries_near(
    codes: Codes, heads: Heads, noise: float, generator: np.random.Generator
) -> Float32[np.ndarray, "B E"]:
    """Points of actions drawn at random, a row a head, with noise in deviations of the points."""
    n = max(len(heads.shift), len(heads.weight))
    drawn = generator.integers(len(codes), size=n)
    own = [
        points_of(codes.part(drawn[s : s + 1]), heads.rows(slice(s, s + 1)))[0, 0].numpy()
        for s in range(n)
    ]
    clean = np.stack(own)
    noisy = clean + noise * clean.std(axis=0) * generator.normal(size=clean.shape)
    return noisy.clip(-1.0, 1.0).astype(np.float32)


def compare(
    effort: int,
    found: list[Float32[np.ndarray, " B"]],
    smallest: list[Float32[np.ndarray, " B"]],
) -> Measured:
    """Recall by distance and mean ratio of distances, each on and off the actions' points."""
    pairs = list(zip(found, smallest, strict=True))
    recall = [float((f <= s * (1 + TOLERANCE) + 1e-7).mean()) for f, s in pairs]
    ratio = [float(((f + 1e-7) / (s + 1e-7)).mean()) for f, s in pairs]
    return Measured(effort, (recall[0], recall[1]), (ratio[0], ratio[1]), len(found[0]))
