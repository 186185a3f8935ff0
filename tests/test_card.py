"""A log's headroom and its card."""

from pathlib import Path

import pytest

from offline_actrep.card import headroom, write_card
from offline_actrep.core.estimate import Estimate
from offline_actrep.core.log import Log
from offline_actrep.simulators.maze import Maze


def test_headroom_holds_imitation_against_the_best(maze_log: Log) -> None:
    told: list[int] = []
    found = headroom(
        maze_log,
        Maze(4, actuators=4, preset="paper"),
        seed=0,
        episodes=6,
        steps=20,
        on_step=lambda step, *_: told.append(step),
    )
    assert list(found) == ["random", "behaviour", "behaviour cloning", "best known"]
    assert found["behaviour"].value == pytest.approx(maze_log.returns.mean())
    assert found["behaviour"].n == maze_log.n_episodes
    assert found["random"].n == found["behaviour cloning"].n == 6
    assert told == [20]


def test_the_card_says_what_was_measured(maze_log: Log, tmp_path: Path) -> None:
    measured = {
        "random": Estimate(1.25, 0.5, 2.0, 9),
        "best known": Estimate(110.0, 110.0, 110.0, 1),
    }
    write_card(tmp_path / "CARD.md", maze_log, measured, made_by="collect tiny.toml")
    text = (tmp_path / "CARD.md").read_text(encoding="utf-8")
    assert f"# A log of {len(maze_log):,} rows" in text
    assert "`offline-actrep collect tiny.toml`: 8 episodes, 16 actions" in text
    assert "observation (x, y, paid_0)" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["random", "1.2", "0.5 to 2.0"] in rows
    assert ["best known", "110.0", "110.0 to 110.0"] in rows
