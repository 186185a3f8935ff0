"""The decoder: what the same action says in different states."""

import random

import pytest

from offline_actrep.simulators.dialogue.database import Row, database
from offline_actrep.simulators.dialogue.decoder import CARS, Decoder
from offline_actrep.simulators.dialogue.ontology import DONT_CARE, DialogueAct
from offline_actrep.simulators.dialogue.tracker import Tracker
from offline_actrep.simulators.dialogue.vocabulary import parse

NOTHING = [("none", "none")]
ROWS: dict[str, list[Row]] = {
    "hotel": [
        {"name": "a", "area": "west", "pricerange": "cheap", "address": "1 x"},
        {"name": "b", "area": "east", "pricerange": "cheap", "address": "2 x", "phone": "22"},
        {"name": "c", "area": "east", "pricerange": "cheap", "address": "3 x", "phone": "33"},
    ],
    "train": [
        {"leaveAt": f"{hour:02d}:00", "arriveBy": f"{hour + 1:02d}:00", "day": "monday",
         "trainID": f"T{hour}", "duration": "60 minutes", "price": "5 pounds"}
        for hour in range(6, 20)
    ],
    "police": [{"address": "4 x", "phone": "44"}],
    "hospital": [{"department": "eye", "phone": "55"}, {"department": "ear", "phone": "66"}],
    "attraction": [{"name": "d", "area": "west", "entrance fee": "?"}],
    "restaurant": [{"name": "e", "area": "west"}],
}  # fmt: skip
TRAIN: DialogueAct = {"Train-Inform": [("Leave", "10:00"), ("Dest", "p"), ("Depart", "q")]}


def decoder(*said: DialogueAct) -> Decoder:
    tracker = Tracker(database(ROWS))
    for act in said:
        tracker.hear(act)
    return Decoder(tracker, random.Random(0))


def says(action: str, *said: DialogueAct) -> DialogueAct:
    skeleton = parse(action)
    assert skeleton
    return decoder(*said).decode(skeleton)


EAST: DialogueAct = {"Hotel-Inform": [("Area", "east")]}
NOWHERE: DialogueAct = {"Hotel-Inform": [("Area", "north")]}


@pytest.mark.parametrize("intent", ["Inform", "Recommend", "OfferBooked"])
def test_values_are_those_of_the_first_row_that_fits(intent: str) -> None:
    act = f"Hotel-{intent}"
    action = f"{act}[Addr;Choice;Phone;Post;Ref;Name;Name;];"
    assert says(action, EAST) == {
        act: [
            ("Addr", "2 x"),
            ("Choice", "2"),
            ("Name", "b"),
            ("Name", "b"),
            ("Phone", "22"),
            ("Post", "N/A"),
            ("Ref", "00000001"),
        ]
    }
    assert says(f"{act}[Name;Phone;];") == {act: [("Name", "a"), ("Phone", "N/A")]}
    assert says(f"{act}[Name;Phone;];", NOWHERE) == {act: NOTHING}
    assert says(f"{act}[none;];") == {act: [("none", "N/A")]}


def test_questions_have_no_values() -> None:
    assert says("Hotel-Request[Area;Price;];", NOWHERE) == {
        "Hotel-Request": [("Area", "?"), ("Price", "?")]
    }
    assert says("Booking-Request[Day;];") == {"Booking-Request": [("Day", "?")]}


@pytest.mark.parametrize("act", ["Hotel-NoOffer", "Hotel-OfferBook"])
def test_refusals_and_offers_echo_the_constraints(act: str) -> None:
    told: DialogueAct = {"Hotel-Inform": [("Price", "cheap"), ("People", "3"), ("Area", DONT_CARE)]}
    assert says(f"{act}[Name;];", told) == {act: [("Area", DONT_CARE), ("Price", "cheap")]}
    assert says(f"{act}[Name;];") == {act: []}


