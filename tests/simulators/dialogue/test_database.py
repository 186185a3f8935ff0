"""Tables: which rows fit."""

import pytest

from offline_actrep.simulators.dialogue.database import Row, Table
from offline_actrep.simulators.dialogue.ontology import DONT_CARE

PLACES: list[Row] = [
    {"name": "a", "area": "west", "food": "thai", "pricerange": "cheap"},
    {"name": "b", "area": "east", "food": "thai", "pricerange": "cheap"},
    {"name": "c", "area": "west", "food": "thai"},
]
TRAINS: list[Row] = [
    {"leaveAt": leaves, "arriveBy": arrives, "day": day, "departure": "x", "destination": "y"}
    for leaves, arrives, day in (
        ("08:00", "09:00", "monday"),
        ("10:00", "11:00", "monday"),
        ("23:30", "24:30", "monday"),
        ("10:00", "11:00", "sunday"),
    )
]


def names(constraints: dict[str, str]) -> list[str]:
    table = Table("restaurant", PLACES)
    return [row["name"] for row in table.each(table.find(constraints))]


def test_every_constraint_must_hold() -> None:
    assert names({}) == ["a", "b", "c"]
    assert names({"area": "west"}) == ["a", "c"]
    assert names({"area": "west", "food": "thai", "pricerange": "cheap"}) == ["a"]
    assert names({"area": "north"}) == []
    assert names({"name": "c"}) == ["c"]


def test_what_does_not_matter_or_is_not_there_is_passed_over() -> None:
    assert names({"area": DONT_CARE, "food": "thai"}) == ["a", "b", "c"]
    assert names({"people": "3", "stars": "4", "area": "east"}) == ["b"]


@pytest.mark.parametrize(
    ("constraints", "rows"),
    [
        ({"leaveAt": "10:00"}, [1, 2, 3]),
        ({"leaveAt": "10:01"}, [2]),
        ({"arriveBy": "11:00"}, [0, 1, 3]),
        ({"arriveBy": "24:30"}, [0, 1, 2, 3]),
        ({"leaveAt": "09:00", "arriveBy": "12:00", "day": "monday"}, [1]),
        ({"departure": "nowhere", "destination": "nowhere", "day": "sunday"}, [3]),
    ],
)
def test_times_bound_and_places_are_ignored(constraints: dict[str, str], rows: list[int]) -> None:
    table = Table("train", TRAINS)
    for _ in range(2):  # found, then remembered
        assert [int(row["ref"]) for row in table.each(table.find(constraints))] == rows


def test_hospital_and_police_are_given_whole() -> None:
    rows = [{"department": "x", "phone": "1"}, {"department": "y", "phone": "2"}]
    assert Table("hospital", rows).find({"department": "y"}) == 0b11


def test_rows_are_numbered_and_the_first_is_offered() -> None:
    table = Table("restaurant", PLACES)
    assert len(table) == 3
    assert [row["ref"] for row in table.rows] == ["00000000", "00000001", "00000002"]
    assert table.first(0b110)["name"] == "b"
    assert "ref" not in PLACES[0]
