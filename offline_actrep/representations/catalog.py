"""The representations by name, and the verb `fit`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.settings import checked
from offline_actrep.nets.computing import device_of, learning_on, torch_threads
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.representations import (
    cvae,
    external,
    merlion,
    point_table,
    random_spread,
    random_table,
    reconstruction,
    transition,
)


@dataclass(frozen=True)
class Method:
    """What a method offers: its settings, its fit, and the way back from disk."""

    config: type[Any]
    fit: Callable[..., AbstractRepresentation]
    restore: Callable[..., AbstractRepresentation]


METHODS: dict[str, Method] = {
    "merlion": Method(merlion.MerlionConfig, merlion.fit, merlion.restore),
    "random_table": Method(random_table.RandomTableConfig, random_table.fit, point_table.restore),
    "random_spread": Method(
        random_spread.RandomSpreadConfig, random_spread.fit, point_table.restore
    ),
    "transition": Method(transition.TransitionConfig, transition.fit, point_table.restore),
    "reconstruction": Method(
        reconstruction.ReconstructionConfig, reconstruction.fit, point_table.restore
    ),
    "cvae": Method(cvae.CvaeConfig, cvae.fit, cvae.restore),
    "external": Method(external.ExternalConfig, external.fit, point_table.restore),
}


def method(name: str) -> Method:
    """The named method.

    Raises:
        ValueError: an unknown name; the message lists those there are.
    """
    if name not in METHODS:
        raise ValueError(f"unknown representation {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name]


def fit(
    name: str,
    log: Log,
    *,
    seed: int,
    features: FeatureConfig = FeatureConfig(),  # noqa: B008
    on_step: OnStep | None = None,
    threads: int = 1,
    device: str = "auto",
    **settings: Any,
) -> AbstractRepresentation:
    """Fits the named representation, e.g. `fit("merlion", log, dim=10, seed=0)`.

    Args:
        name: a key of `METHODS`.
        log: what to learn from.
        seed: of initial weights and batches.
        features: what the networks see of an observation.
        on_step: is told where the fit stands.
        threads: that torch computes on meanwhile. More than one pays for wide networks on an idle
            machine only, and gives other bits.
        device: where networks learn: `auto` for a GPU if there is one, or as torch names it. What
            comes back lies on the CPU.
        settings: fields of the method's config.

    Raises:
        ValueError: an unknown method, setting (the message names the near ones) or device.
    """
    config, chosen = checked_settings(name, settings), device_of(device)
    with torch_threads(threads), learning_on(chosen):
        return method(name).fit(
            log, config=config, features=features, seed=seed, device=chosen, on_step=on_step
        )


def checked_settings(name: str, settings: dict[str, Any]) -> Any:
    """The method's config with these fields.

    Raises:
        ValueError: an unknown method or setting (the message names the near ones), or a value
            that a setting refuses.
    """
    return checked(name, method(name).config, settings)


def restore(
    action_set: ActionSet, config: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> AbstractRepresentation:
    """From what a representation's `config()` and `tensors()` gave."""
    return method(config["method"]).restore(action_set, config, tensors)
