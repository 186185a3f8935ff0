"""stable-baselines3 over points: what it sees, what it learns, what is handed back and kept."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import gymnasium as gym
import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.behaviour import Greedy, Noisy, collect
from offline_actrep.core.actions import ActionSet
from offline_actrep.core.policy import AbstractPolicy, DecodedPolicy
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.evaluate import evaluate
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.online import sb3
from offline_actrep.online.learners import IDS, JUDGE_POINTS, POINTS, OnlineConfig
from offline_actrep.online.policies import Critic, NetworkActor, NetworkPolicy, OnlinePolicy
from offline_actrep.online.sb3 import (
    PolicyWorlds,
    reward_scale,
    train_online,
    world_features,
)
from offline_actrep.representations.external import external_points
from offline_actrep.representations.point_table import PointTable
from offline_actrep.saved import load_policy, save_policy
from offline_actrep.simulators.catalog import make
from offline_actrep.simulators.maze import Maze
from offline_actrep.simulators.wrappers import ChangingConfig

LEARNERS = [*POINTS, *IDS]
SMALL: dict[str, Any] = {
    "hidden": (8,),
    "n_steps": 6,
    "batch_size": 12,
    "learning_starts": 24,
    "gradient_steps": 1,
}
HORIZON = 5
WAVES = FeatureConfig(fourier=(0, 1), harmonics=2)


def mazes(n: int = 6, **options: Any) -> AbstractSimulator:
    return make("maze", n, preset="chandak", actuators=4, earlier_end=HORIZON, **options)


def points_of(world: AbstractSimulator) -> PointTable:
    return external_points(world.action_set, observation_size=len(world.observation_names))


def trained(name: str, **options: Any) -> OnlinePolicy:
    """144 decisions in four mazes with 16 actions, whose episodes end after 5."""
    world = mazes(4)
    points = None if name in IDS else points_of(world)
    asked = {"steps": 144, "seed": 0, "features": WAVES, **SMALL, **options}
    return train_online(world, name, points, **asked)


def inner(policy: OnlinePolicy) -> NetworkActor | NetworkPolicy:
    found = policy.actor if isinstance(policy, DecodedPolicy) else policy
    assert isinstance(found, NetworkActor | NetworkPolicy)
    return found


def weights(policy: OnlinePolicy) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in inner(policy).network.parameters()]


def equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


# --- the worlds as stable-baselines3 sees them


def as_sb3_sees(world: AbstractSimulator, scale: float = 1.0) -> PolicyWorlds:
    features = world_features(world, WAVES)
    return PolicyWorlds(world, points_of(world), features, reward_scale=scale, seed=3)


def wanted(steps: int, worlds: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, worlds, 2)).astype(np.float32)


def test_a_step_is_the_worlds_own_and_an_end_begins_anew_at_once() -> None:
    """Against the world stepped by hand with the decoded actions."""
    worlds, other = as_sb3_sees(mazes(), scale=0.5), mazes()
    points, features = worlds.representation, worlds.features
    assert points is not None
    other.reseed(np.random.SeedSequence(3))
    observations = other.restart(np.ones(6, bool))
    assert np.array_equal(worlds.reset(), features.numpy(observations))
    total = np.zeros(6)
    for step, want in enumerate(wanted(2 * HORIZON + 2, 6), 1):
        actions = points.decode(torch.from_numpy(observations), torch.from_numpy(want)).numpy()
        following, rewards, terminated, truncated = other.advance(actions)
        seen, paid, ended, infos = worlds.step(want)
        total += rewards
        assert np.array_equal(paid, (0.5 * rewards).astype(np.float32))
        assert paid.dtype == np.float32
        assert np.array_equal(ended, terminated | truncated)
        assert ended.all() == (step % HORIZON == 0)
        if ended.any():
            last = features.numpy(following)
            following = other.restart(ended)
            for b in range(6):
                assert np.array_equal(infos[b]["terminal_observation"], last[b])
                assert infos[b]["TimeLimit.truncated"] is True
                assert infos[b]["episode"] == {"r": total[b], "l": HORIZON}
            total[:] = 0
        else:
            assert infos == [{}] * 6
        assert np.array_equal(seen, features.numpy(following))
        observations = following


def test_a_goal_is_no_timeout() -> None:
    """One maze is put beside the goal and drifts into it; the others are cut off."""
    world = Maze(3, preset="chandak", actuators=4)
    worlds = as_sb3_sees(world)
    worlds.reset()
    world.position[1] = (0.25, 0.475)
    world.clock[:] = (world.horizon - 1, 0, 0)
    right = np.tile(np.array([[1.0, 0.0]], np.float32), (3, 1))
    _, rewards, ended, infos = worlds.step(right)
    assert ended.tolist() == [True, True, False]
    assert [info.get("TimeLimit.truncated") for info in infos] == [True, False, None]
    assert rewards[1] > 90
    assert world.clock.tolist() == [0, 0, 1]


def test_only_allowed_actions_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    world = mazes(changing_actions=ChangingConfig(0.5))
    worlds = as_sb3_sees(world)
    worlds.reset()
    advance, taken = world.advance, []

    def watched(actions: np.ndarray) -> tuple:
        allowed = world.allowed()
        assert allowed is not None
        taken.append(allowed.holds(actions))
        return advance(actions)

    monkeypatch.setattr(world, "advance", watched)
    for want in wanted(8, 6):
        worlds.step(want)
    assert np.concatenate(taken).all() and len(taken) == 8


def test_the_seed_fixes_the_noise_of_every_reset() -> None:
    worlds = as_sb3_sees(mazes())
    lives = []
    for _ in range(2):
        first = worlds.reset()
        lives.append([first, *(worlds.step(want)[0] for want in wanted(7, 6))])
    assert all(np.array_equal(one, two) for one, two in zip(*lives, strict=True))


def test_what_is_no_batch_s_to_do_is_refused() -> None:
    worlds = as_sb3_sees(mazes())
    assert worlds.get_attr("horizon", [0, 2]) == [HORIZON, HORIZON]
    assert worlds.env_is_wrapped(gym.Wrapper, 1) == [False]
    assert len(worlds.get_attr("render_mode")) == 6
    with pytest.raises(AttributeError, match="horizon cannot be set in single worlds"):
        worlds.set_attr("horizon", 3)
    with pytest.raises(AttributeError, match="render cannot be called in single worlds"):
        worlds.env_method("render")


def test_features_are_scaled_by_the_bounds() -> None:
    world = Maze(2, actuators=4)
    low, high = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    features = world_features(world, FeatureConfig())
    np.testing.assert_allclose(features.numpy(high), np.full((1, 3), 1.5**0.5), atol=1e-5)
    np.testing.assert_allclose(features.numpy((low + high) / 2), 0.0, atol=1e-5)
    waves = world_features(world, FeatureConfig(fourier=(1,), harmonics=1))
    np.testing.assert_allclose(waves.numpy(high)[0, 3:], [0.0, -1.0], atol=1e-5)
    world.single_observation_space = gym.spaces.Box(0.0, np.inf, (3,), np.float32)
    with pytest.raises(ValueError, match="observation 'x' has no finite bounds"):
        world_features(world, FeatureConfig())


def test_rewards_are_scaled_by_the_known_returns() -> None:
    world = Maze(2, preset="chandak")
    assert reward_scale(world, OnlineConfig()) == 1 / world.best_return
    assert reward_scale(world, OnlineConfig(reward_scale=3.0)) == 3.0
    world.random_return, world.best_return = -200.0, float("nan")
    assert reward_scale(world, OnlineConfig()) == 1 / 200
    world.random_return = float("nan")
    assert reward_scale(world, OnlineConfig()) == 1.0


# --- training


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_is_told_of_to_the_end_and_chooses_from_the_catalogue(name: str) -> None:
    told: list[tuple[int, int]] = []
    losses: dict[str, float] = {}
    kept: list[int] = []

    def on_step(done: int, steps: int, now: Any) -> None:
        told.append((done, steps))
        losses.update(now)

    policy = trained(
        name,
        steps=143,
        on_step=on_step,
        on_checkpoint=lambda done, _: kept.append(done),
        checkpoint_every=50,
    )
    assert told == [(done, 143) for done in [*range(4, 143, 4), 143]]
    assert next(iter(losses)) == "return" and -20 < losses["return"] < 120
    assert any("loss" in key for key in losses) and np.isfinite(list(losses.values())).all()
    assert kept == [52, 100, 144]
    assert isinstance(policy, NetworkPolicy if name in IDS else DecodedPolicy)
    seen = np.random.default_rng(0).random((30, 2)).astype(np.float32)
    assert np.isin(policy.act(seen), policy.action_set.ids).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_seed_fixes_every_bit_and_disturbs_nobody(name: str) -> None:
    """Even if the judging in between draws from the global generators."""
    kept: list[tuple[AbstractPolicy, list[torch.Tensor]]] = []

    def judge(done: int, policy: OnlinePolicy) -> None:
        torch.rand(done)
        np.random.random(done)
        evaluate(policy, mazes(2), episodes=2, seed=done)
        kept.append((policy, weights(policy)))

    np.random.seed(4)
    torch.manual_seed(4)
    before = torch.get_rng_state(), np.random.get_state()[1:3]
    plain = weights(trained(name, seed=2))
    watched = trained(name, seed=2, on_checkpoint=judge, checkpoint_every=40)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1][0])
    assert np.random.get_state()[2] == before[1][1]
    assert equal(plain, weights(watched))
    assert not equal(plain, weights(trained(name, seed=3)))
    assert len(kept) == 4
    for policy, then in kept:
        assert isinstance(policy, DecodedPolicy | NetworkPolicy)
        assert equal(weights(policy), then)
    assert not equal(kept[0][1], kept[-1][1])
    assert equal(kept[-1][1], plain)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_policy_does_what_the_library_s_own_would(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = []
    maker = sb3.MAKERS[name]
    monkeypatch.setitem(sb3.MAKERS, name, lambda *given: models.append(maker(*given)) or models[0])
    policy = trained(name)
    seen = np.random.default_rng(0).random((50, 2)).astype(np.float32)
    theirs, _ = models[0].predict(inner(policy).features.numpy(seen), deterministic=True)
    if isinstance(policy, DecodedPolicy):
        np.testing.assert_allclose(policy.actor.points(seen), theirs, atol=1e-6)
        assert theirs.std(axis=0).min() > 0
    else:
        assert np.array_equal(policy.choose(seen), theirs)


@pytest.mark.parametrize("name", [name for name in LEARNERS if name not in JUDGE_POINTS])
def test_the_critic_judges_as_the_library_s_own_would(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, critics = [], []
    maker = sb3.MAKERS[name]
    monkeypatch.setitem(sb3.MAKERS, name, lambda *given: models.append(maker(*given)) or models[0])
    trained(name, on_critic=critics.append, reward_scale=0.2, gamma=0.8)
    (critic,) = critics
    assert isinstance(critic, Critic) and critic.gamma == 0.8
    seen = np.random.default_rng(0).random((50, 2)).astype(np.float32)
    scaled = models[0].policy.predict_values(torch.from_numpy(critic.features.numpy(seen)))
    theirs = scaled.detach().numpy()[:, 0] / 0.2
    np.testing.assert_allclose(critic.values(seen), theirs, rtol=1e-5, atol=1e-5)
    assert theirs.std() > 0
    for weight in models[0].policy.parameters():
        weight.data.zero_()
    np.testing.assert_allclose(critic.values(seen), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", JUDGE_POINTS)
def test_a_critic_of_points_is_not_handed_out_as_one_of_states(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no critic of states"):
        trained(name, on_critic=print)


def test_asking_for_the_critic_changes_no_bit_of_the_policy() -> None:
    assert equal(weights(trained("ppo")), weights(trained("ppo", on_critic=lambda critic: None)))


def test_ready_made_features_are_taken_as_they_are() -> None:
    features = ObservationFeatures(2, FeatureConfig())
    assert inner(trained("a2c", features=features)).features is features


@final
class Line(AbstractSimulator):
    """21 actions on a line; what is shown, x, says where to: pays 1 - |action - 0.8 x|."""

    horizon = 4
    random_return = 4 * (1 - 0.62)
    best_return = 4.0
    observation_names = ("x",)

    def __init__(self, n_worlds: int) -> None:
        self.places = np.linspace(-1, 1, 21)
        self.action_set = ActionSet(np.arange(21), features=self.places[:, None].astype("f4"))
        self.x, self.clock = np.zeros(n_worlds), np.zeros(n_worlds, np.int64)
        self._open(n_worlds, gym.spaces.Box(-1.0, 1.0, (1,), np.float32), 0)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B 1"]:
        self.clock[worlds] = 0
        self.x[worlds] = 2 * self.draws.uniform(1, worlds)[0] - 1
        return self.x[:, None].astype(np.float32)

    def advance(self, actions: Int64[np.ndarray, " B"]) -> tuple:
        rewards = 1 - np.abs(self.places[actions] - 0.8 * self.x)
        self.clock += 1
        self.x = 2 * self.draws.uniform(1)[0] - 1
        late = self.clock >= self.horizon
        return self.x[:, None].astype(np.float32), rewards, np.zeros_like(late), late

    def allowed(self) -> None:
        return None

    def effects(
        self, observations: Float32[np.ndarray, "B 1"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 1"]:
        return self.places[actions][:, None]

    def expert(self) -> Int64[np.ndarray, " B"]:
        return np.abs(self.places - 0.8 * self.x[:, None]).argmin(axis=1)

    def render(self) -> tuple:
        return ()


@pytest.mark.parametrize(
    ("name", "steps", "options"),
    [
        ("ppo", 12_000, {"n_steps": 16, "batch_size": 64}),
        ("a2c", 20_000, {"n_steps": 4, "learning_rate": 3e-3}),
        ("vpg", 20_000, {"learning_rate": 0.01}),
        ("sac", 6_000, {"gradient_steps": 2}),
        ("td3", 6_000, {"gradient_steps": 2}),
        ("discrete_ppo", 12_000, {"n_steps": 16, "batch_size": 64}),
        ("discrete_a2c", 40_000, {"n_steps": 4, "learning_rate": 3e-3}),
    ],
)
def test_learners_find_what_pays(name: str, steps: int, options: dict[str, Any]) -> None:
    """The best action that does not look misses by 0.4, on average."""
    world = Line(32)
    points = None if name in IDS else points_of(world)
    fixed = {"hidden": (16,), "gamma": 0.5, "learning_rate": 3e-3, "learning_starts": 500}
    policy = train_online(world, name, points, steps=steps, seed=0, **(fixed | options))
    asked = np.linspace(-1, 1, 101, dtype=np.float32)[:, None]
    missed = np.abs(world.places[policy.choose(asked)] - 0.8 * asked[:, 0])
    assert missed.mean() < 0.2


def test_the_critic_learns_what_the_world_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 for every decision, for ever, at gamma 0.5: 6; in the world's unit, not the learner's."""
    world, critics = Line(32), []
    advance = world.advance

    def steady(actions: np.ndarray) -> tuple:
        observations, rewards, *ends = advance(actions)
        return observations, np.full_like(rewards, 3.0), *ends

    monkeypatch.setattr(world, "advance", steady)
    options = {
        "hidden": (16,),
        "gamma": 0.5,
        "learning_rate": 3e-3,
        "n_steps": 16,
        "batch_size": 64,
    }
    train_online(
        world, "ppo", points_of(world), steps=8_000, seed=0, on_critic=critics.append, **options
    )
    asked = np.linspace(-1, 1, 21, dtype=np.float32)[:, None]
    np.testing.assert_allclose(critics[0].values(asked), 6.0, rtol=0.1)


