"""MERLION: its distance by the axioms and by hand, its gradients, and what it learns."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.gaussian import w2
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.merlion import (
    FREE_ACTIONS,
    FreeVectorsWarning,
    Merlion,
    MerlionConfig,
    fit,
    known_of,
    l1,
    loss,
    pseudometric,
    restore,
)
from offline_actrep.representations.outcomes import FEW_ACTIONS, Outcomes, outcomes

# An action's outcome: its reward, and means and deviations of the next state's two coordinates.
number = st.floats(-3, 3, width=32)
outcome = st.tuples(number, number, number, st.floats(0, 2, width=32), st.floats(0, 2, width=32))
ROUNDING = 1e-4


def distance(
    left: tuple[float, ...],
    right: tuple[float, ...],
    *,
    unsupported: bool = False,
    gamma: float = 0.9,
    penalty: float = 0.0,
) -> float:
    """d of two outcomes."""
    i, j = torch.tensor([left]), torch.tensor([right])
    found = pseudometric(
        reward_i=i[:, 0],
        reward_j=j[:, 0],
        transition_distance=w2(i[:, 1:3], i[:, 3:], j[:, 1:3], j[:, 3:]),
        unsupported=torch.tensor([unsupported]),
        gamma=gamma,
        penalty=penalty,
    )
    return float(found[0])


@given(outcome)
@settings(deadline=None)
def test_equal_outcomes_have_no_distance(one: tuple[float, ...]) -> None:
    assert distance(one, one, penalty=0.5) == pytest.approx(0.0, abs=ROUNDING)


@given(outcome, outcome, st.booleans())
@settings(deadline=None)
def test_the_distance_is_symmetric(
    one: tuple[float, ...], two: tuple[float, ...], unsupported: bool
) -> None:
    there = distance(one, two, unsupported=unsupported, penalty=0.5)
    back = distance(two, one, unsupported=unsupported, penalty=0.5)
    assert there == pytest.approx(back, abs=ROUNDING)
    assert there >= 0.5 * unsupported


@given(outcome, outcome, outcome)
@settings(max_examples=200, deadline=None)
def test_without_a_penalty_the_triangle_inequality_holds(
    one: tuple[float, ...], two: tuple[float, ...], three: tuple[float, ...]
) -> None:
    detour = distance(one, two) + distance(two, three)
    assert distance(one, three) <= detour + ROUNDING


@pytest.mark.parametrize(("unsupported", "wanted"), [(False, 5.25), (True, 5.5)])
def test_the_distance_by_hand(unsupported: bool, wanted: float) -> None:
    """|0.5 - (-0.25)| + 0.9 sqrt(3^2 + 4^2 + 0) = 0.75 + 4.5, and the penalty."""
    left, right = (0.5, 3.0, 0.0, 1.0, 1.0), (-0.25, 0.0, 4.0, 1.0, 1.0)
    found = distance(left, right, unsupported=unsupported, gamma=0.9, penalty=0.25)
    assert found == pytest.approx(wanted)


def test_deviations_count_as_much_as_means() -> None:
    left, right = (0.0, 0.0, 0.0, 0.0, 4.0), (0.0, 3.0, 0.0, 0.0, 0.0)
    assert distance(left, right, gamma=1.0) == pytest.approx(5.0)


MOVES = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
"""Actions 0 and 1 are the same; 2 is their opposite."""
SMALL = MerlionConfig(
    hidden=16, embedding=4, steps=200, behaviour_steps=20, batch_size=64, penalty=0.0
)


@pytest.fixture
def moves_log(hand_log: Callable[..., Log]) -> Log:
    """400 single moves from random places."""
    draws = np.random.default_rng(0)
    places, actions = draws.random((400, 2)), draws.integers(4, size=400)
    return hand_log(places, actions, places + 0.2 * MOVES[actions], n_actions=4)


def unfitted(log: Log, config: MerlionConfig) -> tuple[Merlion, Outcomes]:
    """A model as it is before the first step, and its data."""
    features = ObservationFeatures.of(log.observations, FeatureConfig())
    with seeded(0):
        model = Merlion(log.action_set, features, log.observation_size, config)
    return model, outcomes(log, features)


def parts_of_loss(model: Merlion, data: Outcomes) -> dict[str, torch.Tensor]:
    rows = torch.arange(32)
    return loss(model, data, rows, (rows * 3) % 4, rows % 2 == 0)


def length(module: torch.nn.Module) -> float:
    """Sum of the magnitudes of a module's gradients."""
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("transition", ["mean", "gaussian"])
def test_the_wanted_distance_sends_no_gradient(moves_log: Log, transition: str) -> None:
    model, data = unfitted(moves_log, MerlionConfig(hidden=8, transition=transition))  # type: ignore[arg-type]
    parts_of_loss(model, data)["distance"].backward()
    assert length(model.encoder) > 0
    assert length(model.transition) == length(model.reward) == length(model.behaviour) == 0


