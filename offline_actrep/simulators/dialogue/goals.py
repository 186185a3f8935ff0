"""What users want, and how their wishes are drawn.

Every domain's wish is drawn by itself: constraints, requests and a booking slot by slot, mended
until the tables can fulfil it. Then the domains of a goal are made to agree: the taxi goes to the
places named before it, bookings fall on the same day. The rules are those of ConvLab's goal
generator for MultiWOZ, where the hub of the railway is Cambridge; here it is the likeliest
destination.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Generic, TypeVar, final

from offline_actrep.simulators.dialogue.database import Database
from offline_actrep.simulators.dialogue.ontology import NONE

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NAMED = frozenset({"attraction", "hotel", "restaurant"})
"""Domains where a name makes all other constraints needless."""
JOURNEYS = frozenset({"taxi", "train"})
REQUIRED_BOOKING = {"restaurant": ("time", "day", "people"), "hotel": ("stay", "day", "people")}
NOT_IN_TABLES = {"police": frozenset({"postcode"}), "hospital": frozenset({"postcode", "address"})}
"""Requests that no table can answer: never made."""
FAIL_BOOKING = 0.5
"""Probability that a booking is first wished for in a way that is to fail."""
FAIL_BY_DAY = 0.5
SAME_AREA = 0.5
SAME_PEOPLE = 0.5
MOST_CHANGES = 100
"""Tries to mend constraints that no row satisfies."""

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Wish:
    """What a user wants of one domain; slots by their belief names.

    Attributes:
        info: constraints.
        requests: what the user wants to know.
        book: details of a booking; empty if none is wanted.
        fail_info: constraints told first, before `info`; empty if there are none.
        fail_book: details told first, before `book`; empty if there are none.
    """

    info: dict[str, str]
    requests: tuple[str, ...] = ()
    book: dict[str, str] = field(default_factory=dict)
    fail_info: dict[str, str] = field(default_factory=dict)
    fail_book: dict[str, str] = field(default_factory=dict)


Goal = dict[str, Wish]
"""A wish a domain, in the order in which the user pursues them."""


@final
class Weighted(Generic[Thing]):
    """Things to draw, by weight."""

    def __init__(self, weights: Mapping[Thing, float]) -> None:
        self.things = list(weights)
        self.cumulative = list(accumulate(weights.values()))
        self.likeliest = max(weights, key=lambda thing: weights[thing])

    def draw(self, chance: random.Random) -> Thing:
        """One of the things."""
        return chance.choices(self.things, cum_weights=self.cumulative)[0]


@dataclass(frozen=True)
class DomainModel:
    """How wishes of one domain are drawn.

    Attributes:
        info: probability of each constraint.
        requests: probability of each request.
        book_slots: probability of each detail of a booking.
        book: probability of a booking.
        values: what constraints and details may be.
    """

    info: dict[str, float]
    requests: dict[str, float]
    book_slots: dict[str, float]
    book: float
    values: dict[str, Weighted[str]]


@final
class GoalModel:
    """How goals are drawn.

    Args:
        orderings: weights of the domains of a goal, in their order.
        domains: a model a domain.
        tables: what the wishes must be found in.
    """

    def __init__(
        self,
        orderings: Mapping[tuple[str, ...], float],
        domains: dict[str, DomainModel],
        tables: Database,
    ) -> None:
        self.orderings = Weighted({domains: p for domains, p in orderings.items() if domains})
        self.domains = domains
        self.tables = tables
        self.hub = domains["train"].values["destination"].likeliest

    def draw(self, chance: random.Random) -> Goal:
        """One goal."""
        goal = {domain: self._wish(domain, chance) for domain in self.orderings.draw(chance)}
        self._send_taxi(goal)
        self._share_area(goal, chance)
        self._share_booking(goal, chance)
        self._share_day(goal)
        return {
            domain: wish if wish.info else replace(wish, info={NONE: NONE})
            for domain, wish in goal.items()
        }

    def _wish(self, domain: str, chance: random.Random) -> Wish:
        model = self.domains[domain]
        while True:
            info = self._constraints(domain, chance)
            if model.info and not info:
                continue
            requests = tuple(
                slot
                for slot, probability in model.requests.items()
                if slot not in info
                and slot not in NOT_IN_TABLES.get(domain, ())
                and chance.random() < probability
            )
            book = self._booking(domain, chance) if chance.random() < model.book else {}
            mended = self._mend(domain, info, chance)
            if mended is None or not (requests or book):
                continue
            fail_info = info if mended is not info and domain != "train" else {}
            fails = bool(book) and chance.random() < FAIL_BOOKING
            fail_book = _failing(domain, book, chance) if fails else {}
            return Wish(mended, requests, book, fail_info, fail_book)

    def _constraints(self, domain: str, chance: random.Random) -> dict[str, str]:
        model = self.domains[domain]
        info = {
            slot: model.values[slot].draw(chance)
            for slot, probability in model.info.items()
            if chance.random() < probability
        }
        if domain in NAMED and "name" in info and len(info) > 1:
            if chance.random() < model.info["name"]:
                return {"name": info["name"]}
            del info["name"]
        if domain in JOURNEYS:
            self._complete_journey(model, info, chance)
        return info

    def _complete_journey(
        self, model: DomainModel, info: dict[str, str], chance: random.Random
    ) -> None:
        """Exactly one time; both ends, redrawn once (not until they differ) where they are one."""
        p_leave, p_arrive = model.info["leaveAt"], model.info["arriveBy"]
        if ("leaveAt" in info) == ("arriveBy" in info):
            leaves = chance.random() * (p_leave + p_arrive) < p_leave
            kept, dropped = ("leaveAt", "arriveBy") if leaves else ("arriveBy", "leaveAt")
            info.pop(dropped, None)
            info.setdefault(kept, model.values[kept].draw(chance))
        for end in ("departure", "destination"):
            info.setdefault(end, model.values[end].draw(chance))
        if info["departure"] == info["destination"]:
            p_from, p_to = model.info["departure"], model.info["destination"]
            end = "departure" if chance.random() * (p_from + p_to) < p_from else "destination"
            info[end] = model.values[end].draw(chance)

    def _booking(self, domain: str, chance: random.Random) -> dict[str, str]:
        model = self.domains[domain]
        slots = [slot for slot, p in model.book_slots.items() if chance.random() < p]
        slots += [slot for slot in REQUIRED_BOOKING.get(domain, ()) if slot not in slots]
        return {slot: model.values[slot].draw(chance) for slot in slots or ["people"]}

    def _mend(
        self, domain: str, info: dict[str, str], chance: random.Random
    ) -> dict[str, str] | None:
        """The constraints themselves if a row satisfies them, else with one of them changed."""
        if domain == "taxi" or not info or self.tables[domain].find(info):
            return info
        for _ in range(MOST_CHANGES):
            slot = chance.choice(list(info))
            changed = info | {slot: chance.choice(self.domains[domain].values[slot].things)}
            if self.tables[domain].find(changed):
                return changed
        return None

    def _send_taxi(self, goal: Goal) -> None:
        """Between the last two places of the goal, in time for a table booked at the last."""
        if "taxi" not in goal:
            return
        before = list(goal)[: list(goal).index("taxi")]
        places = [domain for domain in before if "address" in self.domains[domain].requests]
        info = dict(goal["taxi"].info)
        for end, domain in zip(("destination", "departure"), reversed(places), strict=False):
            del info[end]
            known = goal[domain].requests
            requests = known if "address" in known else (*known, "address")
            goal[domain] = replace(goal[domain], requests=requests)
        if places and places[-1] == "restaurant" and goal["restaurant"].book:
            info.pop("leaveAt", None)
            info["arriveBy"] = goal["restaurant"].book["time"]
        goal["taxi"] = replace(goal["taxi"], info=info)

    def _share_area(self, goal: Goal, chance: random.Random) -> None:
        if "restaurant" not in goal or "attraction" not in goal:
            return
        restaurant, area = goal["restaurant"], goal["attraction"].info.get("area")
        if area is None or "area" not in restaurant.info or restaurant.fail_info:
            return
        info = restaurant.info | {"area": area}
        if self.tables["restaurant"].find(info) and chance.random() < SAME_AREA:
            goal["restaurant"] = replace(restaurant, info=info)

    def _share_booking(self, goal: Goal, chance: random.Random) -> None:
        """The table is booked for the hotel's day, and half the time for its guests."""
        if "restaurant" not in goal or "hotel" not in goal:
            return
        table, room = goal["restaurant"], goal["hotel"]
        if not table.book or not room.book:
            return
        shared = {"day": room.book["day"]}
        if chance.random() < SAME_PEOPLE:
            shared["people"] = room.book["people"]
        book = table.book | shared
        fail_book = table.fail_book and table.fail_book | shared
        goal["restaurant"] = replace(
            table, book=book, fail_book={} if fail_book == book else fail_book
        )

    def _share_day(self, goal: Goal) -> None:
        """The train arrives on the hotel's first day, or leaves on its last."""
        if "train" not in goal or "hotel" not in goal or not goal["hotel"].book:
            return
        train, book = goal["train"], goal["hotel"].book
        if train.info["destination"] == self.hub:
            day = book["day"]
        elif train.info["departure"] == self.hub:
            day = _days_later(book["day"], int(book["stay"]))
        else:
            return
        goal["train"] = replace(train, info=train.info | {"day": day})


def _failing(domain: str, book: dict[str, str], chance: random.Random) -> dict[str, str]:
    """The booking with one change, told first; empty for what cannot fail."""
    if domain not in REQUIRED_BOOKING:
        return {}
    if chance.random() < FAIL_BY_DAY:
        days = (-1,) if domain == "hotel" else (-1, 1)
        return book | {"day": _days_later(book["day"], chance.choice(days))}
    if domain == "hotel":
        return book | {"stay": str(int(book["stay"]) + 1)}
    hour, minute = book["time"].split(":")
    return book | {"time": f"{int(hour) + 1:02d}:{minute}"}


def _days_later(day: str, days: int) -> str:
    return WEEKDAYS[(WEEKDAYS.index(day) + days) % len(WEEKDAYS)]
