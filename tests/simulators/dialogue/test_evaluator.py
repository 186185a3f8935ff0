"""The judge, on short dialogues whose verdict is known."""

import pytest

from offline_actrep.simulators.dialogue.database import Row, database
from offline_actrep.simulators.dialogue.evaluator import Evaluator, plausible
from offline_actrep.simulators.dialogue.goals import Goal, Wish
from offline_actrep.simulators.dialogue.ontology import DialogueAct

ROWS: dict[str, list[Row]] = {
    "hotel": [
        {"name": "a", "area": "west", "stars": "4"},
        {"name": "b", "area": "west", "stars": "3"},
        {"name": "c", "area": "east", "stars": "2"},
    ],
    "train": [
        {"leaveAt": "08:00", "arriveBy": "09:00", "day": "monday"},
        {"leaveAt": "10:00", "arriveBy": "11:00", "day": "monday"},
    ],
    "restaurant": [{"name": "e", "area": "west"}],
    "attraction": [{"name": "d"}],
    "police": [{"phone": "44"}],
    "hospital": [{"phone": "55"}],
}
ROOM = {"stay": "2", "day": "monday", "people": "3"}


def judged(goal: Goal, *system: DialogueAct, user: DialogueAct | None = None) -> Evaluator:
    evaluator = Evaluator(goal, database(ROWS))
    evaluator.hear(user or {}, system=False)
    for act in system:
        evaluator.hear(act, system=True)
    return evaluator


def hotel(**parts: object) -> Goal:
    return {"hotel": Wish({"area": "west", "stars": "4"}, **parts)}  # type: ignore[arg-type]


def book(reference: str) -> DialogueAct:
    return {"Booking-Book": [("Ref", reference)]}


IN_HOTEL: DialogueAct = {"Hotel-Inform": [("Area", "west")]}

# --- what was told


def test_told_missed_and_needless() -> None:
    goal = hotel(requests=("phone", "postcode"))
    evaluator = judged(
        goal,
        {"Hotel-Inform": [("Phone", "01234567890"), ("Area", "west"), ("Internet", "yes")]},
        {"Hotel-Recommend": [("Name", "a"), ("Choice", "3"), ("Phone", "01234567890")]},
        {"Restaurant-Inform": [("Food", "thai"), ("Name", "e")]},
    )
    # internet and food are needless; constraints, names and numbers of rows are not counted
    assert evaluator.informed() == (1, 2, 1)
    assert not evaluator.success()
    evaluator.hear({"Hotel-OfferBook": [("Post", "cb12ab")]}, system=True)
    assert evaluator.informed() == (2, 2, 0)
    assert evaluator.success()


def test_only_what_the_system_tells_counts() -> None:
    evaluator = Evaluator(hotel(requests=("phone",)), database(ROWS))
    evaluator.hear({"Hotel-Inform": [("Phone", "01234567890")]}, system=False)
    evaluator.hear({"Hotel-Request": [("Phone", "01234567890")]}, system=True)
    evaluator.hear({"Hotel-Select": [("Phone", "01234567890")]}, system=True)
    assert evaluator.informed() == (0, 0, 1)


def test_an_implausible_answer_is_none() -> None:
    evaluator = judged(hotel(requests=("phone",)), {"Hotel-Inform": [("Phone", "N/A")]})
    assert evaluator.informed() == (0, 1, 1)


@pytest.mark.parametrize(
    ("slot", "good", "bad"),
    [
        ("area", "centre", "?"),
        ("pricerange", "Cheap", "dear"),
        ("leaveAt", "24:07", "7:15"),
        ("arriveBy", "09:00", "?"),
        ("phone", "01223358966", "0122335896"),
        ("postcode", "cb12ab", "cb1"),
        ("stars", "4", "four"),
        ("trainID", "TR1234", "1234"),
        ("entrance fee", "?", "none"),
        ("address", "1 Mill Lane", "unknown"),
        ("car type", "red estate", ""),
    ],
)
def test_what_is_plausible(slot: str, good: str, bad: str) -> None:
    assert plausible(slot, good)
    assert not plausible(slot, bad)


# --- what was booked


@pytest.mark.parametrize(("row", "rate"), [(0, 1.0), (1, 0.5), (2, 0.0)])
def test_the_booked_row_is_held_against_the_constraints(row: int, rate: float) -> None:
    evaluator = judged(hotel(book=ROOM), IN_HOTEL, book(f"{row:08d}"))
    assert evaluator.book_rate() == rate
    assert evaluator.success() == (rate == 1.0)


def test_the_first_booking_counts() -> None:
    evaluator = judged(hotel(book=ROOM), IN_HOTEL, book("00000002"), book("00000000"))
    assert evaluator.booked["hotel"]["name"] == "c"
    assert not evaluator.success()


@pytest.mark.parametrize("reference", ["none", "00000003", "0000000", "N/A"])
def test_a_reference_to_no_row_books_nothing(reference: str) -> None:
    evaluator = judged(hotel(book=ROOM), IN_HOTEL, book(reference))
    assert evaluator.book_rate() == 0.0
    assert not evaluator.success()


def test_a_booking_is_of_the_domain_named_last_by_either() -> None:
    first = book("00000000")
    assert judged(hotel(book=ROOM), first).booked == {}
    assert judged(hotel(book=ROOM), first, user=IN_HOTEL).booked.keys() == {"hotel"}
    restaurant: DialogueAct = {"Restaurant-Inform": [("Name", "e")]}
    assert judged(hotel(book=ROOM), restaurant, first, user=IN_HOTEL).booked.keys() == {
        "restaurant"
    }
    both = judged(hotel(book=ROOM), {"Hotel-Inform": [("Name", "a")], **first})
    assert both.booked.keys() == {"hotel"}
    attraction: DialogueAct = {"Attraction-Inform": [("Name", "d")]}
    assert judged(hotel(book=ROOM), attraction, first).booked == {}


def test_trains_are_booked_by_their_own_acts_and_times_bind_from_one_side() -> None:
    def train(**info: str) -> Goal:
        info = {"departure": "x", "destination": "y", "day": "monday", **info}
        return {"train": Wish(info, (), {"people": "2"})}

    for act in ("Train-OfferBooked", "Train-Inform"):
        told: DialogueAct = {act: [("Ref", "00000001")]}
        assert judged(train(leaveAt="09:00"), told).success()
        assert judged(train(arriveBy="11:00"), told).success()
        assert judged(train(leaveAt="10:01"), told).book_rate() == 0.5
        assert judged(train(arriveBy="10:59"), told).book_rate() == 0.5
    assert not judged(train(leaveAt="09:00"), {"Train-Recommend": [("Ref", "00000001")]}).booked


def test_a_name_alone_is_not_held_against_a_booking() -> None:
    goal: Goal = {"hotel": Wish({"name": "a"}, ("phone",), ROOM)}
    phone: DialogueAct = {"Hotel-Inform": [("Phone", "01234567890")]}
    evaluator = judged(goal, phone, book("00000002"))
    assert evaluator.book_rate() is None
    assert evaluator.success()
    assert not judged(goal, phone).success()


def test_rates_are_averaged_over_domains() -> None:
    goal = hotel(book=ROOM) | {"restaurant": Wish({"area": "west"}, (), {"people": "2"})}
    restaurant: DialogueAct = {"Restaurant-Inform": [("Name", "e")]}
    evaluator = judged(goal, IN_HOTEL, book("00000001"), restaurant, book("00000000"))
    assert evaluator.book_rate() == 0.75


def test_nothing_wanted_nothing_missed() -> None:
    assert judged(hotel(requests=())).success()
