"""The town that is made up, and MultiWOZ's own read from files."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from offline_actrep.simulators.dialogue.corpus import (
    ACT_COUNTS,
    GOAL_MODEL,
    TABLE_FOLDER,
    Corpus,
    invented_corpus,
    read_corpus,
)
from offline_actrep.simulators.dialogue.database import TABLES
from offline_actrep.simulators.dialogue.evaluator import plausible
from offline_actrep.simulators.dialogue.ontology import BOOK_SLOTS, DOMAINS, SEMI_SLOTS, UNKNOWN

SIZES = {
    "attraction": 79,
    "hospital": 66,
    "hotel": 33,
    "police": 1,
    "restaurant": 110,
    "train": 2828,
}


def profile(corpus: Corpus, domain: str, slot: str) -> list[int]:
    """How often each value stands, the most frequent first."""
    counts = Counter(row[slot] for row in corpus.tables[domain].rows if slot in row)
    return sorted(counts.values(), reverse=True)


def test_the_town_has_the_sizes_of_multiwoz(town: Corpus) -> None:
    assert {name: len(table) for name, table in town.tables.items()} == SIZES
    trains = town.tables["train"].rows
    assert len({row["departure"] for row in trains}) == 13
    assert len({row["leaveAt"] for row in trains}) == pytest.approx(327, abs=40)
    assert len({row["arriveBy"] for row in trains}) == pytest.approx(345, abs=40)
    departments = {row["department"] for row in town.tables["hospital"].rows}
    assert len(departments) == 59


@pytest.mark.parametrize(
    ("domain", "slot"),
    [
        ("restaurant", "area"),
        ("restaurant", "pricerange"),
        ("restaurant", "name"),
        ("hotel", "area"),
        ("hotel", "stars"),
        ("hotel", "parking"),
        ("hotel", "type"),
        ("attraction", "area"),
        ("train", "day"),
        ("train", "departure"),
    ],
)
def test_values_are_as_frequent_as_in_multiwoz(
    domain: str, slot: str, town: Corpus, real: Corpus
) -> None:
    assert profile(town, domain, slot) == profile(real, domain, slot)


def test_nothing_of_multiwoz_is_in_the_town(town: Corpus, real: Corpus) -> None:
    for domain, slots in (
        ("restaurant", ("name", "address", "phone", "postcode", "food")),
        ("hotel", ("name", "address", "phone", "postcode")),
        ("attraction", ("name", "address", "phone", "postcode")),
        ("hospital", ("department", "phone")),
        ("train", ("departure", "destination")),
    ):
        for slot in slots:
            ours, theirs = (
                {row[slot] for row in corpus.tables[domain].rows if slot in row}
                for corpus in (town, real)
            )
            assert not ours & theirs, slot


def test_the_towns_tables_make_sense(town: Corpus) -> None:
    for domain, table in town.tables.items():
        assert all(
            plausible(slot, value) or value == UNKNOWN
            for row in table.rows
            for slot, value in row.items()
        )
        constrained = set(SEMI_SLOTS[domain]) - set(BOOK_SLOTS[domain])
        assert all(constrained <= row.keys() for row in table.rows)
    for row in town.tables["train"].rows:
        (start, end), minutes = (
            [int(row[slot][:2]) * 60 + int(row[slot][3:]) for slot in ("leaveAt", "arriveBy")],
            int(row["duration"].removesuffix(" minutes")),
        )
        assert end - start == minutes
        assert (row["departure"] == town.goals.hub) != (row["destination"] == town.goals.hub)


def test_a_seed_makes_up_the_same_town_again(town: Corpus) -> None:
    again, other = invented_corpus.__wrapped__(0), invented_corpus(1)
    assert again.combinations == town.combinations != other.combinations
    for name in TABLES:
        assert again.tables[name].rows == town.tables[name].rows
    assert other.tables["hotel"].rows != town.tables["hotel"].rows


def test_the_frequent_is_said_first(town: Corpus) -> None:
    assert town.combinations[0] == (("general-bye", ("none",)),)
    assert (("Booking-Book", ("Ref",)),) in town.combinations[:10]
    assert len(set(town.combinations)) == len(town.combinations) > 5000


# --- files


@pytest.fixture
def folder(tmp_path: Path, town: Corpus) -> Path:
    """The town, written as MultiWOZ is."""
    (tmp_path / TABLE_FOLDER).mkdir()
    for name, table in town.tables.items():
        rows = [{slot: row.get(slot) for slot in table.rows[0]} for row in table.rows]
        pl.DataFrame(rows).write_parquet(tmp_path / TABLE_FOLDER / f"{name}.parquet")
    pl.DataFrame(
        {"act_string": ["general-bye[none;];", "", "Hotel-Inform[Name;Area;];"], "count": [1, 5, 3]}
    ).write_parquet(tmp_path / ACT_COUNTS)
    domains: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name in DOMAINS:
        model = town.goals.domains[name]
        domains[name] = {"info": model.info, "reqt": model.requests, "book": model.book_slots}
        values[name] = {
            kind: {slot: dict.fromkeys(model.values[slot].things, 1) for slot in slots}
            for kind, slots in (("info", model.info), ("book", model.book_slots))
        }
    written = {
        "slot_prob": domains,
        "slot_value_prob": values,
        "book_prob": {name: town.goals.domains[name].book for name in DOMAINS},
        "domain_ordering_prob": [[["hotel"], 0.5], [["train", "hotel"], 0.4], [[], 0.1]],
    }
    (tmp_path / GOAL_MODEL).write_text(json.dumps(written))
    return tmp_path


def test_what_is_written_is_read(folder: Path, town: Corpus) -> None:
    read = read_corpus(folder)
    for name in ("hotel", "train"):
        assert read.tables[name].rows == town.tables[name].rows
    phones = sum("phone" in row for row in read.tables["restaurant"].rows)
    assert phones == 107
    assert read.combinations == (
        (("Hotel-Inform", ("Area", "Name")),),
        (("general-bye", ("none",)),),
    )
    assert read.goals.orderings.things == [("hotel",), ("train", "hotel")]
    model, own = read.goals.domains["hotel"], town.goals.domains["hotel"]
    assert (model.info, model.requests, model.book_slots, model.book) == (
        own.info,
        own.requests,
        own.book_slots,
        own.book,
    )
    assert model.values["stay"].things == ["1", "2", "3", "4", "5"]
    assert read_corpus(folder) is read


def test_tables_as_they_are_published(folder: Path, town: Corpus) -> None:
    rows = [dict(row, location=[1.0, 2.0]) for row in town.tables["hotel"].rows[:5]]
    (folder / TABLE_FOLDER / "hotel_db.json").write_text(json.dumps(rows))
    (folder / TABLE_FOLDER / "hotel.parquet").unlink()
    read = read_corpus(folder).tables["hotel"].rows
    assert [row["name"] for row in read] == [row["name"] for row in rows]
    assert read[0]["location"] == "[1.0, 2.0]"


@pytest.mark.parametrize("name", [GOAL_MODEL, ACT_COUNTS, f"{TABLE_FOLDER}/train.parquet"])
def test_an_absent_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"there is no .*{Path(name).name}"):
        read_corpus(folder)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave `data` out"):
        read_corpus(tmp_path / "nowhere")


def test_a_table_without_a_constraint_is_refused(folder: Path) -> None:
    path = folder / TABLE_FOLDER / "hotel.parquet"
    pl.read_parquet(path).drop("stars").write_parquet(path)
    with pytest.raises(ValueError, match=r"hotel\.parquet has 33 rows and lacks stars"):
        read_corpus(folder)


def test_an_empty_table_is_refused(folder: Path) -> None:
    (folder / TABLE_FOLDER / "police_db.json").write_text("[]")
    with pytest.raises(ValueError, match=r"police_db\.json has 0 rows"):
        read_corpus(folder)


def test_counts_without_a_column_are_refused(folder: Path) -> None:
    pl.DataFrame({"act": ["x"], "count": [1]}).write_parquet(folder / ACT_COUNTS)
    with pytest.raises(ValueError, match="needs the columns act_string and count; it has act, "):
        read_corpus(folder)


def test_a_goal_model_without_a_key_is_refused(folder: Path) -> None:
    (folder / GOAL_MODEL).write_text('{"slot_prob": {}}')
    with pytest.raises(ValueError, match="is no goal model: it lacks the key 'domain_ordering"):
        read_corpus(folder)


def test_the_published_tables(real: Corpus) -> None:
    assert {name: len(table) for name, table in real.tables.items()} == SIZES
    assert real.goals.hub == "cambridge"
    assert len(real.goals.orderings.things) == 25
    assert real.combinations[0] == (("general-bye", ("none",)),)
