"""The decoder: from an action, which names acts and slots, to a system act with values.

Values come from the tables and from what the user has told: the first row that matches, its
reference number, or an echo of the constraints. What is left without values says nothing: a
refusal to book (NoBook) never has any, so no user ever hears one.
"""

import random
from typing import final

from offline_actrep.simulators.dialogue.ontology import (
    ABSENT,
    NONE,
    SEMI_SLOTS,
    UNKNOWN,
    USER_SLOTS,
    DialogueAct,
    belief_name,
    parts,
)
from offline_actrep.simulators.dialogue.tracker import Tracker
from offline_actrep.simulators.dialogue.vocabulary import Skeleton

NOTHING: list[tuple[str, str]] = [(NONE, NONE)]
"""What an act says that cannot say anything."""
CARS = ("white van", "blue saloon", "red estate", "black limousine", "grey hatchback", "yellow cab")
PHONE_DIGITS = 11
REFERENCE_DIGITS = 8


@final
class Decoder:
    """The decoder of one dialogue.

    ConvLab's decoder carries `domain` over from one dialogue to the next; here every dialogue
    begins without one.

    Attributes:
        domain: the last domain that an act spoke of: what a booking refers to. Empty at first.
    """

    def __init__(self, tracker: Tracker, chance: random.Random) -> None:
        self.tracker = tracker
        self.chance = chance
        self.domain = ""

    def decode(self, skeleton: Skeleton) -> DialogueAct:
        """The system act that the action stands for now."""
        return {act: self._values(act, slots) for act, slots in skeleton}

    def _values(self, act: str, slots: tuple[str, ...]) -> list[tuple[str, str]]:
        domain, intent = parts(act)
        if domain == "general":
            return NOTHING
        if domain != "booking":
            self.domain = domain
        if intent == "request":
            return [(slot, UNKNOWN) for slot in slots]
        if domain == "booking":
            return [("Ref", self._reference())] if intent == "book" else NOTHING
        if intent in ("nooffer", "offerbook"):
            return self._echo(domain)
        if domain == "taxi":
            return self._taxi()
        if intent == "inform" and not train_is_clear(domain, self.tracker):
            return NOTHING
        found = self.tracker.found(domain)
        if not found:
            return NOTHING
        if intent == "select":
            return self._alternatives(domain, slots[0], found)
        row = self.tracker.tables[domain].first(found)
        names = [belief_name(domain, slot) for slot in slots]
        count = str(found.bit_count())
        return [
            (slot, count if name == "choice" else row.get(name, ABSENT))
            for slot, name in zip(slots, names, strict=True)
        ]

    def _alternatives(self, domain: str, slot: str, found: int) -> list[tuple[str, str]]:
        """The slot in the first two rows."""
        table, name = self.tracker.tables[domain], belief_name(domain, slot)
        rows = [table.first(found)]
        if found & (found - 1):
            rows.append(table.first(found & (found - 1)))
        return [(slot, row.get(name, ABSENT)) for row in rows]

    def _echo(self, domain: str) -> list[tuple[str, str]]:
        if not train_is_clear(domain, self.tracker):
            return NOTHING
        told = self.tracker.belief[domain]
        return [
            (USER_SLOTS[domain][name], told[name]) for name in SEMI_SLOTS[domain] if name in told
        ]

    def _taxi(self) -> list[tuple[str, str]]:
        """A car and a number, once a time is known."""
        if not self.tracker.belief["taxi"]:
            return NOTHING
        phone = "".join(self.chance.choices("0123456789", k=PHONE_DIGITS))
        return [("Car", self.chance.choice(CARS)), ("Phone", phone)]

    def _reference(self) -> str:
        """The reference of the first row; a taxi's is that of no table."""
        if self.domain == "taxi":
            return "0" * REFERENCE_DIGITS
        found = self.tracker.found(self.domain) if self.domain else 0
        return self.tracker.tables[self.domain].first(found)["ref"] if found else NONE


def train_is_clear(domain: str, tracker: Tracker) -> bool:
    """Whether journey and time are known; true of every domain but trains."""
    told = tracker.belief[domain]
    timed = "leaveAt" in told or "arriveBy" in told
    return domain != "train" or (timed and "departure" in told and "destination" in told)
