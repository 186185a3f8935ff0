"""The words of the dialogue: domains, slots, and the two names every slot goes by.

A dialogue act says, e.g., `{"Hotel-Inform": [("Price", "cheap")]}`: domain, intent, slots and their
values. In acts a slot has its short name; in goals, tables and the tracked belief its belief name
(`Price` is `pricerange` of a hotel). Domains and slots are those of MultiWOZ (Budzianowski et al.
2018), in the order in which ConvLab (Lee et al. 2019) lays out states and actions.
"""

from functools import cache

DialogueAct = dict[str, list[tuple[str, str]]]
"""`Domain-Intent` -> (slot, value) pairs; slots by their short names."""

DOMAINS = ("taxi", "restaurant", "hospital", "hotel", "attraction", "train", "police")
"""In the order of the state's belief and request blocks."""

NONE = "none"
"""The slot, and the value, of an act that names nothing."""
UNKNOWN = "?"
"""The value of a request."""
DONT_CARE = "don't care"
ABSENT = "N/A"
"""The value of a slot that the table's row lacks."""

SYSTEM_SLOTS: dict[str, dict[str, str]] = {
    "Attraction": {
        "Addr": "address",
        "Area": "area",
        "Choice": "choice",
        "Fee": "entrance fee",
        "Name": "name",
        "Phone": "phone",
        "Post": "postcode",
        "Price": "pricerange",
        "Type": "type",
        NONE: "",
        "Open": "",
    },
    "Hospital": {
        "Department": "department",
        "Addr": "address",
        "Post": "postcode",
        "Phone": "phone",
        NONE: "",
    },
    "Booking": {
        "Day": "day",
        "Name": "name",
        "People": "people",
        "Ref": "ref",
        "Stay": "stay",
        "Time": "time",
        NONE: "",
    },
    "Hotel": {
        "Addr": "address",
        "Area": "area",
        "Choice": "choice",
        "Internet": "internet",
        "Name": "name",
        "Parking": "parking",
        "Phone": "phone",
        "Post": "postcode",
        "Price": "pricerange",
        "Ref": "ref",
        "Stars": "stars",
        "Type": "type",
        NONE: "",
    },
    "Restaurant": {
        "Addr": "address",
        "Area": "area",
        "Choice": "choice",
        "Name": "name",
        "Food": "food",
        "Phone": "phone",
        "Post": "postcode",
        "Price": "pricerange",
        "Ref": "ref",
        NONE: "",
    },
    "Taxi": {
        "Arrive": "arriveBy",
        "Car": "car type",
        "Depart": "departure",
        "Dest": "destination",
        "Leave": "leaveAt",
        "Phone": "phone",
        NONE: "",
    },
    "Train": {
        "Arrive": "arriveBy",
        "Choice": "choice",
        "Day": "day",
        "Depart": "departure",
        "Dest": "destination",
        "Id": "trainID",
        "Leave": "leaveAt",
        "People": "people",
        "Ref": "ref",
        "Time": "duration",
        NONE: "",
        "Ticket": "price",
    },
    "Police": {"Addr": "address", "Post": "postcode", "Phone": "phone"},
}
"""What the system may speak of, and its belief name; empty where the user takes no notice of it."""

USER_SLOTS: dict[str, dict[str, str]] = {
    "taxi": {
        "leaveAt": "Leave",
        "destination": "Dest",
        "departure": "Depart",
        "arriveBy": "Arrive",
        "car type": "Car",
        "phone": "Phone",
    },
    "restaurant": {
        "food": "Food",
        "pricerange": "Price",
        "area": "Area",
        "name": "Name",
        "time": "Time",
        "day": "Day",
        "people": "People",
        "phone": "Phone",
        "postcode": "Post",
        "address": "Addr",
    },
    "hospital": {
        "department": "Department",
        "address": "Addr",
        "postcode": "Post",
        "phone": "Phone",
    },
    "hotel": {
        "type": "Type",
        "parking": "Parking",
        "pricerange": "Price",
        "internet": "Internet",
        "area": "Area",
        "stars": "Stars",
        "name": "Name",
        "stay": "Stay",
        "day": "Day",
        "people": "People",
        "address": "Addr",
        "postcode": "Post",
        "phone": "Phone",
    },
    "attraction": {
        "area": "Area",
        "type": "Type",
        "name": "Name",
        "entrance fee": "Fee",
        "address": "Addr",
        "postcode": "Post",
        "phone": "Phone",
    },
    "train": {
        "destination": "Dest",
        "day": "Day",
        "arriveBy": "Arrive",
        "departure": "Depart",
        "leaveAt": "Leave",
        "people": "People",
        "duration": "Time",
        "price": "Ticket",
        "trainID": "Id",
    },
    "police": {"address": "Addr", "postcode": "Post", "phone": "Phone", "name": "Name"},
}
"""What the user may speak of: belief name -> short name."""

BOOK_SLOTS: dict[str, tuple[str, ...]] = {
    "taxi": ("departure", "destination"),
    "restaurant": ("day", "people", "time"),
    "hospital": (),
    "hotel": ("day", "people", "stay"),
    "attraction": (),
    "train": ("people", "trainID"),
    "police": (),
}
"""What the tracker files under booking, by belief name."""

SEMI_SLOTS: dict[str, tuple[str, ...]] = {
    "taxi": ("leaveAt", "arriveBy"),
    "restaurant": ("food", "pricerange", "name", "area"),
    "hospital": ("department",),
    "hotel": ("name", "area", "parking", "pricerange", "stars", "internet", "type"),
    "attraction": ("type", "name", "area", "entrance fee"),
    "train": ("leaveAt", "destination", "day", "arriveBy", "departure"),
    "police": (),
}
"""What the tracker files as constraints, by belief name."""

SYSTEM_PAIRS: tuple[tuple[str, str], ...] = tuple(
    (domain, slot) for domain, slots in SYSTEM_SLOTS.items() for slot in slots
)
"""The 68 pairs of domain and short slot name, in the order of states and actions."""


@cache
def parts(act: str) -> tuple[str, str]:
    """`Hotel-Inform` -> (`hotel`, `inform`)."""
    domain, intent = act.lower().split("-")
    return domain, intent


@cache
def belief_name(domain: str, slot: str) -> str:
    """The belief name of a system slot; empty if the domain (in lower case) has no such slot."""
    return SYSTEM_SLOTS[domain.capitalize()].get(slot, "")
