"""The user: an agenda of things to say, pushed and popped (Schatzmann et al. 2007).

The rules are those of ConvLab's agenda user for MultiWOZ. The agenda is a stack with a farewell at
its bottom; at the start it holds what the goal constrains, the first domain on top. A reply first
hears the system's act, which pushes answers and protests and removes what has become needless,
then utters the top of the stack.

The user believes what it is told: any value answers a request, and a booking counts as made
unless something said in the same act contradicts the goal.
"""

import random
from typing import final

from offline_actrep.simulators.dialogue.goals import Goal
from offline_actrep.simulators.dialogue.ontology import (
    DONT_CARE,
    NONE,
    UNKNOWN,
    USER_SLOTS,
    DialogueAct,
    belief_name,
    parts,
)

MOST_TURNS = 40
"""Turns of user and system together, after which the user leaves."""
INITIATIVE = 4
"""Most items of one utterance."""
BOOKING_INITIATIVE = 10
"""Most items of one utterance about a booking."""
BOOKING_SLOTS = frozenset({"people", "day", "stay", "time"})
TELLING = frozenset({"inform", "recommend", "offerbook", "offerbooked"})
NON_ANSWERS = frozenset({UNKNOWN, NONE, DONT_CARE, "no"})
"""Kept in quotes when they come as answers, so that they do not read as still wanting."""

Item = tuple[str, str, str, str]
"""Domain, intent, slot by its belief name, value."""
BYE: Item = ("general", "bye", NONE, NONE)
THANK: Item = ("general", "thank", NONE, NONE)