def test_the_encoder_feels_the_distance_as_if_the_wanted_one_were_constant(
    moves_log: Log,
) -> None:
    model, data = unfitted(moves_log, MerlionConfig(hidden=8))
    rows = torch.arange(32)
    others, lacking = (rows * 3) % 4, rows % 2 == 0
    loss(model, data, rows, others, lacking)["distance"].backward()
    felt = [p.grad.clone() for p in model.encoder.parameters() if p.grad is not None]
    model.zero_grad()
    features = data.features[rows]
    point_i = model.encoder(features, data.actions[rows])
    point_j = model.encoder(features, others)
    with torch.no_grad():
        mean_i, _ = model.transition(features, point_i)
        mean_j, _ = model.transition(features, point_j)
        constant = (
            (data.rewards[rows] - model.reward(features, point_j)).abs()
            + 0.99 * (mean_i - mean_j).norm(dim=1)
            + 0.01 * lacking
        )
    ((l1(point_i, point_j) - constant) ** 2).mean().backward()
    for expected, got in zip(model.encoder.parameters(), felt, strict=True):
        assert_close(got, expected.grad, atol=1e-6, rtol=1e-4)


def test_the_models_of_outcomes_train_the_encoder(moves_log: Log) -> None:
    for part in ("transition", "reward"):
        model, data = unfitted(moves_log, MerlionConfig(hidden=8))
        parts_of_loss(model, data)[part].backward()
        assert length(model.encoder) > 0
        assert length(getattr(model, part)) > 0


def test_rows_without_a_next_state_do_not_teach_transitions(hand_log: Callable[..., Log]) -> None:
    draws = np.random.default_rng(0)
    places, known = draws.random((64, 2)), np.arange(64) >= 32
    following = np.where(known[:, None], places + draws.random((64, 2)), places)
    log = hand_log(places, np.arange(64) % 4, following, n_actions=4, has_next=known)
    model, data = unfitted(log, MerlionConfig(hidden=8))
    parts = parts_of_loss(model, data)
    assert float(parts["transition"].detach()) == 0.0
    parts["transition"].backward()
    assert length(model.transition) == 0


def apart(model: Merlion, log: Log, left: int, right: int) -> float:
    """Mean distance of two actions' points over logged states."""
    states = torch.from_numpy(log.observations[:50])
    table = model.table(states)
    return float(l1(table[:, left], table[:, right]).mean())


@pytest.mark.parametrize(
    ("transition", "encoder"), [("mean", "mlp"), ("gaussian", "mlp"), ("mean", "bilinear")]
)
def test_twins_come_together_and_opposites_part(
    moves_log: Log, transition: str, encoder: str
) -> None:
    config = replace(SMALL, transition=transition, encoder=encoder)
    model = fit(moves_log, config=config, features=FeatureConfig(), seed=0)
    states = torch.from_numpy(moves_log.observations[:50])
    same = torch.zeros(50, dtype=torch.int64)
    twins, opposites = (model.target_distance(states, same, same + k)[0].mean() for k in (1, 2))
    assert twins < 0.3 * opposites
    assert apart(model, moves_log, 0, 1) < 0.3 * apart(model, moves_log, 0, 2)


def test_rewards_alone_part_actions(hand_log: Callable[..., Log]) -> None:
    draws = np.random.default_rng(0)
    places, actions = draws.random((400, 2)), draws.integers(3, size=400)
    pay = np.array([-5.0, -5.0, 5.0])[actions]
    following = places + draws.normal(0, 0.1, places.shape)
    log = hand_log(places, actions, following, n_actions=3, rewards=pay)
    model = fit(log, config=SMALL, features=FeatureConfig(), seed=0)
    assert model.reward_scale == 5.0
    assert apart(model, log, 0, 1) < 0.3 * apart(model, log, 0, 2)


