"""A bench as TOML: what is refused, and what comes of what it says."""

from pathlib import Path

import pytest

from offline_actrep.bench.data import cell_data
from offline_actrep.bench.job import Only
from offline_actrep.bench.plan import (
    BenchRecipe,
    Cell,
    Trial,
    learner_config,
    points_settings,
    read_bench,
    stated,
)
from offline_actrep.bench.running import setups_of, wanted
from offline_actrep.bench.setup import Setup, pipeline
from offline_actrep.bench.tuning import TUNED, UNTUNED, Tuned, trial_setups, trials_hash
from offline_actrep.offline.learner import MASKED, REVISIONS, LearnerConfig

PIPELINES = Path(__file__).parents[2] / "pipelines"
SMALL = (PIPELINES / "bench_small.toml").read_text(encoding="utf-8")
NOTHING_TUNED = Tuned({"worlds": {}})


def read(folder: Path, *changes: tuple[str, str]) -> BenchRecipe:
    text = SMALL.replace('"bench_small"\n\n[budget]', f'"{PIPELINES / "bench_small"}"\n\n[budget]')
    for old, new in changes:
        assert old in text, f"the small bench has no {old!r}"
        text = text.replace(old, new)
    file = folder / "bench.toml"
    file.write_text(text, encoding="utf-8")
    return read_bench(file)


@pytest.mark.parametrize("file", sorted(PIPELINES.glob("bench*.toml")), ids=lambda f: f.stem)
def test_the_benches_of_the_repository_can_be_planned(file: Path) -> None:
    bench = read_bench(file)
    setups = wanted(bench, NOTHING_TUNED)
    expected = sum(len(bench.methods_in(cell)) for cell in bench.cells()) * len(bench.seeds)
    assert len(setups) == expected > 0
    by_method = {(name, cell): each.hash for (name, cell, _), each in setups.items()}
    assert len(set(by_method.values())) == len(by_method), "two methods of a log are the same"


