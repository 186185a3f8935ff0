"""The wizard: its habits, and how it fares with users."""

import random

import numpy as np
import pytest

from offline_actrep.simulators.dialogue.conversation import Conversation
from offline_actrep.simulators.dialogue.corpus import Corpus
from offline_actrep.simulators.dialogue.database import Row, database
from offline_actrep.simulators.dialogue.evaluator import Evaluator
from offline_actrep.simulators.dialogue.ontology import DialogueAct
from offline_actrep.simulators.dialogue.tracker import Tracker
from offline_actrep.simulators.dialogue.user import User
from offline_actrep.simulators.dialogue.wizard import Wizard

ROWS: dict[str, list[Row]] = {
    "hotel": [
        {"name": "a", "area": "west", "pricerange": "cheap", "stars": "4", "id": "7"},
        {"name": "b", "area": "east", "pricerange": "cheap", "stars": "3", "phone": "22"},
        {"name": "c", "area": "east", "pricerange": "cheap", "stars": "2", "phone": "33"},
    ],
    "train": [{"leaveAt": "10:00", "arriveBy": "11:00", "day": "monday", "trainID": "T1"}],
    "police": [{"phone": "44"}],
    "hospital": [{"department": "eye", "phone": "55"}, {"department": "ear", "phone": "66"}],
    "attraction": [{"name": "d"}],
    "restaurant": [{"name": "e"}],
}
LOOKS = range(200)


def replies(*said: DialogueAct) -> list[DialogueAct]:
    """What it says to the last act, by 200 throws of its dice."""
    tracker = Tracker(database(ROWS))
    for act in said:
        tracker.hear(act)
    return [Wizard(tracker, random.Random(seed)).act() for seed in LOOKS]


def always(*said: DialogueAct) -> DialogueAct:
    every = replies(*said)
    assert all(reply == every[0] for reply in every)
    return every[0]


def share(every: list[DialogueAct], act: str) -> float:
    return sum(act in reply for reply in every) / len(every)


EAST: DialogueAct = {"Hotel-Inform": [("Area", "east")]}
NOWHERE: DialogueAct = {"Hotel-Inform": [("Area", "north"), ("Price", "cheap")]}
TRAIN: DialogueAct = {
    "Train-Inform": [("Leave", "09:00"), ("Dest", "p"), ("Depart", "q"), ("Day", "monday")]
}


def test_courtesies() -> None:
    assert always({"general-thank": [("none", "none")]}) == {"general-welcome": [("none", "none")]}
    byes = replies({"general-bye": [("none", "none")]})
    assert share(byes, "general-bye") == 1
    assert 0.15 < share(byes, "general-welcome") < 0.45
    assert always({"Police-Inform": []}) == {"Police-Inform": []}


def test_questions_are_answered_from_the_first_row() -> None:
    asked: DialogueAct = {"Hotel-Request": [("Phone", "?"), ("Post", "?")]}
    assert always(EAST, asked) == {"Hotel-Inform": [("Phone", "22"), ("Post", "N/A")]}
    asked = {"Train-Request": [("Id", "?")]}
    assert always(TRAIN, asked) == {"Train-Inform": [("Id", "T1")]}


def test_where_there_is_nothing_it_says_so() -> None:
    refusal = [("Area", "north"), ("Price", "cheap")]
    every = replies(NOWHERE)
    assert all(reply["Hotel-NoOffer"] == refusal for reply in every)
    assert 0.15 < share(every, "Hotel-Request") < 0.45
    assert {len(reply["Hotel-Request"]) for reply in every if "Hotel-Request" in reply} == {1, 2}
    every = replies(NOWHERE, {"Hotel-Request": [("Phone", "?")]})
    assert all(reply["Hotel-NoOffer"] == refusal for reply in every)


def test_a_single_row_is_told_of() -> None:
    every = replies({"Hotel-Inform": [("Area", "west")]})
    row = {("Area", "west"), ("Name", "a"), ("Price", "cheap"), ("Stars", "4")}
    assert all(set(reply["Hotel-Inform"]) <= row for reply in every)
    assert {len(reply["Hotel-Inform"]) for reply in every} == {1, 2, 3, 4}
    assert all(reply.keys() == {"Hotel-Inform"} for reply in every)


