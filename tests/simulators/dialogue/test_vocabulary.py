"""Actions: the normal form of combinations, their order, and the nearest of them."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from offline_actrep.simulators.dialogue.corpus import ACT_COUNTS, Corpus
from offline_actrep.simulators.dialogue.vocabulary import FIXED, Skeleton, Vocabulary, parse

MORE = ("general-reqmore", ("none",))
NAME_AREA: Skeleton = (("Hotel-Inform", ("Area", "Name")),)
RANKED: list[Skeleton] = [
    NAME_AREA,
    (("Hotel-Inform", ("Area", "Name")), MORE),
    (("Hotel-NoOffer", ("none",)), ("Hotel-Request", ("Area",))),
    (("Hotel-Inform", ("Area", "Name", "Phone")),),
    (("Booking-Book", ("Name", "Ref")),),
]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        (
            "Hotel-Inform[Name;Area;];general-reqmore[none;];",
            (("Hotel-Inform", ("Area", "Name")), MORE),
        ),
        ("Hotel-NoOffer[Type;Area;];", (("Hotel-NoOffer", ("none",)),)),
        ("Train-OfferBook[Day;Id;];", (("Train-OfferBook", ("none",)),)),
        ("Train-OfferBooked[Ref;Id;];", (("Train-OfferBooked", ("Id", "Ref")),)),
        ("Hotel-Select[Type;Area;];", (("Hotel-Select", ("Type",)),)),
        ("Hotel-Select[none;];general-reqmore[none;];", None),
        ("Hotel-Inform[Name;Name;];", (("Hotel-Inform", ("Name", "Name")),)),
        ("", None),
    ],
)
def test_the_normal_form(text: str, normal: Skeleton | None) -> None:
    assert parse(text) == normal


def test_the_fixed_actions() -> None:
    assert len(FIXED) == len(set(FIXED)) == 140
    assert FIXED[3] == (MORE,)
    assert FIXED[4] == (("Attraction-Inform", ("Addr",)),)
    assert FIXED[5] == (("Attraction-Request", ("Addr",)),)
    assert FIXED[139] == (("Police-Request", ("Phone",)),)


def test_repeated_combinations_count_once() -> None:
    vocabulary = Vocabulary([FIXED[7], *RANKED[:2], *RANKED], 145)
    assert vocabulary.skeletons[140:] == tuple(RANKED)


@pytest.mark.parametrize(("size", "words"), [(139, "at least its 140"), (146, "only 145")])
def test_sizes_that_cannot_be(size: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Vocabulary(RANKED, size)


def test_features_are_the_pairs_of_act_and_slot() -> None:
    vocabulary = Vocabulary(RANKED, 145)
    assert vocabulary.bits.shape == (145, len(vocabulary.pairs))
    row = vocabulary.bits[141]
    told = {vocabulary.pairs[column] for column in np.flatnonzero(row)}
    assert told == {("Hotel-Inform", "Area"), ("Hotel-Inform", "Name"), ("general-reqmore", "none")}
    assert set(np.unique(vocabulary.bits)) == {0.0, 1.0}


def test_the_nearest_action() -> None:
    vocabulary = Vocabulary(RANKED, 145)
    act = {"general-reqmore": [("none", "none")], "Hotel-Inform": [("Name", "x"), ("Area", "y")]}
    assert vocabulary.nearest(act) == 141  # in any order
    act = {"Hotel-Inform": [("Name", "x"), ("Area", "y"), ("Price", "z")]}
    assert vocabulary.nearest(act) == 140  # two of three; 143 has two of four
    act = {"Hotel-Request": [("Area", "?"), ("Price", "?")]}
    assert vocabulary.skeletons[vocabulary.nearest(act)] == (("Hotel-Request", ("Area",)),)
    act = {"Hotel-NoOffer": [("Area", "x")]}
    assert vocabulary.nearest(act) == 142
    assert vocabulary.nearest({"Booking-Book": [("Ref", "1")]}) == 144
    assert vocabulary.nearest({"Booking-Request": [("Name", "?"), ("Ref", "?")]}) < 140
    assert vocabulary.nearest({"Taxi-Recommend": [("Color", "x")]}) == 0


def test_the_towns_actions_look_like_those_of_multiwoz(town: Corpus) -> None:
    vocabulary = Vocabulary(town.combinations, 1500)
    assert Counter(map(len, vocabulary.skeletons)) == {1: 669, 2: 808, 3: 23}
    slots = sum(len(slots) for action in vocabulary.skeletons for _, slots in action)
    assert slots / 1500 == pytest.approx(2.95, abs=0.05)


@pytest.mark.parametrize(("size", "share"), [(300, 0.593), (500, 0.683), (1500, 0.823)])
def test_share_of_the_published_turns_covered(
    size: int, share: float, real: Corpus, real_folder: Path
) -> None:
    vocabulary = Vocabulary(real.combinations, size)
    actions = set(vocabulary.skeletons)
    counts = pl.read_parquet(real_folder / ACT_COUNTS)
    covered = sum(count for text, count in counts.rows() if parse(text) in actions)
    assert covered / counts["count"].sum() == pytest.approx(share, abs=5e-4)
    if size == 1500:
        lengths = Counter(map(len, vocabulary.skeletons))
        assert lengths == {1: 611, 2: 822, 3: 67}  # equally frequent ones at the end may differ
