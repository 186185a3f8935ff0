"""Goals: what every goal is, and how often."""

import random
from collections import Counter

import pytest

from offline_actrep.simulators.dialogue.corpus import Corpus
from offline_actrep.simulators.dialogue.goals import WEEKDAYS, Goal, GoalModel, Weighted, Wish

N_GOALS = 3000


@pytest.fixture(scope="module")
def goals(town: Corpus) -> list[Goal]:
    chance = random.Random(0)
    return [town.goals.draw(chance) for _ in range(N_GOALS)]


def wishes(goals: list[Goal], domain: str) -> list[Wish]:
    return [goal[domain] for goal in goals if domain in goal]


def assert_share(hits: list[bool], expected: float) -> None:
    """Within 4 standard errors."""
    assert len(hits) > 50
    error = (expected * (1 - expected) / len(hits)) ** 0.5
    assert abs(sum(hits) / len(hits) - expected) < 4 * error


def test_goals_have_one_to_three_domains(goals: list[Goal]) -> None:
    for size, share in ((1, 0.31), (2, 0.54), (3, 0.17)):
        # weights are rounded and sum to 1.02
        assert_share([len(goal) == size for goal in goals], share / 1.02)
    assert {list(goal)[2] for goal in goals if len(goal) == 3} == {"taxi"}


def test_every_wish_can_be_fulfilled(goals: list[Goal], town: Corpus) -> None:
    for goal in goals:
        for domain, wish in goal.items():
            assert wish.requests or wish.book
            assert wish.info
            assert not set(wish.requests) & set(wish.info)
            if domain != "taxi":
                assert town.tables[domain].find(wish.info)
            if wish.fail_info:
                assert domain not in ("taxi", "train", "hospital", "police")
                assert not town.tables[domain].find(wish.fail_info)
                changed = wish.fail_info.items() - wish.info.items()
                assert len(changed) == 1
                assert wish.fail_info.keys() == wish.info.keys()


def test_a_name_stands_alone(goals: list[Goal]) -> None:
    for domain, share in (("hotel", 0.2), ("restaurant", 0.16), ("attraction", 0.19)):
        named = [wish.info for wish in wishes(goals, domain) if "name" in wish.info]
        assert all(len(info) == 1 for info in named)
        assert 0 < len(named) / len(wishes(goals, domain)) < share


def test_journeys_have_one_time(goals: list[Goal]) -> None:
    for domain, leaves in (("train", 0.47), ("taxi", 0.54)):
        infos = [goal[domain].info for goal in goals if domain in goal and "hotel" not in goal]
        assert all(("leaveAt" in info) != ("arriveBy" in info) for info in infos)
        if domain == "train":
            assert all({"departure", "destination", "day"} <= info.keys() for info in infos)
            assert_share(["leaveAt" in info for info in infos], leaves)


def test_police_and_hospital_are_asked_for_what_they_can_tell(goals: list[Goal]) -> None:
    for wish in wishes(goals, "police"):
        assert wish.info == {"none": "none"}
        assert set(wish.requests) <= {"address", "phone"}
    for wish in wishes(goals, "hospital"):
        assert set(wish.info) == {"department"}
        assert wish.requests == ("phone",)


def test_requests_are_as_frequent_as_modelled(goals: list[Goal]) -> None:
    asked = [
        "phone" in wish.requests for wish in wishes(goals, "attraction") if "name" not in wish.info
    ]
    # 0.44, given that something is asked for: six slots, two of them often constraints
    assert 0.44 < sum(asked) / len(asked) < 0.55


def test_bookings_are_whole(goals: list[Goal]) -> None:
    for domain, slots in (
        ("restaurant", {"time", "day", "people"}),
        ("hotel", {"stay", "day", "people"}),
        ("train", {"people"}),
    ):
        books = [wish.book for wish in wishes(goals, domain) if wish.book]
        assert books
        assert all(set(book) == slots for book in books)
    assert not any(wish.book for wish in wishes(goals, "attraction"))