# --- what is kept


@pytest.mark.parametrize("name", LEARNERS)
def test_a_checkpoint_comes_back_without_the_library(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = trained(name)
    folder = save_policy(policy, tmp_path / "policy", {"recipe": "by hand"})
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    for module in [module for module in sys.modules if module.startswith("stable_baselines3")]:
        monkeypatch.setitem(sys.modules, module, None)
    again = load_policy(folder)
    seen = np.random.default_rng(0).random((50, 2)).astype(np.float32)
    assert type(again) is type(policy)
    assert np.array_equal(again.act(seen), policy.act(seen))
    assert evaluate(again, mazes(), episodes=6, seed=1) == evaluate(
        policy, mazes(), episodes=6, seed=1
    )


@pytest.mark.parametrize("name", ["ppo", "discrete_a2c"])
def test_a_loaded_checkpoint_is_saved_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    one = save_policy(trained(name), tmp_path / "one")
    two = save_policy(load_policy(one), tmp_path / "two")
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(names) == (5 if name == "ppo" else 3)
    for file in names:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


def test_a_log_of_a_checkpoint_has_exact_propensities() -> None:
    policy = trained("td3")
    log = collect(Noisy(Greedy(policy), 0.5), mazes(4), rows=300, seed=0)
    assert log.action_probabilities is not None
    meant = log.actions == policy.choose(log.observations)
    np.testing.assert_allclose(log.action_probabilities, np.where(meant, 0.5, 0.0) + 0.5 / 16)
    share = meant.mean()
    expected = 0.5 + 0.5 / 16
    assert abs(share - expected) < 4 * (expected * (1 - expected) / len(log)) ** 0.5


# --- refusals


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.split(".")[0] == "stable_baselines3"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ImportError, match=r'pip install "offline_actrep\[online\]"'):
        runpy.run_path(sb3.__file__)


