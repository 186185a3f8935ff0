"""The agenda user: its rules one by one in short dialogues, and dialogues recorded of ConvLab's."""

import random
from collections.abc import MutableSequence, Sequence
from typing import Any

import pytest

from offline_actrep.simulators.dialogue.goals import Goal, Wish
from offline_actrep.simulators.dialogue.ontology import DONT_CARE, DialogueAct
from offline_actrep.simulators.dialogue.user import User

BYE: DialogueAct = {"general-bye": [("none", "none")]}
THANK: DialogueAct = {"general-thank": [("none", "none")]}
MORE: DialogueAct = {"general-reqmore": [("none", "none")]}
BOOKED: DialogueAct = {"Booking-Book": [("Ref", "00000001")]}


class Fixed(random.Random):
    """Says what the goal lists first first; care is what it does by these coins."""

    def __init__(self, *coins: float) -> None:
        super().__init__(0)
        self.coins = list(coins)

    def shuffle(self, x: MutableSequence[Any]) -> None:
        x.reverse()

    def random(self) -> float:
        return self.coins.pop(0)

    def choice(self, seq: Sequence[Any]) -> Any:
        return seq[-1]


def opened(goal: Goal, *coins: float) -> User:
    """A user who has opened the dialogue."""
    user = User(goal, Fixed(*coins))
    user.reply({})
    return user


def hotel(**parts: Any) -> Goal:
    return {"hotel": Wish({"area": "west", "stars": "4"}, **parts)}


ROOM = {"stay": "2", "day": "monday", "people": "3"}

# --- a whole dialogue


def test_a_dialogue_of_two_domains_from_greeting_to_farewell() -> None:
    goal = {
        "restaurant": Wish(
            {"food": "thai", "area": "north"},
            ("phone",),
            {"time": "18:00", "day": "monday", "people": "2"},
            fail_info={"food": "welsh", "area": "north"},
            fail_book={"time": "19:00", "day": "monday", "people": "2"},
        ),
        "train": Wish(
            {"destination": "ely", "day": "friday", "departure": "leeds", "leaveAt": "10:00"},
            ("price", "trainID"),
        ),
    }
    script: list[tuple[DialogueAct, DialogueAct]] = [
        ({}, {"Restaurant-Inform": [("Food", "welsh"), ("Area", "north")]}),
        (
            {"Restaurant-NoOffer": [("Food", "welsh")]},
            {"Restaurant-Inform": [("Food", "thai")]},
        ),
        ({"Restaurant-Recommend": [("Name", "x")]}, {"Restaurant-Request": [("Phone", "?")]}),
        (
            {"Restaurant-Inform": [("Phone", "01234567890")]},
            {"Restaurant-Inform": [("People", "2"), ("Day", "monday"), ("Time", "19:00")]},
        ),
        (
            {"Booking-NoBook": [("Time", "19:00")]},
            {"Restaurant-Inform": [("Time", "18:00")]},
        ),
        (BOOKED, THANK),
        (
            {"general-welcome": [("none", "none")]},
            {
                "Train-Inform": [
                    ("Dest", "ely"),
                    ("Day", "friday"),
                    ("Depart", "leeds"),
                    ("Leave", "10:00"),
                ]
            },
        ),
        (
            {"Train-OfferBook": [("Leave", "10:00"), ("Dest", "ely")]},
            {"Train-Request": [("Id", "?"), ("Ticket", "?")]},
        ),
        ({"Train-Inform": [("Id", "TR1")]}, {"Train-Request": [("Ticket", "?")]}),
        ({"Train-Inform": [("Ticket", "5 pounds")]}, BYE),
    ]
    user = User(goal, Fixed())
    for act, reply in script:
        assert not user.left
        assert not user.content
        assert user.reply(act) == reply
    assert user.content
    assert user.left
    assert user.answers["restaurant"] == {"phone": "01234567890"}
    assert user.booked == {"restaurant": True}


# --- what it utters


def test_it_says_four_things_at_once_at_most() -> None:
    info = {"type": "hotel", "parking": "yes", "area": "west", "stars": "4", "internet": "no"}
    user = User({"hotel": Wish(info, ("phone",))}, Fixed())
    assert [slot for slot, _ in user.reply({})["Hotel-Inform"]] == [
        "Type",
        "Parking",
        "Area",
        "Stars",
    ]
    assert user.reply({}) == {"Hotel-Inform": [("Internet", "no")]}


