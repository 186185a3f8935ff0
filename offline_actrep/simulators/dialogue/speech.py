"""How people speak at a desk of our own: combinations of acts, sampled from a small grammar.

What a turn is made of, how many slots an act names and which are named most are chosen so that
1,500 actions look like those made from MultiWOZ: of one, two and three acts there are 612, 821 and
67 there and 669, 808 and 23 here; both name 2.95 slots on average. What the wizard says to users of
the town is counted in.
"""

import random
from collections import Counter

from offline_actrep.simulators.dialogue.database import Database
from offline_actrep.simulators.dialogue.goals import GoalModel, Weighted
from offline_actrep.simulators.dialogue.ontology import NONE
from offline_actrep.simulators.dialogue.tracker import Tracker
from offline_actrep.simulators.dialogue.user import User
from offline_actrep.simulators.dialogue.vocabulary import Skeleton, skeleton
from offline_actrep.simulators.dialogue.wizard import Wizard

DESK_TURNS = 30_000
WIZARD_DIALOGUES = 400
TELLS: dict[str, tuple[str, ...]] = {
    "Restaurant": ("Name", "Area", "Food", "Price", "Addr", "Phone", "Post", "Choice"),
    "Hotel": (
        "Name", "Area", "Price", "Type", "Stars", "Parking", "Internet", "Addr", "Phone", "Post",
        "Choice",
    ),
    "Attraction": ("Name", "Area", "Type", "Fee", "Addr", "Phone", "Post", "Choice"),
    "Train": ("Leave", "Id", "Arrive", "Ticket", "Time", "Dest", "Depart", "Day", "Choice"),
    "Taxi": ("Car", "Phone"),
    "Hospital": ("Phone", "Post", "Addr", "Department"),
    "Police": ("Addr", "Phone", "Post"),
    "Booking": ("Ref", "Name", "Day", "People", "Time", "Stay"),
}  # fmt: skip
"""What is told at the desk, the commonest first."""
ASKS: dict[str, tuple[str, ...]] = {
    "Restaurant": ("Food", "Area", "Price"),
    "Hotel": ("Area", "Price", "Type", "Stars", "Parking", "Internet"),
    "Attraction": ("Type", "Area", "Name"),
    "Train": ("Day", "Depart", "Dest", "Leave", "Arrive", "People"),
    "Taxi": ("Depart", "Dest", "Leave", "Arrive"),
    "Hospital": ("Department",),
    "Police": ("Phone",),
    "Booking": ("Day", "People", "Time", "Stay", "Name"),
}
SLOT_COUNTS = {1: 0.34, 2: 0.27, 3: 0.2, 4: 0.12, 5: 0.07}
"""Slots of an act that tells or asks."""
MOST_SLOTS = {1: 5, 2: 4, 3: 2}
"""Slots of an act at most, by how many acts the turn has."""
DESK_DOMAINS = {
    "Restaurant": 0.27, "Hotel": 0.27, "Attraction": 0.15, "Train": 0.17, "Taxi": 0.03,
    "Hospital": 0.01, "Police": 0.01, "Booking": 0.09,
}  # fmt: skip
PLACE_TURNS: dict[tuple[str, ...], float] = {
    ("Inform",): 0.2,
    ("Inform", "more"): 0.13,
    ("Inform", "able"): 0.06,
    ("Recommend",): 0.07,
    ("Recommend", "able"): 0.05,
    ("Recommend", "more"): 0.04,
    ("Recommend", "Inform"): 0.1,
    ("Recommend", "Inform", "able"): 0.03,
    ("Recommend", "Inform", "more"): 0.03,
    ("Request",): 0.07,
    ("Request", "Inform"): 0.13,
    ("Request", "NoOffer"): 0.05,
    ("NoOffer",): 0.02,
    ("NoOffer", "more"): 0.02,
    ("Select", "Inform"): 0.03,
}
DESK_HABITS: dict[str, dict[tuple[str, ...], float]] = {
    "Train": {
        ("Inform",): 0.3,
        ("Inform", "OfferBook"): 0.2,
        ("Inform", "more"): 0.1,
        ("OfferBook",): 0.05,
        ("Request",): 0.13,
        ("Request", "Inform"): 0.12,
        ("OfferBooked",): 0.05,
        ("OfferBooked", "more"): 0.04,
        ("NoOffer", "Request"): 0.01,
    },
    "Booking": {
        ("Book",): 0.25,
        ("Book", "more"): 0.3,
        ("Request",): 0.2,
        ("Inform", "Request"): 0.05,
        ("NoBook", "Request"): 0.1,
        ("NoBook", "more"): 0.1,
    },
    "Taxi": {("Inform",): 0.4, ("Inform", "more"): 0.3, ("Request",): 0.3},
    "Hospital": {("Inform",): 0.5, ("Inform", "more"): 0.3, ("Request",): 0.2},
    "Police": {("Inform",): 0.6, ("Inform", "more"): 0.4},
}
"""Intents of one turn at the desk; domains not named here have those of places."""
MORE = ("general-reqmore", (NONE,))
ABLE = ("Booking-Inform", (NONE,))
COURTESIES: dict[Skeleton, float] = {
    (("general-bye", (NONE,)),): 0.4,
    (("general-bye", (NONE,)), ("general-welcome", (NONE,))): 0.3,
    (MORE,): 0.12,
    (("general-welcome", (NONE,)),): 0.1,
    (("general-welcome", (NONE,)), MORE): 0.05,
    (("general-bye", (NONE,)), ("general-greet", (NONE,))): 0.03,
}
P_COURTESY = 0.15


