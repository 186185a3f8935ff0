"""A recipe is checked whole before anything runs; what is wrong is said with its place."""

from pathlib import Path

import pytest
from tiny import write_recipe

from offline_actrep.recipe import Recipe, read_recipe

EVERY = sorted((Path(__file__).parent.parent / "pipelines").glob("*.toml"))
PIPELINES = [file for file in EVERY if not file.stem.startswith("bench")]  # see tests/bench
COLLECT = '[log.collect]\nbehaviour = "uniform"\nrows = 400\nworlds = 8\n'


def refused(tmp_path: Path, *changes: tuple[str, str]) -> str:
    file = write_recipe(tmp_path, *changes)
    with pytest.raises(ValueError) as caught:
        read_recipe(file)
    message = str(caught.value)
    assert str(file) in message
    return message


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.stem)
def test_every_pipeline_of_the_project_is_a_recipe(file: Path) -> None:
    recipe = read_recipe(file)
    assert recipe.name == file.stem
    assert recipe.policies


def test_there_are_pipelines() -> None:
    assert len(PIPELINES) >= 3


def test_what_a_recipe_says_is_what_is_read(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    assert recipe.seeds == (0, 1)
    assert recipe.gamma == 0.97
    assert recipe.world is not None
    assert len(recipe.world.make(3).action_set) == 2**5
    assert recipe.log.collect is not None and recipe.log.collect.rows == 400
    config = recipe.learners[0].config(recipe.gamma)
    assert (config.steps, config.hidden, config.gamma) == (20, (8,), 0.97)
    assert recipe.estimate is not None and recipe.estimate.refits == 2


def test_a_learner_may_name_its_own_discount(tmp_path: Path) -> None:
    file = write_recipe(tmp_path, ("hidden = [8] }", "hidden = [8], gamma = 0.5 }"))
    recipe = read_recipe(file)
    assert recipe.learners[0].config(recipe.gamma).gamma == 0.5


def test_without_a_table_fqe_runs_with_its_defaults(tmp_path: Path) -> None:
    file = write_recipe(tmp_path, ("[estimate]\nsteps = 20\nrefits = 2\nrows = 200\n", ""))
    recipe = read_recipe(file)
    assert recipe.estimate is not None and recipe.estimate.steps > 20


@pytest.mark.parametrize(
    ("old", "new", "place", "near"),
    [
        ("seeds = ", "seed = ", "  seed: unknown key", "seeds"),
        ("rows = 400", "rows = 400\nrow = 3", "  log.collect.row: unknown key", "rows"),
        ("settings = { actuators = 5 }", "preset_ = 5", "  world.preset_: unknown key", "preset"),
        ("curve_points = 2", "curve_point = 2", "  evaluate.curve_point: ", "curve_points"),
        ("refits = 2", "refit = 2", "  estimate.refit: unknown key", "refits"),
        ('title = "', 'titel = "', "  titel: unknown key", "title"),
        (
            'method = "cql"\nrepresentation',
            'method = "cql"\nrepresentatoin = "a"\nrepresentation',
            "  learners.0.representatoin: unknown key",
            "representation",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_its_place_and_the_near_ones(
    tmp_path: Path, old: str, new: str, place: str, near: str
) -> None:
    message = refused(tmp_path, (old, new))
    line = next(line for line in message.splitlines() if line.startswith(place))
    assert near in line.split("near it: ")[1].split(", ")


def test_an_unknown_column_is_refused_with_the_near_one(tmp_path: Path) -> None:
    log = '[log]\npath = "log.parquet"\n\n[log.columns]\nacton = "item"\n'
    message = refused(tmp_path, (COLLECT, log))
    assert "  log.columns.acton: unknown key; near it: " in message
    assert "action" in message


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, ("rows = 400", "rows = 0"), ("episodes = 4", "episodes = 1"))
    assert "log.collect.rows: " in message
    assert "evaluate.episodes: " in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "on ids"', 'name = "on points"', "two learners are called 'on points'"),
        (
            "[[learners]]\nname = \"on points\"",
            '[[representations]]\nname = "merlion"\nmethod = "random_table"\n\n'
            '[[learners]]\nname = "on points"',
            "two representations are called 'merlion'",
        ),
        ('representation = "merlion"\n', "", "learner 'on points': cql needs representation"),
        (
            'method = "discrete_bc"\n',
            'method = "discrete_bc"\nrepresentation = "merlion"\n',
            "learner 'on ids': discrete_bc takes no representation",
        ),
        (
            'representation = "merlion"\n',
            'representation = "marlin"\n',
            "asks for representation 'marlin'; there are ['merlion']",
        ),
        ('name = "maze"', 'name = "haze"', "unknown world 'haze'; there are "),
        ('"uniform"', '"uniforn"', "unknown behaviour 'uniforn'; there are "),
        ('method = "merlion"', 'method = "marlin"', "unknown representation 'marlin'"),
        ('method = "cql"', 'method = "sql"', "unknown learner 'sql'; there are cql"),
        (
            "steps = 20, behaviour_steps",
            "step = 20, behaviour_steps",
            "merlion has no setting 'step'; near it: steps",
        ),
        (
            "{ steps = 20, hidden = [8] }",
            "{ steps = 20, hiden = [8] }",
            "cql has no setting 'hiden'; near it: hidden",
        ),
        ("{ steps = 20, hidden = [8] }", '{ steps = "many" }', "  learners.0: cql, steps: should"),
        ("hidden = 8 }", 'hidden = "wide" }', "  representations.0: merlion, hidden: should be"),
        ('seeds = [0, 1]', 'estimated = ["none"]', "estimated names 'none'; there are learners"),
        ("seeds = [0, 1]", "seeds = []", "seeds: "),
        ("seeds = [0, 1]", "gamma = 1.0", "gamma: "),
        ('[world]\nname = "maze"\nsettings = { actuators = 5 }\n', "", "add a [world] table"),
        ("actuators = 5", "actuator = 5", "unknown setting of the world 'maze': 'actuator'; there"),
        (COLLECT, "[log]\n", "[log] needs exactly one of path, collect, complete_journey; there"),
        (
            COLLECT,
            '[log]\npath = "a.parquet"\n\n' + COLLECT,
            "[log] needs exactly one of path, collect, complete_journey; there are path and coll",
        ),
        (COLLECT, "", "log: "),
    ],
)  # fmt: skip
def test_what_does_not_hold_together_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert said in refused(tmp_path, (old, new))


def test_paths_are_relative_to_the_recipes_folder(tmp_path: Path) -> None:
    log = '[log]\npath = "data/*.parquet"\naction_table = "../actions.parquet"\n'
    recipe = read_recipe(write_recipe(tmp_path / "pipelines", (COLLECT, log)))
    assert recipe.log.path == str(tmp_path / "pipelines" / "data/*.parquet")
    assert recipe.log.action_table is not None
    assert Path(recipe.log.action_table).resolve() == tmp_path / "actions.parquet"


def test_absolute_paths_and_lists_of_paths_work_too(tmp_path: Path) -> None:
    log = '[log]\npath = ["a.parquet", "/there/b.parquet"]\n'
    recipe = read_recipe(write_recipe(tmp_path, (COLLECT, log)))
    assert recipe.log.path == [str(tmp_path / "a.parquet"), "/there/b.parquet"]


def test_the_folder_of_an_import_is_relative_too(tmp_path: Path) -> None:
    recipe = read_recipe(
        write_recipe(tmp_path, (COLLECT, '[log.complete_journey]\nfolder = "data"\n'))
    )
    assert recipe.log.complete_journey is not None
    assert recipe.log.complete_journey.folder == str(tmp_path / "data")


def test_a_path_that_is_no_path_is_refused_with_its_place(tmp_path: Path) -> None:
    assert "log.path" in refused(tmp_path, (COLLECT, "[log]\npath = 3\n"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a TOML file, got .*nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")


def test_broken_toml_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text('name = "a"\nseeds = = 0\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken\.toml is not TOML: .*line 2"):
        read_recipe(file)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes('title = "Größe"'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.toml"):
        read_recipe(file)


def test_a_recipe_cannot_be_changed(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    assert isinstance(recipe, Recipe)
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "other"


ONLINE = """
[[online]]
name = "in the world"
method = "ppo"
representation = "merlion"
steps = 64
"""


def test_a_learner_in_the_world_takes_the_recipes_discount_and_its_own_settings() -> None:
    content = {
        "name": "n",
        "gamma": 0.9,
        "log": {"collect": {"behaviour": "uniform", "rows": 10}},
        "world": {"name": "maze"},
        "online": [{"name": "o", "method": "discrete_ppo", "steps": 5, "settings": {"n_steps": 7}}],
    }
    recipe = Recipe.model_validate(content)
    (learner,) = recipe.policies
    config = learner.config(recipe.gamma)
    assert (config.gamma, getattr(config, "n_steps", None)) == (0.9, 7)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('method = "ppo"', 'method = "discrete_ppo"', "discrete_ppo takes no representation"),
        ('representation = "merlion"\nsteps', "steps", "ppo needs representation"),
        ('method = "ppo"', 'method = "pbo"', "unknown online learner 'pbo'"),
        ('"merlion"\nsteps', '"other"\nsteps', "asks for representation 'other'"),
        ('name = "in the world"', 'name = "on ids"', "two learners are called 'on ids'"),
        ("steps = 64", "steps = 0", "online.0.steps"),
    ],
)
def test_a_learner_in_the_world_is_checked_as_the_others(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    base = write_recipe(tmp_path / "base").read_text(encoding="utf-8")
    assert old in ONLINE
    file = write_recipe(tmp_path, text=base + ONLINE.replace(old, new))
    with pytest.raises(ValueError, match=said):
        read_recipe(file)


def test_learning_in_the_world_needs_one(tmp_path: Path) -> None:
    content = {
        "name": "n",
        "log": {"path": "log.parquet"},
        "online": [{"name": "o", "method": "discrete_ppo", "steps": 5}],
    }
    with pytest.raises(ValueError, match=r"add a \[world\] table"):
        Recipe.model_validate(content)


VALUES = """
[values]
learner = "in the world"
"""


def test_values_are_judged_by_a_learner_in_the_world(tmp_path: Path) -> None:
    base = write_recipe(tmp_path / "base").read_text(encoding="utf-8")
    recipe = read_recipe(write_recipe(tmp_path, text=base + ONLINE + VALUES))
    assert recipe.values is not None
    assert (recipe.values.learner, recipe.values.decisions) == ("in the world", (0, 10))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('learner = "in the world"', 'learner = "on ids"', r"there are \['in the world'\] whose"),
        ('method = "ppo"', 'method = "sac"', r"of \[\[online\]\] there are \[\] whose critic"),
        ("[values]", '[values]\nrepresentations = ["other"]', r"representations \['other'\]"),
        ("[values]", "[values]\nrepresentations = []", "values.representations"),
        ("[values]", "[values]\ndecisions = []", "values.decisions"),
        ("[values]", "[values]\ndecisions = [-1]", "values.decisions"),
        ("[values]", "[values]\noutcomes = 0", "values.outcomes"),
    ],
)
def test_values_that_cannot_be_drawn_are_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    base = write_recipe(tmp_path / "base").read_text(encoding="utf-8")
    asked = ONLINE + VALUES
    assert old in asked
    file = write_recipe(tmp_path, text=base + asked.replace(old, new))
    with pytest.raises(ValueError, match=said):
        read_recipe(file)


def test_a_recipe_without_any_learner_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[\[learners\]\] or \[\[online\]\]"):
        Recipe.model_validate({"name": "n", "log": {"path": "log.parquet"}})