def test_as_much_as_was_asked_for_comes_at_once() -> None:
    info = {"type": "hotel", "parking": "yes", "area": "west", "stars": "4", "internet": "no"}
    user = User({"hotel": Wish(info, ("phone",))}, Fixed())
    said = user.reply({"Hotel-Request": [("Stars", "?"), ("Internet", "?")]})
    assert said == {"Hotel-Inform": [("Internet", "no"), ("Stars", "4")]}
    assert len(user.reply({})["Hotel-Inform"]) == 3
    every = [(slot, "?") for slot in ("Stars", "Internet", "Type", "Parking", "Area")]
    assert len(user.reply({"Hotel-Request": every})["Hotel-Inform"]) == 5


def test_the_day_of_a_train_is_said_alone_like_a_booking() -> None:
    user = User({"train": Wish({"day": "monday", "leaveAt": "09:00"}, ("price",))}, Fixed())
    assert user.reply({}) == {"Train-Inform": [("Day", "monday")]}
    assert user.reply({}) == {"Train-Inform": [("Leave", "09:00")]}
    other = User({"train": Wish({"leaveAt": "09:00", "day": "monday"}, ("price",))}, Fixed())
    assert other.reply({}) == {"Train-Inform": [("Leave", "09:00"), ("Day", "monday")]}


def test_a_name_is_asked_for_alone() -> None:
    user = opened(hotel(requests=("phone", "name")))
    assert user.reply(MORE) == {"Hotel-Request": [("Name", "?")]}
    assert user.reply({"Hotel-Inform": [("Name", "x")]}) == {"Hotel-Request": [("Phone", "?")]}


def test_a_goal_without_constraints_opens_with_nothing() -> None:
    user = User({"police": Wish({"none": "none"}, ("phone",))}, Fixed())
    assert user.reply({}) == {"Police-Inform": []}
    assert user.reply(MORE) == {"Police-Request": [("Phone", "?")]}


# --- how it takes answers


def test_answers_count_only_when_all_constraints_are_told() -> None:
    info = {"type": "hotel", "parking": "yes", "area": "west", "stars": "4", "internet": "no"}
    user = opened({"hotel": Wish(info, ("phone",))})
    user.reply({"Hotel-Inform": [("Phone", "1")]})
    assert user.answers["hotel"] == {"phone": "?"}
    user.reply({"Hotel-Recommend": [("Phone", "2")]})
    assert user.content


def test_an_answer_may_come_before_the_question() -> None:
    user = opened(hotel(requests=("phone", "address")))
    assert user.reply({"Hotel-Inform": [("Phone", "1")]}) == {"Hotel-Request": [("Addr", "?")]}
    assert user.reply({"Hotel-OfferBook": [("Addr", "x")]}) == BYE


@pytest.mark.parametrize(
    ("value", "kept"),
    [("?", '"?"'), ("none", '"none"'), ("no", '"no"'), ("N/A", "n/a"), ("unknown", "unknown")],
)
def test_what_is_no_answer_is_taken_for_one(value: str, kept: str) -> None:
    user = opened(hotel(requests=("phone",)))
    assert user.reply({"Hotel-Inform": [("Phone", value)]}) == BYE
    assert user.answers["hotel"]["phone"] == kept


def test_acts_without_slots_and_strange_slots_are_not_heard() -> None:
    user = opened(hotel(requests=("phone",)))
    asked = {"Hotel-Request": [("Phone", "?")]}
    for act in (
        {"Hotel-NoOffer": [("none", "none")]},
        {"Hotel-NoOffer": []},
        {"Booking-NoBook": [("none", "none")]},
        {"Hotel-Inform": [("Car", "x")]},
        {"Restaurant-NoOffer": [("Food", "thai")]},
        {"Restaurant-Inform": [("Phone", "1")]},
        {"general-bye": [("none", "none")]},
    ):
        assert user.reply(act) == asked


# --- how it protests


def test_it_repeats_what_was_contradicted() -> None:
    user = opened(hotel(requests=("phone",)))
    said = user.reply({"Hotel-Inform": [("Area", "east"), ("Stars", "4"), ("Phone", "1")]})
    assert said == {"Hotel-Inform": [("Area", "west")]}
    assert user.answers["hotel"]["phone"] == "?"  # it came after the protest