def test_the_bench_has_what_the_comparison_needs() -> None:
    bench = read_bench(PIPELINES / "bench.toml")
    tiers = {(cell.world, cell.tier) for cell in bench.cells()}
    for world in ("maze", "multi_step_maze", "recommender", "dialogue"):
        assert {(world, "medium"), (world, "mixed")} <= tiers
        on_mixed = {each.name for each in bench.methods_in(Cell(world, "mixed"))}
        on_medium = {each.name for each in bench.methods_in(Cell(world, "medium"))}
        assert set(bench.figures.headline) <= on_mixed < on_medium
    assert len(bench.seeds) == 5 and bench.tuning is not None and len(bench.tuning.seeds) == 2
    assert {points.method for points in bench.representations} >= {
        "merlion", "random_table", "random_spread", "transition", "reconstruction", "cvae",
        "external",
    }  # fmt: skip
    masked = [each.name for each in bench.methods if each.learner in MASKED]
    for cell in bench.cells():
        there = {each.name for each in bench.methods_in(cell)} & set(masked)
        assert bool(there) == (bench.world(cell.world).changing_actions is not None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('learner = "discrete_bc"', 'learner = "discrete_bd"', "unknown learner"),
        ('headline = ["MERLION-CQL", "BC"]', 'headline = ["BD"]', "names the method 'BD'"),
        ('representation = "merlion"\n', "", "cql needs a representation"),
        ('than = ["BC", "behaviour"]', 'than = ["BE"]', "names the method 'BE'"),
        ('tier = "medium"\n\n[[claims]]', 'tier = "most"\n\n[[claims]]', "names the tier 'most'"),
        ('name = "BC"', 'name = "BC"\ntiers = ["most"]', "'BC' names the tier 'most'"),
        ("seeds = [101, 102]", "seeds = [2, 102]", "seed 2 is used for tuning and for the bench"),
        ("trials = 2\n", "trials = 3\n", "every method has 3, so that none is tuned more"),
        ("[{}, { learner = { critic_learning_rate = 0.01 } }]", "[{}]", "'BC' has 1 trials"),
        (
            "[{}, { learner = { critic_learning_rate = 0.01 } }]",
            "[{}, { points = { dim = 3 } }]",
            "'BC' has no points that a trial could change",
        ),
        ("[{}, { points = { penalty = 0.1 } }]", "[{}, { points = { penalti = 1 } }]", "penalty"),
        ("steps = 40, ", "stops = 40, ", "has no setting 'stops'"),
        ("falls_less = true", "", "either a tier or falls_less"),
        ('tiers = ["medium"]', 'tiers = ["medium", "medium"]', "maze-medium is there twice"),
        ("gamma = 0.97", "gama = 0.97", "unknown key; near it: gamma"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(tmp_path, (old, new))


def test_a_trial_may_be_taken_over_but_not_from_one_that_takes_over(tmp_path: Path) -> None:
    trials = "trials = [{}, { learner = { critic_learning_rate = 0.01 } }]"
    taken = read(tmp_path, (trials, 'trials_of = "MERLION-CQL"'))
    assert taken.method("BC").trials == ()
    with pytest.raises(ValueError, match="must have some"):
        read(tmp_path, (trials, 'trials_of = "BC"'))


def test_settings_come_from_the_budget_the_world_and_the_method(tmp_path: Path) -> None:
    bench = read(
        tmp_path,
        ('[[methods]]\nname = "BC"', '[[methods]]\nname = "BC"\nof_world.maze = { beta = 0.5 }'),
        ('method = "merlion"', 'method = "merlion"\nof_world.maze = { hidden = 9 }'),
    )
    world = bench.world("maze")
    points = points_settings(bench, bench.points("merlion"), world)
    assert points["dim"] == 2 and points["steps"] == 30 and points["embedding"] == 4
    assert points["hidden"] == 9, "the world's word is the last"
    _, config = learner_config(
        bench, bench.method("BC"), Cell("maze", "medium"), Trial(learner={"steps": 7})
    )
    assert (config.steps, config.beta, config.hidden) == (7, 0.5, (8,))
    assert config.gamma == 0.97
    assert stated(LearnerConfig(steps=7)) == {"steps": 7}


def steps_of(bench: BenchRecipe, cell: Cell) -> int:
    """The same for every method."""
    (steps,) = {learner_config(bench, each, cell, Trial())[1].steps for each in bench.methods}
    return steps


def test_a_world_may_have_another_budget_of_steps(tmp_path: Path) -> None:
    longer = ("dim = 2", "dim = 2\nlearner = { steps = 90 }")
    bench, plain = read(tmp_path, longer), read(tmp_path)
    for each, steps in ((bench, 90), (plain, 40)):
        assert {steps_of(each, cell) for cell in each.cells()} == {steps}
    with pytest.raises(ValueError, match="stepps"):
        read(tmp_path, ("dim = 2", "dim = 2\nlearner = { stepps = 90 }"))


def test_a_sweep_may_have_another_budget_but_not_with_rows_from_outside(tmp_path: Path) -> None:
    own = 'learner = { steps = 70 }\nsetting = "actuators"'
    bench = read(tmp_path, ("plain = 4\n", ""), ('setting = "actuators"', own))
    assert {cell.name: steps_of(bench, cell) for cell in bench.cells()} == {
        "maze-medium": 40,
        "maze-medium@actuators=3": 70,
        "maze-medium@actuators=4": 70,
    }
    with pytest.raises(ValueError, match="'actuators' has a budget of its own, and rows from"):
        read(tmp_path, ('setting = "actuators"', own))
    with pytest.raises(ValueError, match="stepps"):
        read(
            tmp_path, ("plain = 4\n", ""), ('setting = "actuators"', own.replace("steps", "stepps"))
        )


def test_the_world_gives_dim_unless_points_bring_their_own(tmp_path: Path) -> None:
    external = '[[representations]]\nname = "ext"\nmethod = "external"\nown_dim = true\n\n'
    bench = read(tmp_path, ('[[methods]]\nname = "BC"', f'{external}[[methods]]\nname = "BC"'))
    assert "dim" not in points_settings(bench, bench.points("ext"), bench.world("maze"))


def test_the_hash_follows_what_matters(tmp_path: Path) -> None:
    def setups(*changes: tuple[str, str]) -> dict[str, Setup]:
        bench, cell = read(tmp_path, *changes), Cell("maze", "medium")
        return setups_of(bench, NOTHING_TUNED, cell, cell_data(bench, cell))

    def hashes(*changes: tuple[str, str]) -> dict[str, str]:
        return {name: each.hash for name, each in setups(*changes).items()}

    def of_fqe(*changes: tuple[str, str]) -> dict[str, str | None]:
        return {name: each.fqe_hash for name, each in setups(*changes).items()}

    plain = hashes()
    assert plain == hashes(("title = ", "# title = ")), "a title changes nothing"
    assert plain == hashes(("seeds = [1, 2]", "seeds = [1, 2, 3]")), "nor does another seed"
    other = hashes(("embedding = 4", "embedding = 3"))
    assert other["BC"] == plain["BC"] and other["MERLION-CQL"] != plain["MERLION-CQL"]
    on_points = ("datasets =", 'estimated_on = "merlion"\ndatasets =')
    for change in (on_points, ("[estimate]", "[estimate]\ntarget_update_interval = 7")):
        assert plain == hashes(change), "what is earned does not hang on FQE"
        assert of_fqe(change)["BC"] != of_fqe()["BC"]
    assert of_fqe(on_points)["MERLION-CQL"] == of_fqe()["MERLION-CQL"], "it has its own points"
    for change in (("episodes = 4", "episodes = 5"), ("gamma = 0.97", "gamma = 0.9")):
        assert not set(hashes(change).values()) & set(plain.values())


def test_a_learner_made_anew_has_another_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, cell = read(tmp_path), Cell("maze", "medium")

    def hashes() -> dict[str, tuple[str, str]]:
        found = setups_of(bench, NOTHING_TUNED, cell, cell_data(bench, cell))
        return {name: (each.hash, each.trial_hash) for name, each in found.items()}

    plain = hashes()
    monkeypatch.setitem(REVISIONS, "cql", 7)
    other = hashes()
    assert other["BC"] == plain["BC"]
    assert not set(other["MERLION-CQL"]) & set(plain["MERLION-CQL"])


def test_a_sweep_has_the_plain_log_where_the_world_is_as_it_is(tmp_path: Path) -> None:
    bench = read(tmp_path)
    assert [cell.name for cell in bench.cells()] == ["maze-medium", "maze-medium@actuators=3"]
    assert bench.sweeps[0].cells() == [
        Cell("maze", "medium", "actuators=3"),
        Cell("maze", "medium"),
    ]
    swept = cell_data(bench, Cell("maze", "medium", "actuators=3"))
    assert swept.changed and swept.world.settings == {"actuators": 3}


def test_a_sweep_is_tuned_at_each_value_or_as_the_world_is(tmp_path: Path) -> None:
    plain = Cell("maze", "medium")
    for tier in ("medium", "sparse"):
        swept = Cell("maze", tier, "actuators=3")
        for word, cell in (("each", swept), ("world", plain)):
            sweep = f'tier = "{tier}"\ntuned = "{word}"\nsetting ='
            bench = read(tmp_path, ('tier = "medium"\nsetting =', sweep), ("plain = 4\n", ""))
            assert bench.tuning is not None and swept in bench.cells()
            assert bench.tried_on(bench.tuning, swept) == cell
            assert bench.tried_on(bench.tuning, plain) == plain
            Only(tiers=[tier]).check(bench)


LONG = """
[[worlds]]
name = "maze_long"
dataset = "maze"
tiers = ["medium"]
gamma = 0.97
dim = 2
trials_of = "maze"
learner = { steps = 80 }

[[representations]]"""


def test_a_world_may_take_the_trials_of_another_that_has_some(tmp_path: Path) -> None:
    bench = read(tmp_path, ("[[representations]]", LONG))
    plain, long = Cell("maze", "medium"), Cell("maze_long", "medium")
    assert bench.tuning is not None
    assert bench.tried_on(bench.tuning, long) == plain
    each = bench.method("BC")
    setups = trial_setups(bench, bench.tuning, plain, each)
    entry = {"BC": {"chosen": 1, "hash": trials_hash(bench.tuning, setups)}}
    chosen, tuning = Tuned({"worlds": {"maze": entry}}).trial(bench, long, each)
    assert (chosen, tuning) == (each.trials[1], TUNED)
    assert learner_config(bench, each, long, chosen)[1].steps == 80
    for old, new, said in (
        ('trials_of = "maze"', 'trials_of = "mace"', "world 'maze_long' names the world 'mace'"),
        ('trials_of = "maze"', 'trials_of = "maze_long"', "which has none of its own"),
    ):
        with pytest.raises(ValueError, match=said):
            read(tmp_path, ("[[representations]]", LONG.replace(old, new)))


def test_a_method_may_be_asked_for_in_some_worlds_only(tmp_path: Path) -> None:
    bench = read(tmp_path, ('name = "BC"', 'name = "BC"\nworlds = []'))
    assert [each.name for each in bench.methods_in(Cell("maze", "medium"))] == ["MERLION-CQL"]


def test_a_method_may_be_asked_for_on_some_tiers_only_but_a_sweep_names_its_own(
    tmp_path: Path,
) -> None:
    two = ('tiers = ["medium"]', 'tiers = ["medium", "mixed"]')
    bench = read(tmp_path, two, ('name = "BC"', 'name = "BC"\ntiers = ["mixed"]'))
    named = {cell.name: [each.name for each in bench.methods_in(cell)] for cell in bench.cells()}
    assert named == {
        "maze-medium": ["MERLION-CQL"],
        "maze-mixed": ["MERLION-CQL", "BC"],
        "maze-medium@actuators=3": ["MERLION-CQL", "BC"],
    }


def test_trials_of_a_sweep_on_another_tier_choose_for_it_alone(tmp_path: Path) -> None:
    tier = ('tier = "medium"\nsetting =', 'tier = "sparse"\nsetting =')
    logs = (str(PIPELINES / "bench_small"), str(PIPELINES.parent / "datasets"))
    bench = read(tmp_path, logs, tier, ("plain = 4\n", ""))
    cell = Cell("maze", "sparse", "actuators=3")
    assert bench.tuning is not None
    each = bench.method("BC")
    setups = trial_setups(bench, bench.tuning, cell, each)
    entry = {"BC": {"chosen": 1, "hash": trials_hash(bench.tuning, setups)}}
    for place, said in (("maze-sparse@actuators=3", TUNED), ("maze@actuators=3", UNTUNED)):
        chosen, tuning = Tuned({"worlds": {place: entry}}).trial(bench, cell, each)
        assert tuning == said and chosen == (each.trials[1] if said == TUNED else Trial())


def test_trials_that_are_no_longer_listed_choose_nothing(tmp_path: Path) -> None:
    bench = read(tmp_path)
    stale = Tuned({"worlds": {"maze": {"BC": {"chosen": 1, "hash": "of other trials"}}}})
    assert stale.trial(bench, Cell("maze", "medium"), bench.method("BC")) == (Trial(), UNTUNED)


@pytest.mark.parametrize(("estimating", "expected"), [(True, ["merlion"]), (False, [])])
def test_points_that_only_the_estimate_sees_are_made_for_it_alone(
    estimating: bool, expected: list[str], tmp_path: Path
) -> None:
    bench = read(tmp_path, ("[budget]", 'estimated_on = "merlion"\n\n[budget]'))
    cell = Cell("maze", "medium")
    data = cell_data(bench, cell)
    setups = [setups_of(bench, NOTHING_TUNED, cell, data)["BC"]]
    recipe = pipeline(bench, data, cell, tmp_path, setups, [1], estimating=estimating)
    assert [points.name for points in recipe.representations] == expected
    assert recipe.estimated_on == ("merlion" if estimating else None)


def test_a_part_is_asked_for_by_names_that_exist(tmp_path: Path) -> None:
    bench = read(tmp_path)
    only = Only(worlds=["maze"], methods=["BC"], seeds=[1], sweeps=False)
    only.check(bench)
    plain, swept = bench.cells()
    assert only.has_row(("BC", plain, 1))
    assert not only.has_row(("BC", swept, 1))
    assert not only.has_row(("BC", plain, 2))
    assert not only.has_row(("MERLION-CQL", plain, 1))
    assert Only(sweeps=True).has(swept) and not Only(sweeps=True).has(plain)
    with pytest.raises(ValueError, match="no method 'BD'; there are MERLION-CQL, BC"):
        Only(methods=["BD"]).check(bench)
    with pytest.raises(ValueError, match="no seed 7; there are 1, 2"):
        Only(seeds=[7]).check(bench)