def test_only_a_gaussian_sees_that_an_action_is_noisy(hand_log: Callable[..., Log]) -> None:
    """Actions 0 and 1 stay nearly where they are, 2 spreads widely around the same mean."""
    draws = np.random.default_rng(0)
    places, actions = draws.random((600, 2)), draws.integers(3, size=600)
    spread = np.array([0.01, 0.01, 0.3])[actions]
    following = places + spread[:, None] * draws.normal(size=places.shape)
    log = hand_log(places, actions, following, n_actions=3)
    gap = {}
    for transition in ("mean", "gaussian"):
        config = replace(SMALL, transition=transition, steps=300)
        model = fit(log, config=config, features=FeatureConfig(), seed=0)
        states = torch.from_numpy(log.observations[:50])
        same = torch.zeros(50, dtype=torch.int64)
        pairs = [model.target_distance(states, same, same + k)[1].mean() for k in (1, 2)]
        gap[transition] = float(pairs[1] - pairs[0])
    assert gap["gaussian"] > 0.5
    assert gap["mean"] < 0.5 * gap["gaussian"]


def test_the_penalty_parts_what_the_log_lacks(hand_log: Callable[..., Log]) -> None:
    """Action 3 is never logged, and nothing else tells actions apart."""
    draws = np.random.default_rng(0)
    places, actions = draws.random((300, 2)), draws.integers(3, size=300)
    log = hand_log(places, actions, places, n_actions=4)
    config = replace(SMALL, penalty=1.0)
    model = fit(log, config=config, features=FeatureConfig(), seed=0)
    states = torch.from_numpy(log.observations[:50])
    lacking = model.unsupported(states)
    assert lacking[:, 3].all() and not lacking[:, :3].any()
    assert apart(model, log, 0, 3) > 3 * apart(model, log, 0, 1)


def test_a_log_without_a_next_state_is_refused(hand_log: Callable[..., Log]) -> None:
    places = np.random.default_rng(0).random((10, 2))
    log = hand_log(places, np.arange(10) % 4, places, n_actions=4, has_next=np.zeros(10, bool))
    with pytest.raises(ValueError, match="no row of the log has a next observation"):
        fit(log, config=SMALL, features=FeatureConfig(), seed=0)


# --- the search of the nearest action

MANY = 600
"""Actions, of which the log holds 400."""
ENCODERS = [
    {"encoder": "mlp"},
    {"encoder": "mlp", "depth": 2},
    {"encoder": "bilinear", "rank": 7},
]


@pytest.fixture(scope="module", params=ENCODERS, ids=["mlp", "deep", "bilinear"])
def many(request: pytest.FixtureRequest) -> tuple[Log, Merlion]:
    """A log with hundreds of actions, and what was fitted to it."""
    draws = np.random.default_rng(0)
    places, actions = draws.random((400, 2)), draws.integers(MANY, size=400)
    angles = 2 * np.pi * actions / MANY
    following = places + np.stack([np.cos(angles), np.sin(angles)], axis=1)
    log = Log(
        action_set=ActionSet.dense(MANY),
        observations=places.astype(np.float32),
        actions=actions,
        rewards=np.zeros(400, np.float32),
        terminated=np.zeros(400, bool),
        truncated=np.ones(400, bool),
        next_observations=following.astype(np.float32),
        has_next=np.ones(400, bool),
        episode_offsets=np.arange(401),
        episode_ids=np.arange(400),
    )
    config = replace(SMALL, steps=60, **request.param)
    return log, fit(log, config=config, features=FeatureConfig(), seed=0)


def asked(log: Log) -> tuple[torch.Tensor, torch.Tensor]:
    """States of the log and points anywhere in the cube."""
    generator = torch.Generator().manual_seed(3)
    return torch.from_numpy(log.observations[:100]), torch.rand(100, 2, generator=generator) * 2 - 1


@pytest.mark.parametrize("share", [None, 0.01, 0.9])
def test_the_search_is_the_table_looked_through(
    many: tuple[Log, Merlion], share: float | None
) -> None:
    log, model = many
    states, points = asked(log)
    distance = (model.table(states) - points[:, None]).abs().sum(dim=2)
    allowed = None
    if share is not None:
        mask = np.random.default_rng(4).random(distance.shape) < share
        mask[:, 5] |= ~mask.any(axis=1)
        distance.masked_fill_(~torch.from_numpy(mask), torch.inf)
        allowed = AllowedActions.of_mask(mask)
    actions, gap = model.nearest(states, points, allowed)
    assert_close(gap, distance.min(dim=1).values, atol=2e-5, rtol=0)
    assert_close(distance[torch.arange(100), actions], gap, atol=2e-5, rtol=0)


