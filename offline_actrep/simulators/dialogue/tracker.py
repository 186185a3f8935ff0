"""The tracker: what the system knows, and the 392 bits of it that a policy sees.

The layout is that of ConvLab's state encoder for MultiWOZ. Block by block: one-hot counts of the
rows that match in four tables; three booking pairs that never change, as the rule tracker of
ConvLab never records a booking; the belief; the requests so far; the user's last act; and how often
in a row the user said just that.
"""

from typing import final

from offline_actrep.simulators.dialogue.database import Database
from offline_actrep.simulators.dialogue.ontology import (
    BOOK_SLOTS,
    DOMAINS,
    DONT_CARE,
    SEMI_SLOTS,
    SYSTEM_PAIRS,
    USER_SLOTS,
    DialogueAct,
    belief_name,
    parts,
)

COUNTED: dict[str, tuple[int, ...]] = {
    "restaurant": (0, 1, 2, 3, 4),
    "hotel": (0, 1, 2, 3, 4),
    "attraction": (0, 1, 2, 3, 4),
    "train": (0, 2, 5, 10, 40),
}
"""Domains whose matching rows are counted; the most rows that each bit but the last stands for."""
BOOKING_PAIRS = 3
FILLS = ("empty", "don't care", "filled")
ACT_KINDS = ("inform", "request", "booking")
MOST_REPEATS = 4


def _state_names() -> tuple[str, ...]:
    names: list[str] = []
    for domain, bounds in COUNTED.items():
        names += [f"{domain} rows <= {bound}" for bound in bounds]
        names.append(f"{domain} rows > {bounds[-1]}")
    for pair in range(BOOKING_PAIRS):
        names += [f"booking {pair} unknown", f"booking {pair} known"]
    for domain in DOMAINS:
        names += [f"{domain} book {slot}" for slot in sorted((*BOOK_SLOTS[domain], "booked"))]
        names += [f"{domain} {slot} {fill}" for slot in SEMI_SLOTS[domain] for fill in FILLS]
        names.append(f"{domain} active")
    for domain in DOMAINS:
        names += [f"{domain} requested {slot}" for slot in (*USER_SLOTS[domain], "ref")]
    names += [f"user {kind} {domain} {slot}" for domain, slot in SYSTEM_PAIRS for kind in ACT_KINDS]
    names += [f"repeated {count}" for count in range(MOST_REPEATS + 1)]
    return tuple(names)


STATE_NAMES = _state_names()
STATE_SIZE = len(STATE_NAMES)
BIT = {name: place for place, name in enumerate(STATE_NAMES)}
_COUNTS = {domain: BIT[f"{domain} rows <= 0"] for domain in COUNTED}
_FILL = {
    (domain, slot): BIT[f"{domain} {slot} {FILLS[0]}"]
    for domain in DOMAINS
    for slot in SEMI_SLOTS[domain]
}
_BOOK = {
    (domain, slot): BIT[f"{domain} book {slot}"]
    for domain in DOMAINS
    for slot in BOOK_SLOTS[domain]
}
_ACTIVE = {domain: BIT[f"{domain} active"] for domain in DOMAINS}
_REQUESTED = {
    (domain, slot): BIT[f"{domain} requested {slot}"]
    for domain in DOMAINS
    for slot in USER_SLOTS[domain]
}
_SAID = {
    (domain.lower(), kind, slot): BIT[f"user {kind} {domain} {slot}"]
    for domain, slot in SYSTEM_PAIRS
    for kind in ACT_KINDS
}
_SAID_BLOCK = slice(BIT["user inform Attraction Addr"], BIT["repeated 0"])
_REPEATED = BIT["repeated 0"]


def _opening() -> bytes:
    """The bits before anything was said, but for the counts."""
    bits = bytearray(STATE_SIZE)
    for pair in range(BOOKING_PAIRS):
        bits[BIT[f"booking {pair} unknown"]] = 1
    for place in _FILL.values():
        bits[place] = 1
    return bytes(bits)


_OPENING = _opening()


@final
class Tracker:
    """What the system knows of one dialogue.

    Attributes:
        belief: constraints told so far, a dict a domain; belief name -> value.
        said: the user's last act.
        bits: `STATE_SIZE` zeros and ones, changed in place.
    """

    def __init__(self, tables: Database) -> None:
        self.tables = tables
        self.belief: dict[str, dict[str, str]] = {domain: {} for domain in DOMAINS}
        self.said: DialogueAct = {}
        self.bits = bytearray(_OPENING)
        self._repeats = 0
        for domain in COUNTED:
            self._count(domain)

    def hear(self, said: DialogueAct) -> None:
        """Files what the user has just said."""
        bits = self.bits
        self._repeats = min(self._repeats + 1, MOST_REPEATS) if said == self.said else 0
        self.said = said
        bits[_SAID_BLOCK] = bytes(_SAID_BLOCK.stop - _SAID_BLOCK.start)
        bits[_REPEATED:] = bytes(MOST_REPEATS + 1)
        bits[_REPEATED + self._repeats] = 1
        for act, pairs in said.items():
            domain, intent = parts(act)
            if domain == "general":
                continue
            for slot, value in pairs:
                place = _SAID.get((domain, intent, slot))
                if place is not None:
                    bits[place] = 1
                name = belief_name(domain, slot) or slot.lower()
                if intent == "inform":
                    self._file(domain, name, value)
                elif (domain, name) in _REQUESTED:
                    bits[_REQUESTED[domain, name]] = 1
            if intent == "inform" and domain in COUNTED:
                self._count(domain)

    def _file(self, domain: str, slot: str, value: str) -> None:
        bits = self.bits
        place = _FILL.get((domain, slot))
        if place is not None:
            self.belief[domain][slot] = value
            bits[place : place + 3] = b"\0\1\0" if value == DONT_CARE else b"\0\0\1"
        elif (domain, slot) in _BOOK:
            bits[_BOOK[domain, slot]] = 1
        else:
            return
        bits[_ACTIVE[domain]] = 1

    def found(self, domain: str) -> int:
        """The set of rows that satisfy what was told of the domain."""
        return self.tables[domain].find(self.belief[domain])

    def _count(self, domain: str) -> None:
        count = self.found(domain).bit_count()
        start, bounds = _COUNTS[domain], COUNTED[domain]
        self.bits[start : start + len(bounds) + 1] = bytes(len(bounds) + 1)
        self.bits[start + sum(count > bound for bound in bounds)] = 1