@pytest.mark.parametrize(
    ("slot", "short", "value", "wrong"),
    [
        ("leaveAt", "Leave", "08:59", True),
        ("leaveAt", "Leave", "09:00", False),
        ("leaveAt", "Leave", "23:00", False),
        ("arriveBy", "Arrive", "09:01", True),
        ("arriveBy", "Arrive", "05:00", False),
    ],
)
def test_times_bind_from_one_side(slot: str, short: str, value: str, wrong: bool) -> None:
    user = opened({"train": Wish({slot: "09:00"}, ("price",))})
    said = user.reply({"Train-Inform": [(short, value)]})
    expected = {"Train-Inform": [(short, "09:00")]}
    assert said == (expected if wrong else {"Train-Request": [("Ticket", "?")]})


def test_before_it_falls_back_it_holds_to_what_will_fail() -> None:
    user = opened(hotel(requests=("phone",), fail_info={"area": "west", "stars": "5"}))
    assert user.reply({"Hotel-Inform": [("Stars", "4")]}) == {"Hotel-Inform": [("Stars", "5")]}
    assert user.reply({"Hotel-Request": [("Stars", "?")]}) == {"Hotel-Inform": [("Stars", "5")]}
    refused = {"Hotel-NoOffer": [("Area", "west")]}
    assert user.reply(refused) == {"Hotel-Inform": [("Stars", "4")]}
    assert user.reply({"Hotel-Inform": [("Stars", "5")]}) == {"Hotel-Inform": [("Stars", "4")]}
    assert user.reply(refused) == BYE
    assert user.left
    assert not user.content


def test_a_refusal_hurts_only_who_wants_to_know_something() -> None:
    refused = {"Hotel-NoOffer": [("Area", "west")]}
    booking = {"Hotel-Inform": [("People", "3"), ("Day", "monday"), ("Stay", "2")]}
    assert opened(hotel(book=ROOM)).reply(refused) == booking
    assert opened(hotel(book=ROOM, requests=("phone",))).reply(refused) == BYE


def test_a_refusal_is_heard_before_all_else() -> None:
    user = opened(hotel(requests=("phone",)))
    said = user.reply({"Hotel-Inform": [("Phone", "1")], "Hotel-NoOffer": [("Area", "west")]})
    assert said == BYE
    assert not user.content


# --- how it books


def test_a_booking_falls_back_once_then_fails() -> None:
    user = opened(hotel(book=ROOM, fail_book=ROOM | {"stay": "3"}))
    refused: DialogueAct = {"Hotel-Request": [("Area", "?")], "Booking-NoBook": [("Stay", "3")]}
    assert user.reply(refused) == {"Hotel-Inform": [("Area", "west"), ("Stay", "2")]}
    assert user.reply({"Booking-NoBook": [("Stay", "2")]}) == BYE
    assert not user.content


def test_a_booking_needs_a_domain_that_was_named() -> None:
    user = opened(hotel(book=ROOM))
    user.reply(BOOKED)
    assert user.booked == {"hotel": False}
    assert user.reply({"Hotel-Inform": [("Name", "x")], **BOOKED}) == BYE
    assert user.booked == {"hotel": True}


def test_a_booking_against_ones_will_is_none() -> None:
    user = opened(hotel(book=ROOM))
    user.reply({"Hotel-Inform": [("Name", "x")]})
    wrong: DialogueAct = {"Booking-Book": [("Day", "sunday"), ("Ref", "00000001")]}
    assert user.reply(wrong) == {"Hotel-Inform": [("Day", "monday")]}
    assert not user.content
    assert user.reply(BOOKED) == BYE


def test_an_offer_booked_books_its_own_domain() -> None:
    goal = {"train": Wish({"leaveAt": "09:00"}, ("price",), {"people": "2"})}
    user = opened(goal)
    assert user.reply({"Train-OfferBooked": [("Leave", "08:00")]}) == {
        "Train-Inform": [("Leave", "09:00")]
    }
    assert user.reply({"Train-OfferBooked": [("Id", "x")]}) == {"Train-Request": [("Ticket", "?")]}
    assert user.booked == {"train": True}
    assert user.reply({"Train-Inform": [("Ticket", "1")]}) == BYE


def test_the_time_of_a_booking_is_the_travel_time_of_a_train() -> None:
    user = opened({"train": Wish({"leaveAt": "09:00"}, ("duration",))})
    user.reply({"Train-Inform": [("Choice", "3")]})
    assert user.reply({"Booking-Inform": [("Time", "50 minutes")]}) == BYE
    table = opened({"restaurant": Wish({"food": "thai"}, (), {"time": "18:00"})})
    table.reply({"Restaurant-Inform": [("Choice", "3")]})
    assert table.reply({"Booking-Request": [("Time", "?")]}) == {
        "Restaurant-Inform": [("Time", "18:00")]
    }
    room = opened(hotel(requests=("phone",)), 0.0)
    room.reply({"Hotel-Inform": [("Choice", "3")]})
    asked = {"Hotel-Request": [("Phone", "?")]}
    assert room.reply({"Booking-Request": [("Time", "?")]}) == asked  # and no coin was thrown