@final
class User:
    """One user with one goal.

    Args:
        goal: what the user wants.
        chance: for the order of the agenda and for indifference.
    """

    def __init__(self, goal: Goal, chance: random.Random) -> None:
        self.goal = goal
        self.chance = chance
        self.answers: dict[str, dict[str, str]] = {
            domain: dict.fromkeys(wish.requests, UNKNOWN) for domain, wish in goal.items()
        }
        self.booked = {domain: False for domain, wish in goal.items() if wish.book}
        self.turn = 0
        self._info = {domain: wish.fail_info or wish.info for domain, wish in goal.items()}
        self._book = {domain: wish.fail_book or wish.book for domain, wish in goal.items()}
        self._domain = ""
        self._stack: list[Item] = [BYE]
        self._pushed = 0
        for domain in reversed(goal):
            items = [(domain, "inform", *pair) for pair in self._info[domain].items()]
            chance.shuffle(items)
            self._stack += items

    @property
    def content(self) -> bool:
        """Whether every request is answered and every booking made."""
        return all(self.booked.values()) and not any(
            UNKNOWN in answers.values() for answers in self.answers.values()
        )

    @property
    def left(self) -> bool:
        """Whether the dialogue is over."""
        return not self._stack

    def reply(self, system: DialogueAct) -> DialogueAct:
        """The next utterance; an empty act opens the dialogue. Empties the stack with `bye`."""
        self.turn += 2
        if self.turn > MOST_TURNS:
            self._stack = [BYE]
        else:
            self._pushed = 0
            self._hear(_understood(system))
            if self.content:
                self._stack = [BYE]
        return self._utter()

    def _utter(self) -> DialogueAct:
        stack = self._stack
        domain, intent, slot, _ = stack[-1]
        booking = intent == "inform" and slot in BOOKING_SLOTS
        act = "general-" + intent if domain == "general" else f"{domain}-{intent}".title()
        pairs: list[tuple[str, str]] = []
        for _ in range(self._pushed or (BOOKING_INITIATIVE if booking else INITIATIVE)):
            _, _, slot, value = stack.pop()
            name = USER_SLOTS[domain].get(slot) if domain != "general" else slot
            if name is not None:
                pairs.append((name, value))
            if not stack or stack[-1][0] != domain or stack[-1][1] != intent:
                break
            if booking and stack[-1][2] not in BOOKING_SLOTS:
                break
            if intent == "request" and slot == "name":
                break
        return {act: pairs}

    def _hear(self, heard: list[tuple[str, str, list[tuple[str, str]]]]) -> None:
        """Takes note of an act; gives up where it must."""
        for domain, _, _ in heard:
            if domain in self.goal:
                self._domain = domain
        for domain, intent, _ in heard:
            if (intent == "nooffer" and self._hear_no_offer(domain)) or (
                intent == "nobook" and self._hear_no_book()
            ):
                self._stack = [BYE]
                return
        for domain, intent, pairs in heard:
            if domain == "booking":
                self._hear_booking(intent, pairs)
            elif domain in self.goal:
                self._hear_domain(domain, intent, pairs)
        self._pursue()

    def _hear_domain(self, domain: str, intent: str, pairs: list[tuple[str, str]]) -> None:
        if intent in TELLING:
            right = self._compare(domain, pairs)
            if intent == "offerbooked" and right:
                self._booking_made(domain)
        elif intent == "request":
            self._answer(domain, pairs)
        elif intent == "select":
            self._choose(domain, [pair for pair in pairs if pair[0] != "choice"])

    def _hear_booking(self, intent: str, pairs: list[tuple[str, str]]) -> None:
        domain = self._domain
        if not domain:
            return
        duration = {"train": "duration", "restaurant": "time"}.get(domain, "")
        named = [(duration if slot == "time" else slot, value) for slot, value in pairs]
        named = [pair for pair in named if pair[0]]
        if intent == "request":
            self._answer(domain, named)
        elif intent in ("book", "inform"):
            right = self._compare(domain, named)
            if intent == "book" and right:
                self._booking_made(domain)

    def _booking_made(self, domain: str) -> None:
        if domain in self.booked:
            self.booked[domain] = True
        self._push(*THANK)

    def _hear_no_offer(self, domain: str) -> bool:
        """Turns to what the goal falls back on; whether the user gives up."""
        if domain not in self.goal:
            return False
        wish = self.goal[domain]
        if self._info[domain] is not wish.info:
            self._fall_back(domain, self._info[domain], wish.info)
            self._info[domain] = wish.info
            return False
        return bool(wish.requests)

    def _hear_no_book(self) -> bool:
        domain = self._domain
        if not domain:
            return False
        wish = self.goal[domain]
        if self._book[domain] is not wish.book:
            self._fall_back(domain, self._book[domain], wish.book)
            self._book[domain] = wish.book
            return False
        return bool(wish.book)

    def _fall_back(self, domain: str, old: dict[str, str], new: dict[str, str]) -> None:
        for slot, value in new.items():
            if old.get(slot) != value:
                self._push(domain, "inform", slot, value)

    def _compare(self, domain: str, pairs: list[tuple[str, str]]) -> bool:
        """Takes answers, protests against what the goal contradicts; whether all was right."""
        answers = self.answers[domain]
        right = True
        for slot, value in pairs:
            if slot in answers:
                if not self._has_constraint_to_tell(domain):
                    self._remove(domain, "request", slot)
                    answers[slot] = f'"{value}"' if value in NON_ANSWERS else value
                continue
            own = self._own(domain, slot)
            if own is not None and _contradicts(slot, own, value):
                self._push(domain, "inform", slot, own)
                right = False
        return right

    def _answer(self, domain: str, pairs: list[tuple[str, str]]) -> None:
        for slot, _ in pairs:
            if slot in self.answers[domain]:
                continue
            own = self._own(domain, slot)
            if own is None:
                own = self._place(domain, slot)
            if own is None and self.chance.random() < 0.5:
                own = DONT_CARE
            if own is not None:
                self._push(domain, "inform", slot, own)

    def _choose(self, domain: str, pairs: list[tuple[str, str]]) -> None:
        if not pairs:
            return
        slot, value = pairs[0]
        own = self._own(domain, slot)
        if own is None and domain == "taxi" and slot in ("destination", "departure"):
            own = self._place(domain, slot)
            if own is None:
                return
        if own is not None:
            self._push(domain, "inform", slot, own)
            return
        slot, value = self.chance.choice(pairs)
        self._push(domain, "inform", slot, value)
        if slot in self.answers[domain]:
            self._remove(domain, "request", slot)
            self.answers[domain][slot] = value

    def _pursue(self) -> None:
        """Pushes what the first unfinished domain still lacks, if nothing else is under way."""
        for domain, wish in self.goal.items():
            wanting = [slot for slot, value in self.answers[domain].items() if value == UNKNOWN]
            if wanting:
                asking = any(item[0] == domain and item[1] == "request" for item in self._stack)
                if not asking and not self._has_constraint_to_tell(domain):
                    for slot in ["name"] if "name" in wanting else wanting:
                        self._push(domain, "request", slot, UNKNOWN)
                return
            if wish.book and not self.booked[domain]:
                if not any(item[0] == domain and item[1] == "inform" for item in self._stack):
                    for slot, value in self._book[domain].items():
                        self._push(domain, "inform", slot, value)
                return

    def _own(self, domain: str, slot: str) -> str | None:
        """What the user would say of this slot now."""
        value = self._info[domain].get(slot)
        return self._book[domain].get(slot) if value is None else value

    def _place(self, domain: str, slot: str) -> str | None:
        """Where a taxi goes to or from: addresses learnt of places earlier in the goal."""
        if domain != "taxi" or slot not in ("destination", "departure"):
            return None
        places = []
        for earlier in self.goal:
            if earlier == "taxi":
                break
            if "address" in self.answers[earlier]:
                places.append(self.answers[earlier]["address"])
        back = 1 if slot == "destination" else 2
        known = len(places) >= back and places[-back] != UNKNOWN
        return places[-back] if known else None

    def _has_constraint_to_tell(self, domain: str) -> bool:
        for item in self._stack:
            if item[0] == domain and item[1] == "inform" and item[2] not in BOOKING_SLOTS:
                return True
        return False

    def _push(self, domain: str, intent: str, slot: str, value: str) -> None:
        self._remove(domain, intent, slot)
        self._stack.append((domain, intent, slot, value))
        self._pushed += 1

    def _remove(self, domain: str, intent: str, slot: str) -> None:
        for place, item in enumerate(self._stack):
            if item[0] == domain and item[2] == slot and item[1] == intent:
                del self._stack[place]
                return


def _understood(system: DialogueAct) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Domain, intent and slots by their belief names; what names nothing is not heard."""
    heard = []
    for act, pairs in system.items():
        domain, intent = parts(act)
        if domain == "general":
            continue
        known = [
            (name, value.lower()) for slot, value in pairs if (name := belief_name(domain, slot))
        ]
        if known:
            heard.append((domain, intent, known))
    return heard


def _contradicts(slot: str, own: str, told: str) -> bool:
    """Whether what is told cannot be what the user wants; times bound from one side."""
    if slot == "leaveAt":
        return told < own
    if slot == "arriveBy":
        return told > own
    return told != own
