"""A town of our own: its tables and what people want there, made up from a seed.

The tables have the sizes of MultiWOZ's and about its frequencies of values (69 of 110 restaurants
are in the centre, 22 of them serve the commonest food); names, places and departments are invented.
Wishes have the probabilities of ConvLab's goal model, rounded.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from offline_actrep.simulators.dialogue.database import Database, Row, database
from offline_actrep.simulators.dialogue.goals import WEEKDAYS, DomainModel, GoalModel, Weighted
from offline_actrep.simulators.dialogue.ontology import DOMAINS

WORDS = (
    "amber", "birch", "cobalt", "drift", "elder", "fern", "garnet", "heron", "indigo", "juniper",
    "kestrel", "lantern", "marlow", "nettle", "osprey", "pebble", "quarry", "rowan", "saffron",
    "thistle", "umber", "velvet", "willow", "yarrow", "zephyr",
)  # fmt: skip
STREETS = (
    "barley", "beacon", "candle", "clover", "copper", "ferry", "foundry", "glebe", "harbour",
    "hazel", "loom", "mallow", "meadow", "mill", "orchard", "paddock", "rope", "smithy", "station",
    "tallow",
)  # fmt: skip
WAYS = ("street", "lane", "road", "row")
FOODS = {
    "andean": 22, "basque": 17, "bavarian": 15, "burmese": 11, "cantonese": 6, "caribbean": 5,
    "corsican": 5, "cypriot": 4, "danish": 3, "ethiopian": 3, "flemish": 2, "galician": 2,
    "georgian": 2, "hawaiian": 2, "javanese": 2, "ligurian": 2, "moroccan": 1, "nepalese": 1,
    "persian": 1, "polish": 1, "sichuan": 1, "tuscan": 1, "welsh": 1,
}  # fmt: skip
SIGHTS = {
    "gallery": 23, "abbey": 18, "dance hall": 6, "playhouse": 5, "tower": 5, "garden": 5,
    "arcade": 5, "lido": 4, "picture house": 3, "boathouse": 2, "concert room": 2, "stadium": 1,
}  # fmt: skip
EATERIES = ("kitchen", "table", "oven", "larder", "canteen", "grill", "spoon")
LODGINGS = {"guesthouse": ("lodge", "house", "cottage"), "hotel": ("hotel", "arms")}
HUB = "harrowmere"
LINES: tuple[tuple[str, int, int, float], ...] = (
    ("aldenford", 120, 51, 23.6),
    ("brackley wells", 120, 88, 16.6),
    ("coldharbour", 120, 17, 4.4),
    ("dunmarsh", 120, 38, 10.1),
    ("eastwick", 120, 49, 12.8),
    ("fallow bridge", 60, 47, 9.8),
    ("gilden hill", 60, 79, 17.6),
    ("holmstead", 60, 28, 10.1),
    ("inverley", 60, 105, 37.8),
    ("kestrel bay", 60, 163, 75.1),
    ("langstow", 60, 60, 17.9),
    ("mossgate", 30, 50, 16.5),
)
"""Towns joined to the hub: minutes between trains, minutes of travel, fare in pounds."""
FIRST_TRAIN, LAST_TRAIN = 5 * 60, 24 * 60
"""Minutes after midnight; an arrival after it reads 24:07, so that times keep their order."""
WEEKEND_FARE = 0.8
DEPARTMENTS, REPEATED_DEPARTMENTS = 59, 7
"""Different departments, and rows that repeat one."""
SPECIALTIES = (
    "bone", "burns", "chest", "dental", "ear", "eye", "fracture", "hand", "heart", "joint",
    "kidney", "liver", "memory", "sleep", "skin", "spine", "voice", "wound",
)  # fmt: skip
UNITS = ("clinic", "day unit", "ward", "theatre")
PRICES = ("cheap", "moderate", "expensive")
AREAS = ("centre", "west", "east", "south", "north")
N_SIGHTS, N_EATERIES, N_BEDS = 79, 110, 33

ORDERINGS: dict[tuple[str, ...], float] = {
    ("restaurant",): 0.12,
    ("hotel",): 0.06,
    ("taxi",): 0.04,
    ("train",): 0.03,
    ("hospital",): 0.03,
    ("police",): 0.02,
    ("attraction",): 0.01,
    ("restaurant", "train"): 0.08,
    ("hotel", "train"): 0.07,
    ("train", "hotel"): 0.07,
    ("attraction", "train"): 0.06,
    ("train", "attraction"): 0.06,
    ("restaurant", "hotel"): 0.04,
    ("attraction", "hotel"): 0.04,
    ("attraction", "restaurant"): 0.03,
    ("train", "restaurant"): 0.03,
    ("restaurant", "attraction"): 0.02,
    ("hotel", "restaurant"): 0.02,
    ("hotel", "attraction"): 0.02,
    ("attraction", "hotel", "taxi"): 0.04,
    ("restaurant", "hotel", "taxi"): 0.03,
    ("attraction", "restaurant", "taxi"): 0.03,
    ("restaurant", "attraction", "taxi"): 0.03,
    ("hotel", "restaurant", "taxi"): 0.02,
    ("hotel", "attraction", "taxi"): 0.02,
}
INFO: dict[str, dict[str, float]] = {
    "taxi": {"leaveAt": 0.54, "destination": 0.21, "departure": 0.21, "arriveBy": 0.46},
    "restaurant": {"food": 0.66, "pricerange": 0.68, "area": 0.66, "name": 0.16},
    "hospital": {"department": 0.29},
    "hotel": {
        "type": 0.47, "parking": 0.47, "pricerange": 0.47, "internet": 0.45, "area": 0.46,
        "stars": 0.47, "name": 0.2,
    },
    "attraction": {"area": 0.6, "type": 0.6, "name": 0.19},
    "train": {"destination": 1.0, "day": 1.0, "arriveBy": 0.53, "departure": 1.0, "leaveAt": 0.47},
    "police": {},
}  # fmt: skip
REQUESTS: dict[str, dict[str, float]] = {
    "taxi": {"car type": 1.0, "phone": 1.0},
    "restaurant": {
        "phone": 0.27, "postcode": 0.18, "address": 0.27, "pricerange": 0.05, "food": 0.05,
        "area": 0.05,
    },
    "hospital": {"address": 0.65, "phone": 0.65, "postcode": 0.68},
    "hotel": {
        "address": 0.13, "postcode": 0.13, "internet": 0.06, "phone": 0.12, "parking": 0.06,
        "type": 0.06, "pricerange": 0.06, "stars": 0.06, "area": 0.05,
    },
    "attraction": {
        "entrance fee": 0.42, "type": 0.15, "address": 0.41, "postcode": 0.43, "phone": 0.44,
        "area": 0.15,
    },
    "train": {"duration": 0.25, "leaveAt": 0.14, "price": 0.25, "arriveBy": 0.11, "trainID": 0.23},
    "police": {"postcode": 0.67, "address": 0.64, "phone": 0.68},
}  # fmt: skip
BOOK_SLOTS: dict[str, dict[str, float]] = {
    "restaurant": {"time": 0.57, "day": 0.57, "people": 0.57},
    "hotel": {"stay": 0.64, "day": 0.64, "people": 0.64},
    "train": {"people": 0.51},
}
BOOK = {"restaurant": 0.255, "hotel": 0.258, "train": 0.2}
STAYS = {"1": 0.08, "2": 0.24, "3": 0.23, "4": 0.23, "5": 0.22}
MOST_PEOPLE = 8


def town_tables(chance: random.Random) -> Database:
    """The six tables."""
    sights, eateries, beds = (_places(chance, count) for count in (N_SIGHTS, N_EATERIES, N_BEDS))
    _attractions(chance, sights)
    _restaurants(chance, eateries)
    _hotels(chance, beds)
    desk: Row = {"name": "market police station", **_address(chance)}
    del desk["postcode"]
    return database(
        {
            "attraction": sights,
            "hospital": _departments(chance),
            "hotel": beds,
            "police": [desk],
            "restaurant": eateries,
            "train": _trains(chance),
        }
    )


def _spread(chance: random.Random, counts: Mapping[str, int]) -> list[str]:
    """Every value as often as its count says, in random order."""
    values = [value for value, count in counts.items() for _ in range(count)]
    chance.shuffle(values)
    return values


def _address(chance: random.Random) -> Row:
    letters = "".join(chance.choices("abdefhjlnp", k=2))
    return {
        "address": f"{chance.randint(1, 120)} {chance.choice(STREETS)} {chance.choice(WAYS)}",
        "phone": "07" + "".join(chance.choices("0123456789", k=9)),
        "postcode": f"hm{chance.randint(1, 9)}{chance.randint(1, 9)}{letters}",
    }


def _places(chance: random.Random, count: int) -> list[Row]:
    return [_address(chance) for _ in range(count)]


def _fill(rows: list[Row], slot: str, values: Sequence[str]) -> None:
    for row, value in zip(rows, values, strict=True):
        row[slot] = value


def _attractions(chance: random.Random, rows: list[Row]) -> None:
    areas = {"centre": 44, "west": 13, "east": 10, "south": 8, "north": 4}
    fees = {"free": 42, "?": 23, "5 pounds": 5, "2.50 pounds": 3, "4 pounds": 3, "2 pounds": 3}
    _fill(rows, "area", _spread(chance, areas))
    _fill(rows, "type", _spread(chance, SIGHTS))
    _fill(rows, "entrance fee", _spread(chance, fees))
    names = chance.sample([f"{word} {street}" for word in WORDS for street in STREETS], len(rows))
    for row, name in zip(rows, names, strict=True):
        row["name"] = f"{name} {row['type']}"
        fee = row["entrance fee"]
        row["pricerange"] = fee if fee in ("free", "?") else chance.choice(PRICES[:2])


def _restaurants(chance: random.Random, rows: list[Row]) -> None:
    areas = {"centre": 69, "west": 14, "east": 9, "south": 9, "north": 9}
    _fill(rows, "area", _spread(chance, areas))
    _fill(rows, "food", _spread(chance, FOODS))
    _fill(rows, "pricerange", _spread(chance, {"expensive": 57, "moderate": 31, "cheap": 22}))
    names = [f"the {word} {kind}" for word in WORDS for kind in EATERIES]
    _fill(rows, "name", chance.sample(names, len(rows)))
    for row in chance.sample(rows, 3):
        del row["phone"]


def _hotels(chance: random.Random, rows: list[Row]) -> None:
    areas = {"north": 13, "east": 7, "centre": 5, "south": 4, "west": 4}
    _fill(rows, "area", _spread(chance, areas))
    _fill(rows, "pricerange", _spread(chance, {"moderate": 18, "cheap": 10, "expensive": 5}))
    _fill(rows, "stars", _spread(chance, {"4": 21, "3": 6, "2": 3, "0": 3}))
    _fill(rows, "internet", _spread(chance, {"yes": 32, "no": 1}))
    _fill(rows, "parking", _spread(chance, {"yes": 29, "no": 4}))
    _fill(rows, "type", _spread(chance, {"guesthouse": 24, "hotel": 9}))
    names = chance.sample([f"{word} {street}" for word in WORDS for street in STREETS], len(rows))
    for row, name in zip(rows, names, strict=True):
        row["name"] = f"{name} {chance.choice(LODGINGS[row['type']])}"


def _departments(chance: random.Random) -> list[Row]:
    every = [f"{specialty} {unit}" for specialty in SPECIALTIES for unit in UNITS]
    names = chance.sample(every, DEPARTMENTS)
    names += chance.sample(names, REPEATED_DEPARTMENTS)
    return [{"department": name, "phone": _address(chance)["phone"]} for name in names]


def _trains(chance: random.Random) -> list[Row]:
    rows = []
    for town, headway, minutes, fare in LINES:
        for ends in ((HUB, town), (town, HUB)):
            first = FIRST_TRAIN + chance.randrange(min(headway, 60))
            for day in WEEKDAYS:
                share = WEEKEND_FARE if day in WEEKDAYS[5:] else 1.0
                for leaves in range(first, LAST_TRAIN, headway):
                    rows.append(
                        {
                            "departure": ends[0],
                            "destination": ends[1],
                            "day": day,
                            "leaveAt": _clock(leaves),
                            "arriveBy": _clock(leaves + minutes),
                            "duration": f"{minutes} minutes",
                            "price": f"{fare * share:.2f} pounds",
                            "trainID": f"TR{chance.randrange(10_000):04d}",
                        }
                    )
    return rows


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _quarters(first_hour: int, count: int) -> dict[str, float]:
    """Times a quarter of an hour apart."""
    return {_clock(first_hour * 60 + 15 * quarter): 1.0 for quarter in range(count)}


def town_goals(tables: Database) -> GoalModel:
    """What people want in a town of these tables."""
    return GoalModel(
        ORDERINGS, {domain: _domain_model(domain, tables) for domain in DOMAINS}, tables
    )


def _domain_model(domain: str, tables: Database) -> DomainModel:
    return DomainModel(
        INFO[domain],
        REQUESTS[domain],
        BOOK_SLOTS.get(domain, {}),
        BOOK.get(domain, 0.0),
        {slot: Weighted(weights) for slot, weights in _values(domain, tables).items()},
    )


def _values(domain: str, tables: Database) -> dict[str, dict[str, float]]:
    """What constraints and booking details may be: as frequent as in the tables, else even."""
    days: dict[str, float] = dict.fromkeys(WEEKDAYS, 1.0)
    people = {str(count): 1.0 for count in range(1, MOST_PEOPLE + 1)}
    if domain == "taxi":
        spots = [row["name"] for place in ("attraction", "hotel") for row in tables[place].rows]
        ends = dict.fromkeys([*spots, *(f"{town} station" for town, *_ in LINES)], 1.0)
        clock = _quarters(0, 96)
        return {"leaveAt": clock, "arriveBy": clock, "departure": ends, "destination": ends}
    if domain == "train":
        towns = {HUB: float(len(LINES))} | {town: 1.0 for town, *_ in LINES}
        clock = _quarters(8, 56)
        ends = {"departure": towns, "destination": towns}
        return {"leaveAt": clock, "arriveBy": clock, "day": days, "people": people, **ends}
    rows = tables[domain].rows
    found = {slot: _frequencies(rows, slot) for slot in INFO[domain]}
    details = {"time": _quarters(9, 49), "day": days, "people": people, "stay": STAYS}
    return {**found, **{slot: details[slot] for slot in BOOK_SLOTS.get(domain, {})}}


def _frequencies(rows: list[Row], slot: str) -> dict[str, float]:
    counts = Counter(row[slot] for row in rows if slot in row)
    return {value: float(count) for value, count in counts.items()}
