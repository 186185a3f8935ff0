"""The tracker's bits, by name."""

from offline_actrep.simulators.dialogue.corpus import Corpus
from offline_actrep.simulators.dialogue.database import Database, Table
from offline_actrep.simulators.dialogue.ontology import DONT_CARE, SYSTEM_PAIRS, DialogueAct
from offline_actrep.simulators.dialogue.tracker import BIT, STATE_NAMES, STATE_SIZE, Tracker


def on(tracker: Tracker) -> set[str]:
    return {STATE_NAMES[place] for place, bit in enumerate(tracker.bits) if bit}


def said(*acts: DialogueAct, tables: Database) -> Tracker:
    tracker = Tracker(tables)
    for act in acts:
        tracker.hear(act)
    return tracker


def rows_of(tracker: Tracker, domain: str) -> str:
    (name,) = (name for name in on(tracker) if name.startswith(f"{domain} rows"))
    return name.removeprefix(f"{domain} rows ")


def test_the_blocks_lie_where_they_should() -> None:
    assert STATE_SIZE == 392
    assert len(set(STATE_NAMES)) == 392
    assert len(SYSTEM_PAIRS) == 68
    starts = {
        "restaurant rows <= 0": 0,
        "hotel rows <= 0": 6,
        "attraction rows <= 0": 12,
        "train rows <= 0": 18,
        "booking 0 unknown": 24,
        "taxi book booked": 30,
        "restaurant book booked": 40,
        "restaurant food empty": 44,
        "hospital book booked": 57,
        "hotel book booked": 62,
        "attraction book booked": 88,
        "train book booked": 102,
        "police book booked": 121,
        "police active": 122,
        "taxi requested leaveAt": 123,
        "restaurant requested food": 130,
        "police requested ref": 182,
        "user inform Attraction Addr": 183,
        "user request Attraction Addr": 184,
        "user inform Attraction Area": 186,
        "user inform Hospital Department": 216,
        "user booking Police Phone": 386,
        "repeated 0": 387,
        "repeated 4": 391,
    }
    assert {name: BIT[name] for name in starts} == starts


def test_at_first_it_knows_nothing(town: Corpus) -> None:
    names = on(Tracker(town.tables))
    assert {"restaurant rows > 4", "hotel rows > 4", "attraction rows > 4"} <= names
    assert {"train rows > 40", "booking 0 unknown", "booking 2 unknown"} <= names
    assert not {name for name in names if name.startswith(("user", "repeated"))}
    assert sum(name.endswith("empty") for name in names) == 2 + 4 + 1 + 7 + 4 + 5
    assert len(names) == 4 + 3 + 23


def test_what_is_told_is_filed(town: Corpus) -> None:
    told: DialogueAct = {"Hotel-Inform": [("Area", "west"), ("Price", DONT_CARE)]}
    booked: DialogueAct = {"Hotel-Inform": [("People", "3"), ("Stay", "2")]}
    tracker = said(told, booked, tables=town.tables)
    names = on(tracker)
    assert tracker.belief["hotel"] == {"area": "west", "pricerange": DONT_CARE}
    assert {"hotel area filled", "hotel pricerange don't care", "hotel active"} <= names
    assert {"hotel book people", "hotel book stay", "repeated 0"} <= names
    absent = {"hotel area empty", "hotel pricerange empty", "hotel book day", "hotel book booked"}
    assert not names & (absent | {"user inform Hotel Area", "taxi active"})


def test_told_anew_it_is_overwritten(town: Corpus) -> None:
    tracker = said(
        {"Hotel-Inform": [("Area", DONT_CARE)]},
        {"Hotel-Inform": [("Area", "north")]},
        tables=town.tables,
    )
    assert tracker.belief["hotel"] == {"area": "north"}
    assert "hotel area don't care" not in on(tracker)
    assert "user inform Hotel Area" in on(tracker)


def test_the_ends_of_a_taxi_ride_are_details_of_a_booking(town: Corpus) -> None:
    tracker = said({"Taxi-Inform": [("Dest", "x"), ("Leave", "09:00")]}, tables=town.tables)
    assert tracker.belief["taxi"] == {"leaveAt": "09:00"}
    assert {"taxi book destination", "taxi leaveAt filled", "taxi active"} <= on(tracker)


def test_what_is_neither_constraint_nor_booking_changes_nothing(town: Corpus) -> None:
    tracker = said({"Restaurant-Inform": [("Post", DONT_CARE)]}, tables=town.tables)
    assert not {name for name in on(tracker) if "active" in name}
    assert "user inform Restaurant Post" in on(tracker)


def test_requests_are_never_forgotten(town: Corpus) -> None:
    tracker = said(
        {"Train-Request": [("Id", "?"), ("Ticket", "?")]},
        {"general-thank": [("none", "none")]},
        tables=town.tables,
    )
    names = on(tracker)
    assert {"train requested trainID", "train requested price"} <= names
    assert not {name for name in names if name.startswith("user")}


def test_repetitions_in_a_row_are_counted_up_to_four(town: Corpus) -> None:
    act: DialogueAct = {"Hotel-Request": [("Phone", "?")]}
    tracker = Tracker(town.tables)
    for count in (0, 1, 2, 3, 4, 4):
        tracker.hear(dict(act))
        assert [n for n in on(tracker) if n.startswith("repeated")] == [f"repeated {count}"]
    tracker.hear({"Hotel-Request": [("Addr", "?")]})
    assert "repeated 0" in on(tracker)


def test_rows_are_counted_in_classes() -> None:
    hotels = [
        {"name": str(k), "area": "west", "stars": str(max(k - 3, 0)), "type": "x"} for k in range(9)
    ]
    trains = [{"leaveAt": f"{k:02d}:00", "arriveBy": "24:00", "day": "monday"} for k in range(60)]
    others = {
        name: Table(name, [{"name": "x", "area": "y", "type": "z"}])
        for name in ("restaurant", "attraction", "hospital", "police")
    }
    tables = others | {"hotel": Table("hotel", hotels), "train": Table("train", trains)}
    for stars, label in (("0", "<= 4"), ("1", "<= 1"), ("9", "<= 0")):
        tracker = said({"Hotel-Inform": [("Stars", stars)]}, tables=tables)
        assert rows_of(tracker, "hotel") == label
    assert rows_of(Tracker(tables), "hotel") == "> 4"
    for count, label in (
        (0, "<= 0"), (1, "<= 2"), (2, "<= 2"), (3, "<= 5"), (5, "<= 5"), (6, "<= 10"),
        (10, "<= 10"), (11, "<= 40"), (40, "<= 40"), (41, "> 40"),
    ):  # fmt: skip
        tracker = said({"Train-Inform": [("Leave", f"{60 - count:02d}:00")]}, tables=tables)
        assert rows_of(tracker, "train") == label
