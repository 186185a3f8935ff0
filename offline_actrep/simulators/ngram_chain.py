"""The Markov chain of an n-gram recommender: who buys what next, and what recommending does to it.

Back-off. After the purchases a, b the next one is c with probability

    n(a, b, c) / n(a, b, .)   if a purchase followed the pair (a, b) at least m times,
    n(b, c) / n(b, .)         else, if one followed the item b at least m times,
    n(c) / n(.)               else,

n being counts of the log and m `min_context`; each level is plain maximum likelihood. A state thus
behaves as its longest context that is known well, a *node*, and what follows a purchase is again a
node: there are at most as many as known pairs and items and one more, not A^2.

Recommending item r multiplies P(r) by k and renormalises. That is a mixture: with probability
(k - 1) P(r) / (1 + (k - 1) P(r)) the customer buys r for the recommendation's sake, else what would
have been bought anyway. So drawing a purchase, and finding the best recommendation, needs only what
was ever bought at the node; an item that never was cannot be sold there.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import csr_array

from offline_actrep.simulators.ngram_tables import NgramTables

ROOT = 0
"""The node of a customer whose last item tells nothing."""


@final
@dataclass(frozen=True, eq=False)
class NgramChain:
    """Nodes and their entries: entry e of node k is an item that was bought there.

    The root comes first, then the nodes of single items, then those of pairs.

    Attributes:
        pairs: `[P]` key a * A + b of every pair with a node of its own, ascending.
        singles: `[A]` the node of a state whose pair has none, by its last item.
        offsets: `[C + 1]` node k has the entries `offsets[k]:offsets[k + 1]`, items ascending.
        items: `[E]` what is bought.
        counts: `[E]` how often it was.
        below: `[E + 1]` counts of all earlier entries.
        keys: `[E]` node * A + item, ascending.
        following: `[E]` the node that follows.
    """

    pairs: Int64[np.ndarray, " P"]
    singles: Int64[np.ndarray, " A"]
    offsets: Int64[np.ndarray, " C_plus_1"]
    items: Int64[np.ndarray, " E"]
    counts: Int64[np.ndarray, " E"]
    below: Int64[np.ndarray, " E_plus_1"]
    keys: Int64[np.ndarray, " E"]
    following: Int64[np.ndarray, " E"]

    @staticmethod
    def of(tables: NgramTables, min_context: int) -> "NgramChain":
        """The chain of a log's counts.

        Raises:
            ValueError: min_context below 1.
        """
        if min_context < 1:
            raise ValueError(f"min_context must be at least 1, got {min_context}")
        n_items = len(tables)
        contexts = tables.trigrams[:, 0] * n_items + tables.trigrams[:, 1]
        by_one = _well_known(tables.bigrams[:, 0], tables.bigram_counts, min_context)
        by_two = _well_known(contexts, tables.trigram_counts, min_context)
        lasts, pairs = np.unique(tables.bigrams[by_one, 0]), np.unique(contexts[by_two])
        first_pair = 1 + len(lasts)
        singles = np.full(n_items, ROOT)
        singles[lasts] = np.arange(1, first_pair)
        nodes = np.concatenate(
            [
                np.full(n_items, ROOT),
                singles[tables.bigrams[by_one, 0]],
                first_pair + np.searchsorted(pairs, contexts[by_two]),
            ]
        )
        items = np.concatenate(
            [np.arange(n_items), tables.bigrams[by_one, 1], tables.trigrams[by_two, 2]]
        )
        counts = np.concatenate(
            [tables.purchases, tables.bigram_counts[by_one], tables.trigram_counts[by_two]]
        )
        older = np.concatenate([[-1], lasts, pairs % n_items])[nodes]  # -1: of no pair
        return NgramChain(
            pairs=pairs,
            singles=singles,
            offsets=np.searchsorted(nodes, np.arange(first_pair + len(pairs) + 1)),
            items=items,
            counts=counts,
            below=np.concatenate([[0], np.cumsum(counts)]),
            keys=nodes * n_items + items,
            following=_nodes(pairs, singles, older, items),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def locate(
        self, older: Int64[np.ndarray, " B"], newer: Int64[np.ndarray, " B"]
    ) -> Int64[np.ndarray, " B"]:
        """The nodes of customers by their last two items."""
        return _nodes(self.pairs, self.singles, older, newer)

    def totals(self, nodes: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """How many purchases each node has seen."""
        return self.below[self.offsets[nodes + 1]] - self.below[self.offsets[nodes]]

    def find(
        self, nodes: Int64[np.ndarray, " B"], items: Int64[np.ndarray, " B"]
    ) -> tuple[Int64[np.ndarray, " B"], Int64[np.ndarray, " B"]]:
        """The entry of each item at its node, and its count: 0 where it was never bought there."""
        wanted = nodes * len(self.singles) + items
        entries = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return entries, np.where(self.keys[entries] == wanted, self.counts[entries], 0)

    def draw(
        self,
        nodes: Int64[np.ndarray, " B"],
        recommended: Int64[np.ndarray, " B"],
        draws: Float64[np.ndarray, " B"],
        multiplier: float,
    ) -> Int64[np.ndarray, " B"]:
        """The entry bought at each node, from one uniform number each.

        The unit interval is cut in proportion to (k - 1) n(r) for the recommendation's sake and
        n(c) for every entry c in turn.
        """
        pushed, count = self.find(nodes, recommended)
        extra = (multiplier - 1.0) * count
        totals = self.totals(nodes)
        place = draws * (totals + extra) - extra
        rank = np.minimum(np.maximum(place, 0.0).astype(np.int64), totals - 1)
        start = self.below[self.offsets[nodes]]
        anyway = np.searchsorted(self.below, start + rank, side="right") - 1
        return np.where(place < 0.0, pushed, anyway)

    def probabilities(self) -> csr_array:
        """`[C, A]` sparse: what is bought at every node if nothing is recommended."""
        shares = self.counts / self.totals(self.owners())
        return csr_array((shares, self.items, self.offsets), (len(self), len(self.singles)))

    def owners(self) -> Int64[np.ndarray, " E"]:
        """The node of every entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


