"""The judge: whether a dialogue served its goal, seen from outside.

The user takes any answer and any booking; the judge looks at what was said and what was booked, as
ConvLab's evaluator for MultiWOZ does. Inform: of the slots that were requested, which did the
system tell with a plausible value? Book: does the entity booked first meet the constraints?
"""

import re
from typing import final

from offline_actrep.simulators.dialogue.database import Database, Row
from offline_actrep.simulators.dialogue.goals import Goal
from offline_actrep.simulators.dialogue.ontology import DOMAINS, DialogueAct, belief_name, parts

INFORMING = frozenset({"inform", "recommend", "offerbook", "offerbooked"})
BOOKABLE = frozenset({"hotel", "restaurant", "train"})
"""Domains whose bookings carry the number of a row."""
REFERENCE = re.compile(r"\d{8}")
NOT_MATCHED = frozenset({"departure", "destination", "name"})
"""Constraints that are not held against a booking."""
REQUESTABLE: dict[str, frozenset[str]] = {
    "attraction": frozenset({"postcode", "phone", "address", "entrance fee", "area", "type"}),
    "restaurant": frozenset({"address", "phone", "postcode", "pricerange", "area", "food"}),
    "train": frozenset({"price", "duration", "trainID", "arriveBy", "leaveAt"}),
    "hotel": frozenset(
        {"address", "postcode", "phone", "pricerange", "internet", "parking", "area"}
        | {"type", "stars"}
    ),
    "taxi": frozenset({"car type", "phone"}),
    "hospital": frozenset({"postcode", "phone", "address"}),
    "police": frozenset({"address", "postcode", "phone"}),
}
"""What a user can ask for: telling any other slot is neither right nor wrong."""
_TIME = re.compile(r"\d\d:\d\d")
PLAUSIBLE: dict[str, re.Pattern[str]] = {
    "area": re.compile("centre|east|west|north|south"),
    "pricerange": re.compile("cheap|moderate|expensive|free"),
    "leaveAt": _TIME,
    "arriveBy": _TIME,
    "phone": re.compile(r"\d{11}"),
    "postcode": re.compile(r"[a-z]{1,2}\d{1,3}[a-z]{2,3}"),
    "stars": re.compile(r"\d"),
    "trainID": re.compile(r"tr\d{4}"),
}
"""What a value looks like in full, in lower case; slots not named here take anything but a none."""
NO_VALUE = frozenset({"", "none", "n/a", "unknown"})


@final
class Evaluator:
    """The judge of one dialogue."""

    def __init__(self, goal: Goal, tables: Database) -> None:
        self.goal = goal
        self.tables = tables
        self.booked: dict[str, Row] = {}
        self._told: dict[str, set[str]] = {domain: set() for domain in DOMAINS}
        self._implausible = 0
        self._domain = ""

    def hear(self, act: DialogueAct, *, system: bool) -> None:
        """Takes note of what the system or the user said."""
        for name, pairs in act.items():
            domain, intent = parts(name)
            if domain in REQUESTABLE and pairs:
                self._domain = domain
            if not system:
                continue
            if domain in REQUESTABLE and intent in INFORMING:
                self._hear_told(domain, pairs)
            for slot, value in pairs:
                if slot == "Ref" and f"{domain}-{intent}" == "booking-book":
                    self._book(self._domain, value)
                elif slot == "Ref" and domain == "train" and intent in ("inform", "offerbooked"):
                    self._book("train", value)

    def _hear_told(self, domain: str, pairs: list[tuple[str, str]]) -> None:
        for slot, value in pairs:
            name = belief_name(domain, slot)
            if name not in REQUESTABLE[domain]:
                continue
            if plausible(name, value):
                self._told[domain].add(name)
            else:
                self._implausible += 1

    def _book(self, domain: str, reference: str) -> None:
        if domain not in BOOKABLE or domain in self.booked:
            return
        if REFERENCE.fullmatch(reference) and int(reference) < len(self.tables[domain]):
            self.booked[domain] = self.tables[domain].rows[int(reference)]

    def informed(self) -> tuple[int, int, int]:
        """Requested slots told, other slots told or told implausibly, requested slots not told."""
        right, needless, missing = 0, self._implausible, 0
        for domain, told in self._told.items():
            wish = self.goal.get(domain)
            requests = set(wish.requests) if wish else set()
            constrained = set(wish.info) if wish else set()
            right += len(requests & told)
            missing += len(requests - told)
            needless += len(told - requests - constrained)
        return right, needless, missing

    def book_rate(self) -> float | None:
        """Mean share of constraints that the booked rows meet; None if no booking was wanted."""
        rates = []
        for domain, wish in self.goal.items():
            info = {slot: v for slot, v in wish.info.items() if slot not in NOT_MATCHED}
            if wish.book and domain not in self.booked:
                rates.append(0.0)
            elif wish.book and info:
                row = self.booked[domain]
                rates.append(sum(_meets(row, *pair) for pair in info.items()) / len(info))
        return sum(rates) / len(rates) if rates else None

    def success(self) -> bool:
        """Whether all that was requested was told and all that was booked fits."""
        return self.informed()[2] == 0 and self.book_rate() in (None, 1.0)


def plausible(slot: str, value: str) -> bool:
    """Whether the value of a slot (by its belief name) could be an answer."""
    value = value.strip().lower()
    if value in NO_VALUE:
        return False
    return slot not in PLAUSIBLE or PLAUSIBLE[slot].fullmatch(value) is not None


def _meets(row: Row, slot: str, wanted: str) -> bool:
    if slot == "leaveAt":
        return row[slot] >= wanted
    if slot == "arriveBy":
        return row[slot] <= wanted
    return row.get(slot) == wanted