def short(points: PointTable) -> PointTable:
    return external_points(points.action_set, observation_size=2)


def other_actions(points: PointTable) -> PointTable:
    return external_points(Maze(1, actuators=5).action_set, observation_size=3)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ppo", lambda points: None, "ppo learns on points: hand in a representation"),
        ("discrete_ppo", lambda points: points, "discrete_ppo learns on ids: hand in None"),
        ("sac", short, "takes observations of 2 columns, the world gives 3"),
        ("td3", other_actions, "has points of 32 actions, the world has 16, and they are not"),
    ],
)
def test_points_that_do_not_fit_are_refused(
    name: str, change: Callable[[PointTable], PointTable | None], message: str
) -> None:
    world = Maze(2, actuators=4)
    with pytest.raises(ValueError, match=message):
        train_online(world, name, change(points_of(world)), steps=10, seed=0)


def test_what_cannot_be_learnt_is_refused() -> None:
    world = Maze(2, actuators=4)
    with pytest.raises(ValueError, match="at least one step is needed, got 0"):
        train_online(world, "ppo", points_of(world), steps=0, seed=0)
    with pytest.raises(ValueError, match="unknown online learner 'dqn'; there are ppo"):
        train_online(world, "dqn", None, steps=1, seed=0)
    with pytest.raises(ValueError, match="ppo has no setting 'gama'; near it: gamma"):
        train_online(world, "ppo", points_of(world), steps=1, seed=0, gama=0.9)
    forbidding = mazes(changing_actions=ChangingConfig(0.5))
    with pytest.raises(ValueError, match="discrete_ppo cannot keep to what this world allows"):
        train_online(forbidding, "discrete_ppo", None, steps=1, seed=0)


def test_a_learner_that_would_only_explore_is_refused() -> None:
    world = Maze(2, actuators=4)
    with pytest.raises(
        ValueError, match=r"td3 begins to learn after 5,000 decisions .* only 5,000"
    ):
        train_online(world, "td3", points_of(world), steps=5_000, seed=0)
