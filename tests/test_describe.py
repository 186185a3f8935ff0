"""What can be set, read off the classes that check it."""

from dataclasses import fields

import pytest

from offline_actrep.describe import FILES, described, names
from offline_actrep.offline.learner import LearnerConfig
from offline_actrep.report import Table
from offline_actrep.representations.merlion import MerlionConfig

EVERY = [name for kind in names().values() for name in kind]


def settings(table: Table) -> dict[str, tuple[str, ...]]:
    return {row[0]: tuple(row[1:]) for row in table.rows}


@pytest.mark.parametrize("name", EVERY)
def test_everything_with_settings_is_described(name: str) -> None:
    tables = described(name)
    assert all(table.rows for table in tables)
    assert tables[0].caption.startswith(f"{name}.toml: " if name in FILES else f"{name}: ")


def test_no_setting_is_left_out() -> None:
    for name, config in (("merlion", MerlionConfig), ("cql", LearnerConfig)):
        (table,) = described(name)
        assert list(settings(table)) == [field.name for field in fields(config)]


def test_a_setting_in_words() -> None:
    (table,) = described("merlion")
    known = settings(table)
    assert known["dim"] == ("integer >= 1", "2", "E, coordinates of a point.")
    assert known["transition"][:2] == ("mean or gaussian", "mean")
    assert known["residual"][:2] == ("boolean", "false")
    assert known["factors"][:2] == ("list of integer", "[]")
    assert known["recall"][0] == "number > 0, <= 1"


def test_each_learner_has_its_own_defaults() -> None:
    samples = {name: settings(described(name)[0])["n_action_samples"][1] for name in ("cql", "bcq")}
    assert samples == {"cql": "2", "bcq": "10"}


def test_a_file_names_its_tables_once_and_in_order() -> None:
    tables = described("recipe")
    captions = [table.caption.partition(":")[0] for table in tables]
    assert len(set(captions)) == len(captions)
    assert captions[:3] == ["recipe.toml", "LogSource", "WorldRecipe"]
    top = settings(tables[0])
    assert top["log"][0] == "table LogSource" and top["log"][1] == "needed"
    assert top["log"][2].startswith("`[log]`: where the log comes from")
    assert top["learners"][0] == "list of table LearnerRecipe"
    assert top["gamma"][0] == "number > 0, < 1"
    assert top["evaluate"][1] == "its own defaults"
    for kind in (row[1] for table in tables for row in table.rows):
        if "table " in kind:
            assert kind.rpartition("table ")[2] in captions


def test_what_is_not_there_is_refused_with_the_near_names() -> None:
    with pytest.raises(ValueError, match="nothing is called 'merlin'; near it: merlion"):
        described("merlin")