def test_of_several_rows_one_is_recommended() -> None:
    every = replies(EAST)
    assert all(reply["Hotel-Inform"] == [("Choice", "2")] for reply in every)
    told = [reply["Hotel-Recommend"] for reply in every]
    assert {pairs[0] for pairs in told} == {("Name", "b"), ("Name", "c")}
    assert {len(pairs) for pairs in told} == {1, 2, 3}
    assert {slot for pairs in told for slot, _ in pairs[1:]} == {"Area", "Price", "Stars", "Phone"}


def test_trains_are_offered_when_all_is_known() -> None:
    assert always(TRAIN) == {
        "Train-OfferBook": [
            ("Leave", "09:00"),
            ("Dest", "p"),
            ("Day", "monday"),
            ("Depart", "q"),
        ]
    }
    asked = replies({"Train-Inform": [("Dest", "p")]})
    slots = {tuple(slot for slot, _ in reply["Train-Request"]) for reply in asked}
    times = (("Leave",), ("Arrive",), ("Leave", "Arrive"))
    assert slots == {(*time, "Day", "Depart") for time in times}
    late: DialogueAct = {"Train-Inform": [("Leave", "23:00")]}
    assert always(late) == {"Train-NoOffer": [("Leave", "23:00")]}


def test_taxis_come_once_a_time_is_known() -> None:
    every = replies({"Taxi-Inform": [("Leave", "09:00")]})
    assert all([slot for slot, _ in reply["Taxi-Inform"]] == ["Car", "Phone"] for reply in every)
    asked = replies({"Taxi-Inform": [("Dest", "x")]})
    assert all(("Leave", "?") in reply["Taxi-Request"] for reply in asked)


def test_any_word_of_a_booking_is_a_booking() -> None:
    for pair in (("People", "3"), ("Day", "monday"), ("Stay", "2")):
        said: DialogueAct = {"Hotel-Inform": [pair]}
        assert always(EAST, said) == {"Booking-Book": [("Ref", "00000001")]}
    people: DialogueAct = {"Train-Inform": [("People", "3")]}
    assert always(TRAIN, people) == {"Booking-Book": [("Ref", "00000000")]}
    assert "Booking-Book" not in always(TRAIN)
    assert "Hotel-NoOffer" in replies(NOWHERE, {"Hotel-Inform": [("Stay", "2")]})[0]


# --- how it fares, without a vocabulary between it and the user


def fares(corpus: Corpus, dialogues: int) -> dict[str, np.ndarray]:
    rows = []
    for seed in range(dialogues):
        chance = random.Random(seed)
        goal = corpus.goals.draw(chance)
        user, tracker = User(goal, chance), Tracker(corpus.tables)
        judge, wizard = Evaluator(goal, corpus.tables), Wizard(tracker, chance)
        tracker.hear(user.reply({}))
        judge.hear(tracker.said, system=False)
        turns = 0
        while not user.left:
            says = wizard.act()
            judge.hear(says, system=True)
            tracker.hear(user.reply(says))
            judge.hear(tracker.said, system=False)
            turns += 1
        rate, told = judge.book_rate(), judge.informed()
        rows.append((user.content, judge.success(), turns, 1 if rate is None else rate, told[2]))
    names = ("user", "judge", "turns", "rate", "missed")
    return dict(zip(names, np.array(rows, float).T, strict=True))


def within(values: np.ndarray, expected: float, error: float = 0.0) -> bool:
    """Within 4 standard errors of a figure that has an error of its own."""
    own = values.std() / len(values) ** 0.5
    return abs(values.mean() - expected) <= 4 * (own**2 + error**2) ** 0.5 + 1e-9


def test_published_figures(real: Corpus) -> None:
    """As measured of ConvLab's rule bot over 1,005 goals: 4.20 turns (sd 1.80), judged 0.991."""
    found = fares(real, 600)
    assert found["user"].all()
    assert within(found["turns"], 4.20, 1.80 / 1005**0.5)
    assert found["turns"].std() == pytest.approx(1.80, abs=0.25)
    assert within(found["judge"], 0.991, (0.991 * 0.009 / 1005) ** 0.5)
    assert (found["rate"] == 1).all()
    assert found["missed"].mean() < 0.02


def test_figures_of_the_town(town: Corpus) -> None:
    found = fares(town, 400)
    assert found["user"].all()
    assert (found["rate"] == 1).all()
    assert found["judge"].mean() > 0.99
    assert within(found["turns"], 4.25)


def test_asked_twice_it_says_the_same(town: Corpus) -> None:
    for seed in range(30):
        talk = Conversation(town, seed)
        assert talk.wizard_act() == talk.wizard_act()
