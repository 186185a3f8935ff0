"""Data sets made from nothing: recipes, checkpoints that play, cards."""

import json
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.behaviour import EpisodeMixture, Expert, Greedy, Noisy
from offline_actrep.core.progress import OnStep
from offline_actrep.dataset import (
    Dataset,
    behaviour_of,
    make_dataset,
    measure,
    overview,
    publish,
    read_dataset,
)
from offline_actrep.files.artifact import read_json
from offline_actrep.files.parquet import read_log

TINY = """\
name = "maze-tiny"
about = "Two checkpoints and the expert."
rows = 300
seed = 3
worlds = 4
noise = 0.25
sample_rows = 100
cloning_steps = 10

[world]
name = "maze"
settings = { actuators = 4 }

[online]
learner = "a2c"
checkpoint_every = 128
checkpoints = 2
worlds = 4
settings = { n_steps = 8, hidden = [8] }

[[parts]]
policy = "checkpoint-1"
weight = 1

[[parts]]
policy = "checkpoint-2"
weight = 1

[[parts]]
policy = "expert"
weight = 2
"""
DATASETS = Path(__file__).parents[1] / "datasets"
RECIPES = sorted(DATASETS.glob("*/*.toml"))


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    text = TINY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tiny.toml"
    file.write_text(text, encoding="utf-8")
    return file


def quiet(stage: str) -> OnStep:
    del stage
    return lambda done, total, losses: None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="module")
def made(place: Path) -> Dataset:
    return make_dataset(read_dataset(write(place / "maze")), place / "logs", on_stage=quiet)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_tracked_recipes_are_read_and_named_after_their_place(file: Path) -> None:
    recipe = read_dataset(file)
    assert recipe.name == f"{file.parent.name}-{file.stem}"
    assert recipe.noise == 0.5


@pytest.mark.parametrize("tier", ["medium", "mixed", "sparse"])
def test_every_world_has_every_tier(tier: str) -> None:
    folders = {file.parent.name for file in RECIPES}
    assert len(folders) == 6
    assert {file.parent.name for file in RECIPES if file.stem == tier} == folders


@pytest.mark.parametrize("folder", sorted({file.parent for file in RECIPES}), ids=lambda f: f.name)
def test_the_tracked_samples_are_logs_of_their_worlds(folder: Path) -> None:
    sample, table = folder / "sample.parquet", folder / "sample.actions.parquet"
    assert sample.stat().st_size + table.stat().st_size <= 3_000_000
    log = read_log(sample, action_table=table)
    recipe = read_dataset(folder / "medium.toml")
    world = recipe.world.make(1)
    log.action_set.must_equal(world.action_set, "the sample", "the world")
    assert log.observation_names == world.observation_names
    assert log.action_probabilities is not None
    assert recipe.sample_rows <= len(log) < recipe.sample_rows + world.horizon
    stated = read_json(folder / "checksums.json")[recipe.name]
    assert len(log) < stated["rows"] < recipe.rows + recipe.worlds * world.horizon
    assert recipe.name in (folder / "README.md").read_text(encoding="utf-8")


def test_a_finished_part_is_not_made_again(made: Dataset, place: Path) -> None:
    files = [made.log / "log.parquet", made.checkpoints / "checkpoint-1" / "policy.safetensors"]
    before = [file.stat().st_mtime_ns for file in files]
    stages: list[str] = []

    def watched(stage: str) -> OnStep:
        stages.append(stage)
        return quiet(stage)

    make_dataset(made.recipe, place / "logs", on_stage=watched)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert stages == []


def test_the_same_recipe_gives_the_same_bits(made: Dataset, tmp_path: Path) -> None:
    again = make_dataset(made.recipe, tmp_path, on_stage=quiet)
    assert again.read_log().fingerprint == made.read_log().fingerprint