def with_settings(log: Log, model: Merlion, **settings: object) -> Merlion:
    config = model.config()
    config["settings"] = {**config["settings"], **settings}  # type: ignore[dict-item]
    return restore(log.action_set, config, model.tensors())


def test_every_exact_search_answers_alike_to_the_bit(many: tuple[Log, Merlion]) -> None:
    log, model = many
    states, points = asked(log)
    wanted = with_settings(log, model, decode="split").nearest(states, points)
    one_by_one = [model.nearest(states[n : n + 1], points[n : n + 1])[0] for n in range(100)]
    assert torch.equal(torch.cat(one_by_one), wanted[0])
    if model.settings.depth == 1:
        fused = with_settings(log, model, decode="fused").nearest(states, points)
        assert torch.equal(fused[0], wanted[0]) and torch.equal(fused[1], wanted[1])


def test_a_changed_weight_is_seen_at_once(many: tuple[Log, Merlion]) -> None:
    log, model = many
    again = with_settings(log, model)
    states, points = asked(log)
    before = again.nearest(states, points)[0]
    assert again.decoder() is again.decoder()
    with torch.no_grad():
        again.encoder.actions.weight.copy_(again.encoder.actions.weight.flip(0))
    assert torch.equal(again.nearest(states, points)[0], MANY - 1 - before)


def test_a_fit_that_need_not_be_exact_makes_an_index_and_keeps_it(
    many: tuple[Log, Merlion],
) -> None:
    log, model = many
    way = "graph" if model.settings.depth == 1 else "ivf"
    config = replace(model.settings, steps=20, decode=way, recall=0.9)  # type: ignore[arg-type]
    quick = fit(log, config=config, features=FeatureConfig(), seed=0)
    assert quick.indexed is not None and quick.indexed.effort(0.9) is not None
    assert quick.decoder().method == way
    states, points = asked(log)
    exact = with_settings(log, quick, decode="split", recall=1.0).nearest(states, points)
    found = quick.nearest(states, points)
    assert (found[1] <= exact[1] * (1 + 1e-4) + 1e-6).float().mean() >= 0.9
    again = restore(log.action_set, quick.config(), quick.tensors())
    assert again.config() == quick.config()
    for mine, theirs in zip(found, again.nearest(states, points), strict=True):
        assert torch.equal(mine, theirs)


def test_settings_written_before_there_was_a_choice_mean_the_paper(moves_log: Log) -> None:
    model = fit(moves_log, config=replace(SMALL, steps=1), features=FeatureConfig(), seed=0)
    config = model.config()
    old = {k: v for k, v in config["settings"].items() if k not in NEW}  # type: ignore[union-attr]
    again = restore(
        moves_log.action_set,
        {**{k: v for k, v in config.items() if k not in ("index", "known")}, "settings": old},
        model.tensors(),
    )
    assert again.settings == model.settings
    assert (again.settings.encoder, again.settings.recall) == ("mlp", 1.0)


NEW = {
    "encoder",
    "rank",
    "decode",
    "recall",
    "action_features",
    "factors",
    "residual",
    "softmax",
    "negatives",
    "optimiser",
    "precision",
}


# --- what is known of actions, and very many of them


def on_a_circle(n_actions: int, n: int = 400, featured: bool = True) -> Log:
    """Action a moves by a unit vector at angle 2 pi a / A; its features are that vector."""
    draws = np.random.default_rng(0)
    angles = 2 * np.pi * np.arange(n_actions) / n_actions
    moves = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    places, actions = draws.random((n, 2), np.float32), draws.integers(n_actions, size=n)
    return Log(
        action_set=ActionSet(np.arange(n_actions), features=moves if featured else None),
        observations=places,
        actions=actions,
        rewards=np.zeros(n, np.float32),
        terminated=np.zeros(n, bool),
        truncated=np.ones(n, bool),
        next_observations=places + moves[actions],
        has_next=np.ones(n, bool),
        episode_offsets=np.arange(n + 1),
        episode_ids=np.arange(n),
    )


def fit_quietly(log: Log, **changes: object) -> Merlion:
    return fit(log, config=replace(SMALL, **changes), features=FeatureConfig(), seed=0)  # type: ignore[arg-type]