def test_half_the_bookings_of_rooms_and_tables_are_to_fail_at_first(goals: list[Goal]) -> None:
    for domain, other in (("hotel", "stay"), ("restaurant", "time")):
        alone = [
            goal[domain] for goal in goals if goal.keys() & {"hotel", "restaurant"} == {domain}
        ]
        booked = [wish for wish in alone if wish.book]
        assert_share([bool(wish.fail_book) for wish in booked], 0.5)
        changes = [
            dict(wish.fail_book.items() - wish.book.items()) for wish in booked if wish.fail_book
        ]
        assert Counter(slot for change in changes for slot in change).keys() == {other, "day"}
        assert all(len(change) == 1 for change in changes)
        assert_share(["day" in change for change in changes], 0.5)
    assert not any(wish.fail_book for wish in wishes(goals, "train"))


def test_what_fails_is_one_night_more_an_hour_later_or_a_day_off(goals: list[Goal]) -> None:
    offs: dict[str, set[int]] = {"hotel": set(), "restaurant": set()}
    for domain, shifts in offs.items():
        for goal in goals:
            wish = goal.get(domain)
            if wish is None or not wish.fail_book or len(goal) > 1:
                continue
            book, fails = wish.book, wish.fail_book
            shifts.add((WEEKDAYS.index(fails["day"]) - WEEKDAYS.index(book["day"])) % 7)
            if domain == "hotel":
                assert int(fails["stay"]) - int(book["stay"]) in (0, 1)
            else:
                assert fails["time"][2:] == book["time"][2:]
                assert int(fails["time"][:2]) - int(book["time"][:2]) in (0, 1)
    assert offs == {"hotel": {0, 6}, "restaurant": {0, 1, 6}}


def test_a_taxi_goes_to_the_last_place_from_the_one_before(goals: list[Goal]) -> None:
    rides = [goal for goal in goals if "taxi" in goal and len(goal) == 3]
    assert rides
    for goal in rides:
        first, last, _ = goal
        assert set(goal["taxi"].info) in ({"leaveAt"}, {"arriveBy"})
        assert all("address" in goal[place].requests for place in (first, last))
        if last == "restaurant" and goal[last].book:
            assert goal["taxi"].info == {"arriveBy": goal[last].book["time"]}
    alone = [goal["taxi"].info for goal in goals if list(goal) == ["taxi"]]
    assert all({"departure", "destination"} <= info.keys() for info in alone)


def test_bookings_agree(goals: list[Goal], town: Corpus) -> None:
    hub, people = town.goals.hub, []
    for goal in goals:
        if "hotel" not in goal or not goal["hotel"].book:
            continue
        book = goal["hotel"].book
        if "restaurant" in goal and goal["restaurant"].book:
            assert goal["restaurant"].book["day"] == book["day"]
            people.append(goal["restaurant"].book["people"] == book["people"])
            assert goal["restaurant"].fail_book != goal["restaurant"].book
        if "train" in goal:
            info, stay = goal["train"].info, int(book["stay"])
            if info["destination"] == hub:
                assert info["day"] == book["day"]
            elif info["departure"] == hub:
                assert info["day"] == WEEKDAYS[(WEEKDAYS.index(book["day"]) + stay) % 7]
    assert 0 < sum(people) < len(people)


def test_goals_that_no_table_can_fulfil_are_drawn_again(town: Corpus) -> None:
    """A hotel is wanted of which there is none: the user falls back on one there is."""
    model = town.goals.domains["hotel"]
    values = model.values | {"area": Weighted({"nowhere": 1.0, "west": 0.001})}
    domains = town.goals.domains | {
        "hotel": type(model)({"area": 1.0}, {"phone": 1.0}, {}, 0.0, values)
    }
    picky = GoalModel({("hotel",): 1.0, (): 5.0}, domains, town.tables)
    chance = random.Random(0)
    drawn = [picky.draw(chance)["hotel"] for _ in range(200)]
    assert all(wish.info == {"area": "west"} for wish in drawn)
    assert sum(wish.fail_info == {"area": "nowhere"} for wish in drawn) > 190


def test_the_same_chance_gives_the_same_goal(town: Corpus) -> None:
    one, other = ([town.goals.draw(random.Random(seed)) for seed in range(20)] for _ in range(2))
    assert one == other


def test_things_are_drawn_by_weight() -> None:
    chance = random.Random(0)
    weighted = Weighted({"a": 3.0, "b": 1.0})
    assert weighted.likeliest == "a"
    assert_share([weighted.draw(chance) == "a" for _ in range(2000)], 0.75)