def test_networks_play_where_sums_are_rounded_alike_and_scripted_players_here(
    made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere: list[str] = []
    monkeypatch.setattr(
        "offline_actrep.dataset.portably",
        lambda work, on_stage: elsewhere.append(work.args[0].folder),
    )
    scripted = made.recipe.model_copy(update={"online": None, "parts": made.recipe.parts[2:]})
    assert make_dataset(scripted, tmp_path, on_stage=quiet).is_made()
    assert elsewhere == []
    unmade = make_dataset(made.recipe, tmp_path / "other", on_stage=quiet)
    assert elsewhere == [unmade.folder] and not unmade.is_made()
    assert scripted.rounding == {} and "MKL_CBWR" in made.recipe.rounding["rounding"]


def test_another_seed_gives_another_log_of_the_same_checkpoints(made: Dataset, place: Path) -> None:
    other = made.recipe.model_copy(update={"seed": 4, "name": "maze-other"})
    stages: list[str] = []

    def watched(stage: str) -> OnStep:
        stages.append(stage)
        return quiet(stage)

    log = make_dataset(other, place / "logs", on_stage=watched).read_log()
    assert log.fingerprint != made.read_log().fingerprint
    assert stages == []


def test_the_parts_play_as_often_as_they_should(made: Dataset) -> None:
    world = made.recipe.world.make(2000)
    behaviour = behaviour_of(made, world)
    assert isinstance(behaviour, Noisy) and behaviour.share == 0.25
    mixture = behaviour.inner
    assert isinstance(mixture, EpisodeMixture)
    assert [type(part) for part in mixture.parts] == [Greedy, Greedy, Expert]
    behaviour.begin(np.ones(2000, bool), np.random.default_rng(0))
    shares = np.bincount(mixture.part, minlength=3) / 2000
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5], atol=0.05)


def test_the_log_is_whole_and_its_propensities_are_those_of_the_mixture(made: Dataset) -> None:
    log = made.read_log()
    assert len(log) >= 300
    assert log.action_probabilities is not None
    allowed = [0.25 / 16, 0.25 / 16 + 0.75]
    np.testing.assert_allclose(np.unique(log.action_probabilities), allowed)


def test_headroom_coverage_and_card(made: Dataset, place: Path) -> None:
    found = measure(made, episodes=8)
    assert found["rows"] == len(made.read_log())
    assert found["headroom"]["best"]["value"] >= found["headroom"]["random"]["value"]
    assert 0 < found["coverage"]["actions_seen"] <= 1
    assert [look["steps"] for look in found["checkpoints"]] == [128, 256]
    assert measure(made, episodes=8) == found
    (place / "maze" / "about.md").write_text("# The maze\n\nWords.\n", encoding="utf-8")
    other = (place / "maze" / "tiny.toml").read_text(encoding="utf-8").replace("-tiny", "-other")
    (place / "maze" / "other.toml").write_text(other, encoding="utf-8")
    before = {"of-another": found, "maze-other": found}
    (place / "headroom.json").write_text(json.dumps(before), encoding="utf-8")
    publish([place / "maze" / "tiny.toml"], [made], [found], place)
    card = (place / "maze" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# The maze\n\nWords.\n\n## `maze-other`\n\nTwo checkpoints and")
    assert card.count("## `") == 2 and "## `maze-tiny`" in card
    assert "checkpoint-1 1, checkpoint-2 1, expert 2; 25% of the actions" in card
    assert found["sha256"] in card
    sample = read_log(
        place / "maze" / "sample.parquet", action_table=place / "maze" / "sample.actions.parquet"
    )
    full = made.read_log()
    assert 100 <= len(sample) < len(full)
    np.testing.assert_array_equal(sample.actions, full.actions[: len(sample)])
    sums = read_json(place / "maze" / "checksums.json")
    assert list(sums) == ["maze-other", "maze-tiny"]
    assert sums["maze-tiny"]["rows"] == len(full)
    assert sums["maze-tiny"]["fingerprint"] == full.fingerprint
    assert "maze-tiny" in (place / "headroom.md").read_text(encoding="utf-8")
    kept = read_json(place / "headroom.json")
    assert {row[0] for row in overview(kept).rows} == {*before, "maze-tiny"}


def test_a_clone_that_comes_too_near_is_called_too_easy(made: Dataset) -> None:
    found = measure(made, episodes=8)
    best = found["headroom"]["best"]
    near = {**found, "headroom": {**found["headroom"], "cloning": best}}
    assert "too easy" in overview({"maze-tiny": near}).rows[0][7]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('policy = "checkpoint-2"', 'policy = "checkpoint-3"', "[online] keeps 2 checkpoints"),
        ('policy = "expert"', 'policy = "exprt"', "unknown policy 'exprt'; there are checkpoint-k"),
        ('learner = "a2c"', 'learner = "dqn"', "unknown online learner 'dqn'"),
        ("n_steps = 8", "n_stps = 8", "a2c has no setting 'n_stps'; near it: n_steps"),
        ("noise = 0.25", "noise = 1.25", "noise: "),
        ("checkpoint_every = 128", "checkpoint_every = 3", "less than one step of all 4 worlds"),
        ("rows = 300", "row = 300", "row: unknown key; near it: rows"),
        ("weight = 2", "weight = 0", "parts.2.weight: "),
    ],
)
def test_a_recipe_that_does_not_hold_together_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(ValueError) as caught:
        read_dataset(write(tmp_path, (old, new)))
    assert said in str(caught.value)
