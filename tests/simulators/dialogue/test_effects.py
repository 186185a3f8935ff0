"""What an action comes to: by hand, and held against what users then do."""

import copy
import random
from collections import defaultdict

import numpy as np
import pytest
from jaxtyping import Float32

from offline_actrep.simulators.dialogue.conversation import Conversation
from offline_actrep.simulators.dialogue.corpus import Corpus
from offline_actrep.simulators.dialogue.effects import WORDS, Word, effects
from offline_actrep.simulators.dialogue.ontology import DialogueAct
from offline_actrep.simulators.dialogue.tracker import BIT, Tracker
from offline_actrep.simulators.dialogue.vocabulary import Vocabulary, parse

HOTEL: set[Word] = {("name", "hotel", ""), ("speak", "hotel", "")}
TRAIN: set[Word] = {("name", "train", ""), ("speak", "train", "")}


def state(tracker: Tracker) -> Float32[np.ndarray, "1 392"]:
    return np.frombuffer(bytes(tracker.bits), np.uint8).astype(np.float32)[None]


def words(town: Corpus, action: str, *said: DialogueAct, without_rows: bool = False) -> set[Word]:
    tracker = Tracker(town.tables)
    for act in said:
        tracker.hear(act)
    skeleton, observation = parse(action), state(tracker)
    assert skeleton
    if without_rows:
        observation[0, BIT["hotel rows <= 0"]] = 1
    row = effects([skeleton], observation)[0]
    return {word for word, column in WORDS.items() if row[column]}


def test_telling_is_telling(town: Corpus) -> None:
    for act in ("Hotel-Inform", "Hotel-Recommend"):
        told = words(town, f"{act}[Name;Choice;Ref;Name;];")
        assert told == {("tell", "hotel", "name")} | HOTEL
    booked = words(town, "Hotel-OfferBooked[Name;];")
    assert booked == {("tell", "hotel", "name"), ("commit", "hotel", "")} | HOTEL
    assert words(town, "Hotel-Select[Name;];") == {("select", "hotel", "name")} | HOTEL
    assert words(town, "Hotel-Inform[Choice;];") == HOTEL


def test_what_is_not_heard(town: Corpus) -> None:
    assert words(town, "general-bye[none;];Booking-Inform[Name;];") == set()
    spoken = {("speak", "hotel", "")}
    assert words(town, "Hotel-Inform[none;];") == spoken
    assert words(town, "Hotel-Inform[Name;];", without_rows=True) == spoken
    assert words(town, "Hotel-Select[Name;];", without_rows=True) == spoken
    assert words(town, "Hotel-NoOffer[none;];") == spoken
    assert words(town, "Hotel-OfferBook[none;];") == spoken


def test_refusals_need_something_to_refuse(town: Corpus) -> None:
    told: DialogueAct = {"Hotel-Inform": [("Area", "west")]}
    assert words(town, "Hotel-NoOffer[none;];", told) == {("refuse", "hotel", "")} | HOTEL
    assert words(town, "Hotel-OfferBook[none;];", told) == HOTEL
    assert words(town, "Hotel-NoOffer[none;];", told, without_rows=True) == HOTEL | {
        ("refuse", "hotel", "")
    }


def test_trains_and_taxis_wait(town: Corpus) -> None:
    clear: DialogueAct = {"Train-Inform": [("Leave", "09:00"), ("Dest", "p"), ("Depart", "q")]}
    vague: DialogueAct = {"Train-Inform": [("Day", "monday"), ("Dest", "p"), ("Depart", "q")]}
    action = "Train-Inform[Id;Ref;];"
    told = {("tell", "train", "trainID"), ("tell", "train", "ref")}
    assert words(town, action, clear) == told | TRAIN
    assert words(town, action, vague) == {("speak", "train", "")}
    assert words(town, "Train-NoOffer[none;];", vague) == {("speak", "train", "")}
    assert ("commit", "train", "") in words(town, "Train-OfferBooked[Id;];", vague)
    timed: DialogueAct = {"Taxi-Inform": [("Arrive", "09:00")]}
    assert words(town, "Taxi-Inform[Phone;];") == {("speak", "taxi", "")}
    ride = {("tell", "taxi", "car type"), ("tell", "taxi", "phone")}
    assert ride <= words(town, "Taxi-Inform[none;];", timed)


def test_bookings_and_questions(town: Corpus) -> None:
    assert words(town, "Booking-Book[Ref;Name;];") == {("book", "booking", "")}
    assert words(town, "Booking-Request[Day;];") == {("ask", "booking", "day")}
    asked = words(town, "Hotel-Request[Area;];Train-Inform[Id;];Booking-Book[Ref;];")
    assert asked == {
        ("ask", "hotel", "area"),
        ("name", "hotel", ""),
        ("speak", "train", ""),
        ("book", "booking", ""),
    }


@pytest.mark.parametrize("seed", range(12))
def test_what_comes_to_the_same_is_the_same_to_the_user(town: Corpus, seed: int) -> None:
    """Along a dialogue, pairs of actions with equal effects lead to equal states and ends."""
    vocabulary, chance = Vocabulary(town.combinations, 1500), random.Random(seed)
    talk = Conversation(town, seed)
    while not talk.over:
        alike: dict[bytes, list[int]] = defaultdict(list)
        observations = state(talk.tracker).repeat(len(vocabulary), axis=0)
        for index, row in enumerate(effects(vocabulary.skeletons, observations)):
            alike[row.tobytes()].append(index)
        several = [group for group in alike.values() if len(group) > 1]
        for group in chance.sample(several, 3):
            ends = []
            for index in chance.sample(group, 2):
                fork = copy.deepcopy(talk, {id(town.tables): town.tables})
                fork.take_turn(vocabulary.skeletons[index])
                ends.append(
                    (
                        fork.tracker.bits,
                        fork.over,
                        fork.user.content,
                        fork.evaluator.success(),
                        fork.decoder.domain,
                    )
                )
            assert ends[0] == ends[1]
        wise = vocabulary.nearest(talk.wizard_act())
        talk.take_turn(vocabulary.skeletons[chance.choice((wise, chance.randrange(1500)))])
