"""The wizard: a scripted system that knows what the tracker knows.

It answers what was asked from the first row that fits; otherwise it looks at how many rows fit:
none, and it says so; one, and it tells of it; several, and it recommends one of them. Trains are
offered once journey, day and time are known, taxis once a time is. Whatever the user says of a
booking is answered with the booking.

These are the habits of ConvLab's rule-based bot for MultiWOZ, but for one: asked about something
that no row fits, that bot falls silent for good, and this one says that there is none. It makes no
difference to their own dialogues, and much to those that went astray.
"""

import random
from typing import final

from offline_actrep.simulators.dialogue.decoder import CARS, PHONE_DIGITS
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

BOOKING = {
    "hotel": frozenset({"People", "Day", "Stay"}),
    "restaurant": frozenset({"People", "Day", "Time"}),
    "train": frozenset({"People"}),
}
"""What the user says of a booking, by short names; a train's day is a constraint."""
P_WELCOME = 0.3
P_ASK_AGAIN = 0.3
"""Probability of asking for other constraints when no row fits."""
MOST_ASKED_AGAIN = 3
MOST_EXTRAS = 2
"""Most slots told of a recommended row beside its name."""
TRAIN_CONSTRAINTS = 4


@final
class Wizard:
    """The wizard in one dialogue.

    Args:
        tracker: what is known.
        chance: for its whims; one that is seeded anew makes it repeat itself.
    """

    def __init__(self, tracker: Tracker, chance: random.Random) -> None:
        self.tracker = tracker
        self.chance = chance

    def act(self) -> DialogueAct:
        """What it says to the user's last act."""
        says: DialogueAct = {}
        for act, pairs in self.tracker.said.items():
            domain, intent = parts(act)
            if domain == "general":
                self._courtesy(intent, says)
                continue
            named = {slot for slot, _ in pairs}
            booking = BOOKING.get(domain, frozenset()) & named and intent == "inform"
            if booking and self.tracker.found(domain):
                return self._book(domain)
            if domain == "taxi":
                self._taxi(says)
            elif intent == "request" and self.tracker.found(domain):
                self._answer(domain, [slot for slot, _ in pairs], says)
            elif domain == "train":
                self._train(says)
            else:
                self._offer(domain, says)
        return says or {"general-greet": [(NONE, NONE)]}

    def _courtesy(self, intent: str, says: DialogueAct) -> None:
        if intent == "bye":
            says["general-bye"] = [(NONE, NONE)]
        if intent == "thank" or self.chance.random() < P_WELCOME:
            says["general-welcome"] = [(NONE, NONE)]

    def _book(self, domain: str) -> DialogueAct:
        row = self.tracker.tables[domain].first(self.tracker.found(domain))
        return {"Booking-Book": [("Ref", row["ref"])]}

    def _taxi(self, says: DialogueAct) -> None:
        if self.tracker.belief["taxi"]:
            phone = "".join(self.chance.choices("0123456789", k=PHONE_DIGITS))
            says["Taxi-Inform"] = [("Car", self.chance.choice(CARS)), ("Phone", phone)]
        else:
            asked = self.chance.choice((("Leave",), ("Leave", "Arrive")))
            says["Taxi-Request"] = [(slot, UNKNOWN) for slot in asked]

    def _answer(self, domain: str, slots: list[str], says: DialogueAct) -> None:
        row = self.tracker.tables[domain].first(self.tracker.found(domain))
        says[f"{domain.title()}-Inform"] = [
            (slot, row.get(belief_name(domain, slot), ABSENT)) for slot in slots
        ]

    def _train(self, says: DialogueAct) -> None:
        told = self.tracker.belief["train"]
        asked: list[str] = []
        if "leaveAt" not in told and "arriveBy" not in told:
            asked += self.chance.choice((("Leave",), ("Arrive",), ("Leave", "Arrive")))
        for slot in ("day", "destination", "departure"):
            if slot not in told:
                asked.append(USER_SLOTS["train"][slot])
        if not self.tracker.found("train"):
            says["Train-NoOffer"] = self._constraints("train")
        elif len(told) < TRAIN_CONSTRAINTS or asked:
            says["Train-Request"] = [(slot, UNKNOWN) for slot in asked]
        else:
            says["Train-OfferBook"] = self._constraints("train")

    def _offer(self, domain: str, says: DialogueAct) -> None:
        found = self.tracker.found(domain)
        name, chance = domain.title(), self.chance
        if not found:
            says[f"{name}-NoOffer"] = told = self._constraints(domain)
            if told and chance.random() < P_ASK_AGAIN:
                count = min(chance.randint(1, len(told)), MOST_ASKED_AGAIN)
                says[f"{name}-Request"] = [(slot, UNKNOWN) for slot, _ in told[:count]]
            return
        table = self.tracker.tables[domain]
        count = found.bit_count()
        if count == 1:
            row = table.first(found)
            slots = [slot for slot in SEMI_SLOTS[domain] if slot in row]
            chosen = chance.sample(slots, chance.randint(1, len(slots))) if slots else []
            says[f"{name}-Inform"] = [(USER_SLOTS[domain][slot], row[slot]) for slot in chosen]
            return
        row = chance.choice(list(table.each(found)))
        drawn = chance.sample(list(row), chance.randint(0, MOST_EXTRAS))
        extras = [slot for slot in drawn if slot in USER_SLOTS[domain] and slot != "name"]
        told_slots = ["name"] * ("name" in row) + extras
        says[f"{name}-Inform"] = [("Choice", str(count))]
        says[f"{name}-Recommend"] = [(USER_SLOTS[domain][slot], row[slot]) for slot in told_slots]

    def _constraints(self, domain: str) -> list[tuple[str, str]]:
        told = self.tracker.belief[domain]
        return [
            (USER_SLOTS[domain][slot], told[slot]) for slot in SEMI_SLOTS[domain] if slot in told
        ]