def test_a_choice_is_offered_from_the_first_two_rows() -> None:
    action = "Hotel-Select[Name;];"
    assert says(action) == {"Hotel-Select": [("Name", "a"), ("Name", "b")]}
    assert says(action, EAST) == {"Hotel-Select": [("Name", "b"), ("Name", "c")]}
    one: DialogueAct = {"Hotel-Inform": [("Area", "west")]}
    assert says(action, one) == {"Hotel-Select": [("Name", "a")]}
    assert says(action, NOWHERE) == {"Hotel-Select": NOTHING}


@pytest.mark.parametrize("act", ["Train-Inform", "Train-NoOffer", "Train-OfferBook"])
def test_trains_wait_for_journey_and_time(act: str) -> None:
    action = f"{act}[Id;];"
    for lacking in range(3):
        pairs = [pair for place, pair in enumerate(TRAIN["Train-Inform"]) if place != lacking]
        assert says(action, {"Train-Inform": pairs}) == {act: NOTHING}
    echo = [("Leave", "10:00"), ("Dest", "p"), ("Depart", "q")]
    assert says(action, TRAIN) == {act: [("Id", "T10")] if act == "Train-Inform" else echo}
    arrives: DialogueAct = {"Train-Inform": [*TRAIN["Train-Inform"][1:], ("Arrive", DONT_CARE)]}
    assert says(action, arrives) != {act: NOTHING}


def test_a_booked_train_does_not_wait() -> None:
    action = "Train-OfferBooked[Ticket;Time;People;];"
    assert says(action) == {
        "Train-OfferBooked": [("People", "N/A"), ("Ticket", "5 pounds"), ("Time", "60 minutes")]
    }


def test_a_taxi_comes_once_a_time_is_known() -> None:
    timed: DialogueAct = {"Taxi-Inform": [("Leave", "09:00")]}
    assert says("Taxi-Inform[Phone;];") == {"Taxi-Inform": NOTHING}
    car, phone = says("Taxi-Inform[Arrive;];", timed)["Taxi-Inform"]
    assert car[0] == "Car"
    assert car[1] in CARS
    assert phone[0] == "Phone"
    assert len(phone[1]) == 11
    assert phone[1].isdigit()


def test_hospital_and_police_are_told_from_their_first_row() -> None:
    ear: DialogueAct = {"Hospital-Inform": [("Department", "ear")]}
    assert says("Hospital-Inform[Phone;];", ear) == {"Hospital-Inform": [("Phone", "55")]}
    assert says("Police-Inform[Post;];") == {"Police-Inform": [("Post", "N/A")]}


def test_a_booking_refers_to_the_domain_spoken_of_last() -> None:
    book = parse("Booking-Book[Ref;Name;Day;];")
    speak = parse("Hotel-NoOffer[none;];Restaurant-Request[Food;];general-reqmore[none;];")
    hotel = parse("Hotel-Request[Area;];Booking-Book[Ref;];")
    taxi = parse("Taxi-Request[Dest;];")
    assert book and speak and hotel and taxi
    desk = decoder(EAST)
    assert desk.decode(book) == {"Booking-Book": [("Ref", "none")]}
    assert desk.decode(hotel)["Booking-Book"] == [("Ref", "00000001")]
    assert desk.decode(book) == {"Booking-Book": [("Ref", "00000001")]}
    desk.decode(speak)
    assert desk.decode(book) == {"Booking-Book": [("Ref", "00000000")]}
    assert desk.domain == "restaurant"
    desk.tracker.hear(NOWHERE)
    assert desk.decode(hotel)["Booking-Book"] == [("Ref", "none")]
    desk.decode(taxi)
    assert desk.decode(book) == {"Booking-Book": [("Ref", "00000000")]}


@pytest.mark.parametrize(
    "act", ["Booking-Inform", "Booking-NoBook", "general-bye", "general-reqmore"]
)
def test_what_says_nothing(act: str) -> None:
    assert says(f"{act}[Name;Day;];") == {act: NOTHING}
