"""A log's headroom: is there anything to gain that imitation would not give?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offline_actrep.behaviour import make_behaviour
from offline_actrep.core.estimate import Estimate, mean_estimate
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.evaluate import evaluate
from offline_actrep.offline.train import train
from offline_actrep.report import Table, markdown_table


def headroom(
    log: Log,
    world: AbstractSimulator,
    *,
    seed: int,
    episodes: int = 1000,
    steps: int | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Estimate]:
    """Returns of random actions, the behaviour, behaviour cloning on ids, and the best known.

    A log is worth learning from if the first three stay well below the last. `steps` are the
    cloning's gradient steps; None for its default.
    """
    uniform = make_behaviour("uniform", world.action_set)
    changes: dict[str, Any] = {} if steps is None else {"steps": steps}
    cloned = train(log, "discrete_bc", seed=seed, on_step=on_step, **changes)
    best = world.best_return
    return {
        "random": evaluate(uniform, world, episodes=episodes, seed=seed + 1),
        "behaviour": mean_estimate(log.returns, seed=seed),
        "behaviour cloning": evaluate(cloned, world, episodes=episodes, seed=seed + 1),
        "best known": Estimate(best, best, best, 1),
    }


def write_card(path: Path, log: Log, measured: Mapping[str, Estimate], *, made_by: str) -> None:
    """The card as Markdown."""
    table = Table(
        ("policy", "mean return", "95 % interval"),
        [
            [name, f"{found.value:.1f}", f"{found.low:.1f} to {found.high:.1f}"]
            for name, found in measured.items()
        ],
    )
    path.write_text(
        f"# A log of {len(log):,} rows\n\n"
        f"Made by `offline-actrep {made_by}`: {log.n_episodes:,} episodes, "
        f"{len(log.action_set):,} actions, observation ({', '.join(log.observation_names)}), "
        f"exact propensities. Columns: see `datasets/README.md`.\n\n"
        f"## Headroom\n\n{markdown_table(table)}\n",
        encoding="utf-8",
    )