def extra_share(
    probability: Float64[np.ndarray, " N"], multiplier: float
) -> Float64[np.ndarray, " N"]:
    """Probability that an item is bought for the recommendation's sake."""
    extra = (multiplier - 1.0) * probability
    return extra / (1.0 + extra)


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """What recommending is worth, without discount, by dynamic programming.

    Attributes:
        actions: `[H, C]` row h: the best recommendation with h + 1 decisions to go.
        best: `[C]` expected revenue of H decisions from each node, by the plan.
        uniform: `[C]` the same with recommendations at random.
    """

    actions: Int64[np.ndarray, "H C"]
    best: Float64[np.ndarray, " C"]
    uniform: Float64[np.ndarray, " C"]

    @staticmethod
    def of(
        chain: NgramChain, prices: Float64[np.ndarray, " A"], multiplier: float, horizon: int
    ) -> "Plan":
        """Exact: the chain is the world, and the best recommendation was always bought before.

        At a node the recommendation of c adds share(c) (u(c) - mean u) to the mean of u, where u(c)
        is c's price and what can be earned after it. Some c is at least the mean, so nothing is
        lost by passing over items that were never bought there.
        """
        owners, starts = chain.owners(), chain.offsets[:-1]
        chances = chain.counts / chain.totals(owners)
        share = extra_share(chances, multiplier)
        price = prices[chain.items]
        best, uniform = np.zeros(len(chain)), np.zeros(len(chain))
        actions = np.zeros((horizon, len(chain)), np.int64)
        for row in actions:
            mean, gain = _gains(chances, share, price + best[chain.following], owners, starts)
            most = np.maximum.reduceat(gain, starts)
            hits = np.flatnonzero(gain == most[owners])[::-1]
            row[owners[hits]] = chain.items[hits]  # of equals, the first item stays
            best = mean + most
            mean, gain = _gains(chances, share, price + uniform[chain.following], owners, starts)
            uniform = mean + np.add.reduceat(gain, starts) / len(prices)
        return Plan(actions, best, uniform)


def _gains(
    chances: Float64[np.ndarray, " E"],
    share: Float64[np.ndarray, " E"],
    worth: Float64[np.ndarray, " E"],
    owners: Int64[np.ndarray, " E"],
    starts: Int64[np.ndarray, " C"],
) -> tuple[Float64[np.ndarray, " C"], Float64[np.ndarray, " E"]]:
    """Mean worth of what is bought at each node, and what recommending each entry adds to it."""
    mean = np.add.reduceat(chances * worth, starts)
    return mean, share * (worth - mean[owners])


def _well_known(
    contexts: Int64[np.ndarray, " M"], counts: Int64[np.ndarray, " M"], min_context: int
) -> Bool[np.ndarray, " M"]:
    """The rows whose context was seen at least so often."""
    group = np.unique(contexts, return_inverse=True)[1]
    return np.bincount(group, weights=counts)[group] >= min_context


def _nodes(
    pairs: Int64[np.ndarray, " P"],
    singles: Int64[np.ndarray, " A"],
    older: Int64[np.ndarray, " B"],
    newer: Int64[np.ndarray, " B"],
) -> Int64[np.ndarray, " B"]:
    wanted = older * len(singles) + newer
    place = np.searchsorted(pairs, wanted)
    known = np.searchsorted(pairs, wanted, side="right") > place
    return np.where(known, 1 + singles.max() + place, singles[newer])