# --- how it answers


def test_it_answers_with_its_goal_or_does_not_care() -> None:
    user = opened(hotel(requests=("phone",)), 0.49, 0.5)
    asked = {"Hotel-Request": [("Phone", "?")]}
    assert user.reply({"Hotel-Request": [("Area", "?")]}) == {"Hotel-Inform": [("Area", "west")]}
    said = user.reply({"Hotel-Request": [("Price", "?")]})
    assert said == {"Hotel-Inform": [("Price", DONT_CARE)]}
    assert user.reply({"Hotel-Request": [("Price", "?")]}) == asked
    assert user.reply({"Hotel-Request": [("Phone", "?")]}) == asked
    booker = opened(hotel(book=ROOM), 0.49)
    booker.reply({"Hotel-Inform": [("Choice", "3")]})
    said = booker.reply({"Booking-Request": [("Day", "?"), ("Stay", "?")]})
    assert said == {"Hotel-Inform": [("Stay", "2"), ("Day", "monday")]}
    assert booker.reply({"Hotel-Request": [("Choice", "?")]}) == {"Hotel-Inform": []}


def test_of_two_offered_it_takes_its_own_or_any() -> None:
    user = opened(hotel(requests=("phone",)))
    said = user.reply({"Hotel-Select": [("Area", "east"), ("Area", "north")]})
    assert said == {"Hotel-Inform": [("Area", "west")]}
    said = user.reply({"Hotel-Select": [("Price", "cheap"), ("Price", "expensive")]})
    assert said == {"Hotel-Inform": [("Price", "expensive")]}
    asked = {"Hotel-Request": [("Phone", "?")]}
    assert user.reply({"Hotel-Select": [("Choice", "3")]}) == asked
    said = user.reply({"Hotel-Select": [("Phone", "1"), ("Phone", "2")]})
    assert said == BYE
    assert user.answers["hotel"]["phone"] == "2"


def test_a_taxi_goes_to_the_places_whose_addresses_are_known() -> None:
    goal = {
        "attraction": Wish({"type": "park"}, ("address",)),
        "hotel": Wish({"area": "west"}, ("address",)),
        "taxi": Wish({"leaveAt": "09:00"}, ("phone",)),
    }
    ask: DialogueAct = {"Taxi-Request": [("Dest", "?"), ("Depart", "?")]}
    user = opened(goal, 0.9, 0.9, 0.9)
    assert user.reply(ask) == {"Attraction-Request": [("Addr", "?")]}
    user.reply({"Attraction-Inform": [("Addr", "1 Mill Lane")]})
    assert user.reply(ask) == {"Hotel-Request": [("Addr", "?")]}
    said = user.reply({"Hotel-Inform": [("Addr", "2 Rope Walk")]})
    assert said == {"Taxi-Inform": [("Depart", "1 mill lane"), ("Leave", "09:00")]}
    said = user.reply(ask)
    assert said == {"Taxi-Inform": [("Depart", "1 mill lane"), ("Dest", "2 rope walk")]}
    said = user.reply({"Taxi-Select": [("Dest", "x"), ("Dest", "y")]})
    assert said == {"Taxi-Inform": [("Dest", "2 rope walk")]}


# --- when it leaves


def test_it_leaves_in_the_twentieth_turn_without_listening() -> None:
    user = opened(hotel(requests=("phone",)))
    for _ in range(19):
        assert user.reply(MORE) == {"Hotel-Request": [("Phone", "?")]}
        assert not user.left
    assert user.reply({"Hotel-Inform": [("Phone", "1")]}) == BYE
    assert user.left
    assert not user.content


def test_the_nineteenth_turn_is_heard() -> None:
    user = opened(hotel(requests=("phone",)))
    for _ in range(18):
        user.reply(MORE)
    assert user.reply({"Hotel-Inform": [("Phone", "1")]}) == BYE
    assert user.content


def test_the_agenda_is_in_random_order() -> None:
    info = {"type": "hotel", "parking": "yes", "area": "west"}
    orders = {
        tuple(
            User({"hotel": Wish(info, ("phone",))}, random.Random(seed)).reply({})["Hotel-Inform"]
        )
        for seed in range(60)
    }
    assert len(orders) == 6
