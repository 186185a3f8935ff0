"""The actions: which acts and slots the system may utter together, without values.

The first 140 are fixed: four courtesies, then Inform and Request of every pair of domain and slot.
The others are the combinations of acts that were used most often.
"""

import re
from collections.abc import Iterable
from typing import final

import numpy as np
from jaxtyping import Float32

from offline_actrep.simulators.dialogue.ontology import NONE, SYSTEM_PAIRS, DialogueAct

Skeleton = tuple[tuple[str, tuple[str, ...]], ...]
"""An action: acts in the order of utterance, each with its slots in alphabetical order."""

COURTESIES = ("general-welcome", "general-greet", "general-bye", "general-reqmore")
FIXED: tuple[Skeleton, ...] = tuple(((act, (NONE,)),) for act in COURTESIES) + tuple(
    ((f"{domain}-{intent}", (slot,)),)
    for domain, slot in SYSTEM_PAIRS
    for intent in ("Inform", "Request")
)
WITHOUT_SLOTS = ("-NoOffer", "-OfferBook")
"""Acts whose slots follow from the state: written with `none`."""
COMMITTING = ("-NoOffer", "-NoBook", "-Book", "-OfferBooked", "-OfferBook", "-Select")
"""Acts that a projection never adds: they move the user on, or away."""
_ACT = re.compile(r"([A-Za-z]+-[A-Za-z]+)\[([^\]]*)\];")


def skeleton(acts: Iterable[tuple[str, Iterable[str]]]) -> Skeleton | None:
    """The normal form of a combination of acts; None if it offers a choice of nothing."""
    normal: list[tuple[str, tuple[str, ...]]] = []
    for act, slots in acts:
        named = tuple(slots) or (NONE,)
        if act.endswith("-Select"):
            if named[0] == NONE:
                return None
            named = named[:1]
        elif act.endswith(WITHOUT_SLOTS):
            named = (NONE,)
        normal.append((act, tuple(sorted(named))))
    return tuple(normal)


def parse(text: str) -> Skeleton | None:
    """`Hotel-Inform[Name;Area;];general-reqmore[none;];` in normal form."""
    found = [
        (act, [slot for slot in slots.split(";") if slot]) for act, slots in _ACT.findall(text)
    ]
    return skeleton(found) if found else None


@final
class Vocabulary:
    """The actions of a world.

    Args:
        ranked: combinations of acts in normal form, the most frequent first.
        size: how many actions there are; the fixed ones come first.

    Raises:
        ValueError: a size below that of the fixed ones, or too few combinations to fill it.
    """

    def __init__(self, ranked: Iterable[Skeleton], size: int) -> None:
        if size < len(FIXED):
            raise ValueError(
                f"a dialogue world has at least its {len(FIXED)} fixed actions, got {size}"
            )
        distinct = list(dict.fromkeys((*FIXED, *ranked)))
        if len(distinct) < size:
            raise ValueError(
                f"{size} actions were asked for, but with the {len(FIXED)} fixed ones there are "
                f"only {len(distinct)} different combinations of acts: ask for fewer"
            )
        self.skeletons: tuple[Skeleton, ...] = tuple(distinct[:size])
        self.pairs = tuple(sorted({pair for a in self.skeletons for pair in _pairs(a)}))
        column = {pair: place for place, pair in enumerate(self.pairs)}
        self.bits: Float32[np.ndarray, "A F"] = np.zeros((size, len(self.pairs)), np.float32)
        for index, action in enumerate(self.skeletons):
            self.bits[index, [column[pair] for pair in _pairs(action)]] = 1
        self._commits = [
            {act for act, _ in action if act.endswith(COMMITTING)} for action in self.skeletons
        ]
        self._projected: dict[frozenset[tuple[str, str]], int] = {}

    def __len__(self) -> int:
        return len(self.skeletons)

    def nearest(self, act: DialogueAct) -> int:
        """The action most like a system act: of the largest share of pairs in common.

        Values do not count, nor does the order; nothing is offered, refused or booked that the act
        does not. Of equals the more frequent action is taken.
        """
        wanted = skeleton((name, [slot for slot, _ in pairs]) for name, pairs in act.items())
        pairs = frozenset(_pairs(wanted or ()))
        if pairs not in self._projected:
            self._projected[pairs] = self._search(pairs)
        return self._projected[pairs]

    def _search(self, pairs: frozenset[tuple[str, str]]) -> int:
        target = np.array([pair in pairs for pair in self.pairs], np.float32)
        common = self.bits @ target
        alike = common / (len(pairs) + self.bits.sum(axis=1) - common)
        acts = {act for act, _ in pairs}
        return int(np.where([commits <= acts for commits in self._commits], alike, -1).argmax())


def _pairs(action: Skeleton) -> list[tuple[str, str]]:
    return [(act, slot) for act, slots in action for slot in slots]