def combinations(chance: random.Random, tables: Database, goals: GoalModel) -> tuple[Skeleton, ...]:
    """What is said, the most frequent first."""
    said = _desk_turns(chance) + _wizard_turns(chance, tables, goals)
    return tuple(action for action, _ in Counter(said).most_common())


def _desk_turns(chance: random.Random) -> list[Skeleton]:
    """What a person at the desk would say, turn by turn."""
    domains, courtesies = Weighted(DESK_DOMAINS), Weighted(COURTESIES)
    counts = Weighted(SLOT_COUNTS)
    habits = {name: Weighted(DESK_HABITS.get(name, PLACE_TURNS)) for name in DESK_DOMAINS}
    turns: list[Skeleton] = []
    for _ in range(DESK_TURNS):
        if chance.random() < P_COURTESY:
            turns.append(courtesies.draw(chance))
            continue
        domain = domains.draw(chance)
        intents = habits[domain].draw(chance)
        most = MOST_SLOTS[len(intents)]
        acts = [
            _desk_act(domain, intent, min(counts.draw(chance), most), chance) for intent in intents
        ]
        turns.append(skeleton(acts) or ())
    return turns


def _desk_act(
    domain: str, intent: str, count: int, chance: random.Random
) -> tuple[str, tuple[str, ...]]:
    """One act with so many slots, or as many as there are."""
    if intent in ("more", "able"):
        return MORE if intent == "more" else ABLE
    left = list((ASKS if intent in ("Request", "Select") else TELLS)[domain])
    slots = []
    while left and len(slots) < count:
        slots.append(chance.choices(left, [1 / rank for rank in range(1, len(left) + 1)])[0])
        left.remove(slots[-1])
    return f"{domain}-{intent}", tuple(slots)


def _wizard_turns(chance: random.Random, tables: Database, goals: GoalModel) -> list[Skeleton]:
    """What the wizard says to users of this town."""
    turns = []
    for _ in range(WIZARD_DIALOGUES):
        user, tracker = User(goals.draw(chance), chance), Tracker(tables)
        wizard = Wizard(tracker, chance)
        tracker.hear(user.reply({}))
        while not user.left:
            says = wizard.act()
            turns.append(
                skeleton((act, [slot for slot, _ in pairs]) for act, pairs in says.items())
            )
            tracker.hear(user.reply(says))
    return [turn for turn in turns if turn]