def turned_away(model: Merlion, log: Log) -> float:
    """Distance of opposite actions' points over that of neighbours'."""
    states, n = torch.from_numpy(log.observations[:50]), len(log.action_set)
    left = torch.arange(50) * (n // 50)
    start = model.embed(states, left)
    beside = l1(start, model.embed(states, (left + max(1, n // 100)) % n)).mean()
    return float(l1(start, model.embed(states, (left + n // 2) % n)).mean() / beside)


@pytest.mark.parametrize("encoder", ["mlp", "bilinear"])
@pytest.mark.parametrize(
    "known",
    [
        {"action_features": "table"},
        {"action_features": "table", "residual": True},
        {"action_features": "factors", "factors": (6, 100)},
    ],
    ids=["table", "residual", "factors"],
)
def test_what_is_known_of_actions_tells_those_apart_that_no_row_shows(
    encoder: str, known: dict[str, object]
) -> None:
    """600 actions in 400 rows; most are logged once or never."""
    log = on_a_circle(600)
    model = fit_quietly(log, encoder=encoder, **known)
    assert turned_away(model, log) > 2.5


def test_free_vectors_do_not() -> None:
    log = on_a_circle(600)
    assert turned_away(fit_quietly(log), log) < 1.8


@pytest.mark.parametrize("encoder", ["mlp", "bilinear"])
@pytest.mark.parametrize("kind", ["table", "factors"])
def test_what_is_known_of_actions_is_kept_with_the_weights(encoder: str, kind: str) -> None:
    log = on_a_circle(600)
    made = {"steps": 5, "encoder": encoder, "action_features": kind, "residual": True}
    model = fit_quietly(log, **made, factors=(6, 100))
    bare = ActionSet(log.action_set.ids)  # the catalogue on disk holds no features
    again = restore(bare, json.loads(json.dumps(model.config())), model.tensors())
    states, points = asked(log)
    assert torch.equal(again.table(states), model.table(states))
    found, gap = model.nearest(states, points)
    distance = (model.table(states) - points[:, None]).abs().sum(dim=2)
    assert_close(gap, distance.amin(dim=1), atol=2e-5, rtol=0)
    assert torch.equal(again.nearest(states, points)[0], found)


def test_a_changed_projection_is_seen_by_table_and_search() -> None:
    log = on_a_circle(600)
    model = fit_quietly(log, steps=5, action_features="table")
    states, points = asked(log)
    table = model.table(states)
    before, gap = model.nearest(states, points)
    with torch.no_grad():
        model.encoder.actions.known.rows.copy_(model.encoder.actions.known.rows.flip(0))  # type: ignore[union-attr,operator]
    found, gap_now = model.nearest(states, points)
    assert torch.equal(found, 599 - before)
    assert_close(gap_now, gap, atol=1e-5, rtol=0)
    assert torch.allclose(model.table(states), table.flip(1), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "n_actions", "featured", "kind"),
    [
        ({}, 600, True, None),
        ({}, FREE_ACTIONS, True, "FeatureRows"),
        ({}, FREE_ACTIONS, False, None),
        ({"action_features": "none"}, FREE_ACTIONS, True, None),
        ({"action_features": "table"}, 600, True, "FeatureRows"),
        ({"factors": (20, 30)}, 600, True, "FactorRows"),
        ({"action_features": "none", "factors": (20, 30)}, 600, True, None),
    ],
)
def test_features_are_taken_where_they_are_needed_or_asked_for(
    changes: dict[str, object], n_actions: int, featured: bool, kind: str | None
) -> None:
    action_set = on_a_circle(n_actions, n=1, featured=featured).action_set
    found = known_of(action_set, replace(SMALL, **changes))  # type: ignore[arg-type]
    assert (None if found is None else type(found).__name__) == kind


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"action_features": "table"}, "needs an action set with features"),
        ({"action_features": "factors"}, "needs `factors`, e.g."),
        ({"factors": (2, 3)}, "count integer ids from 0 to 5, the action ids run from 0 to 599"),
    ],
)
def test_features_that_are_not_there_are_refused(changes: dict[str, object], words: str) -> None:
    log = on_a_circle(600, featured=False)
    with pytest.raises(ValueError, match=words):
        fit_quietly(log, **changes)


def test_too_many_free_vectors_are_warned_of_and_features_silence_it() -> None:
    small = {"steps": 2, "behaviour_steps": 2, "hidden": 4}
    with pytest.warns(FreeVectorsWarning, match="50,000 actions get a free vector each from 50 "):
        fit_quietly(on_a_circle(FREE_ACTIONS, n=50, featured=False), **small)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_quietly(on_a_circle(FREE_ACTIONS, n=50), **small)


@pytest.mark.parametrize("encoder", ["mlp", "bilinear"])
def test_many_actions_are_learnt_from_some_of_them_a_step(encoder: str) -> None:
    """Drawn softmax, rows of tables, bounded support and a frame of drawn actions together."""
    n_actions = FEW_ACTIONS + 1808
    log = on_a_circle(n_actions, n=2000)
    rows = {"optimiser": "rows", "residual": True, "action_features": "table"}
    model = fit_quietly(log, encoder=encoder, negatives=64, **rows)
    assert turned_away(model, log) > 2.5
    some = torch.randint(n_actions, (2000,), generator=torch.Generator().manual_seed(0))
    points = model.embed(torch.from_numpy(log.observations), some)
    assert points.std(dim=0).min() > 0.3 and (points.abs() == 1).float().mean() < 0.05
    assert model.unsupported(torch.from_numpy(log.observations[:3])).shape == (3, n_actions)
    residual = model.encoder.actions.residual.weight  # type: ignore[union-attr]
    moved = (residual != 0).any(dim=1)
    assert moved[torch.from_numpy(log.actions)].float().mean() > 0.9 and moved.float().mean() > 0.5


def test_row_steps_learn_what_dense_ones_do(moves_log: Log) -> None:
    model = fit_quietly(moves_log, optimiser="rows", softmax="uniform", negatives=8)
    assert apart(model, moves_log, 0, 1) < 0.3 * apart(model, moves_log, 0, 2)


@pytest.mark.parametrize("softmax", ["full", "frequency"])
@pytest.mark.parametrize("encoder", ["mlp", "bilinear"])
def test_products_in_bfloat16_teach_as_well(moves_log: Log, encoder: str, softmax: str) -> None:
    config = {"encoder": encoder, "softmax": softmax, "negatives": 8}
    model = fit_quietly(moves_log, precision="bfloat16", **config)
    assert apart(model, moves_log, 0, 1) < 0.3 * apart(model, moves_log, 0, 2)


def pairs_of(log: Log) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Some states, and two actions in each."""
    rows = torch.arange(32)
    return torch.from_numpy(log.observations[:32]), rows % 4, (rows * 3) % 4


def test_an_ensemble_wants_the_mean_of_its_distances_and_says_their_deviation(
    moves_log: Log,
) -> None:
    """Twins agree; one that expects three times the motion wants three times the distance."""
    model, _ = unfitted(moves_log, MerlionConfig(hidden=8, ensemble=2, penalty=0.0))
    pairs = pairs_of(moves_log)
    model.more_transitions[0].load_state_dict(model.transition.state_dict())
    with torch.no_grad():
        for reward in model.rewards():
            reward.net[-1].weight.zero_()  # every action pays the same
    alone = model.target_distance(*pairs)[1]
    assert_close(model.disagreement(*pairs), torch.zeros(32))
    with torch.no_grad():
        for weight in model.more_transitions[0].net[-1].parameters():
            weight.mul_(3.0)
    assert_close(model.target_distance(*pairs)[1], 2 * alone)  # (d + 3 d) / 2
    assert_close(model.disagreement(*pairs), alone)  # deviation of d and 3 d
    assert (alone > 0).any()


def test_a_lone_model_does_not_disagree(moves_log: Log) -> None:
    model, _ = unfitted(moves_log, MerlionConfig(hidden=8))
    assert model.disagreement(*pairs_of(moves_log)) is None


def test_every_member_of_an_ensemble_learns_and_is_saved(moves_log: Log) -> None:
    config = replace(SMALL, ensemble=3)
    before, _ = unfitted(moves_log, config)
    model = fit(moves_log, config=config, features=FeatureConfig(), seed=0)
    tables = model.state_dict()
    for name in ("transition", "reward", "more_transitions.1", "more_rewards.0"):
        first = next(name_ for name_ in tables if name_.startswith(name + "."))
        assert not torch.equal(tables[first], before.state_dict()[first]), name
    starts = [member.net[0].weight for member in model.transitions()]
    assert not torch.equal(starts[0], starts[1]) and not torch.equal(starts[1], starts[2])
    again = restore(model.action_set, json.loads(json.dumps(model.config())), model.tensors())
    assert_close(again.disagreement(*pairs_of(moves_log)), model.disagreement(*pairs_of(moves_log)))
    assert (model.disagreement(*pairs_of(moves_log)) > 0).any()


@pytest.mark.parametrize("ensemble", [0, -1])
def test_an_ensemble_of_none_is_refused(ensemble: int) -> None:
    with pytest.raises(ValueError, match="ensemble"):
        MerlionConfig(ensemble=ensemble)
