"""The learners' names and settings, without the library behind them."""

from dataclasses import replace

import pytest

from offline_actrep.online.learners import DEFAULTS, IDS, POINTS, OnlineConfig, settings


def test_every_learner_has_its_defaults() -> None:
    assert set(DEFAULTS) == {*POINTS, *IDS}


def test_changes_are_made_to_the_learners_own_defaults() -> None:
    assert settings("a2c", {"gamma": 0.9}) == replace(DEFAULTS["a2c"], gamma=0.9)
    assert settings("a2c", {}) != settings("ppo", {}) != OnlineConfig()


def test_unknown_names_are_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown online learner 'trpo'; there are ppo, a2c"):
        settings("trpo", {})
    with pytest.raises(ValueError, match="sac has no setting 'gama'; near it: gamma"):
        settings("sac", {"gama": 0.9})
