"""Fits, trains and judges on the CPU and on the stand-in device; prints what came of it as JSON.

A process of its own, for torch must know the device before the first backward pass.
"""

import json
import sys
import traceback
from collections.abc import Callable

import numpy as np
import torch
from standin import NAME, Count, register, standin

from offline_actrep.behaviour import Uniform, collect
from offline_actrep.core.log import Log
from offline_actrep.evaluate import estimate
from offline_actrep.offline.learner import CONTINUOUS, DISCRETE
from offline_actrep.offline.policies import IdPolicy
from offline_actrep.offline.train import Policy, train
from offline_actrep.relabel import Relabelled, relabel
from offline_actrep.representations.catalog import METHODS, fit
from offline_actrep.simulators.catalog import make
from offline_actrep.simulators.wrappers import ChangingConfig

Tensors = dict[str, torch.Tensor]
FITS: dict[str, dict[str, dict[str, object]]] = {
    "merlion": {
        "": {},
        "ensemble": {"ensemble": 2},
        "gaussian": {"transition": "gaussian"},
        "bilinear": {"encoder": "bilinear", "rank": 4},
        "table": {"action_features": "table"},
        "factors": {"factors": (2, 2, 2, 2), "residual": True},
        "sampled": {"softmax": "uniform", "negatives": 8},
        "rows": {"optimiser": "rows", "softmax": "frequency", "negatives": 8},
    },
    "transition": {"": {"candidates": 12}},
    "reconstruction": {"": {}},
    "cvae": {"": {}},
    "random_table": {"": {}},
    "random_spread": {"": {}},
    "external": {"": {}},
}
"""Representations, and ways in which their fits compute something else."""
LEARNT = {"hidden": 8, "steps": 12, "batch_size": 32}
SMALL = {"hidden": (8, 8), "batch_size": 16, "steps": 6, "warmup": 0.3}


def some_log() -> Log:
    """300 rows of a maze of which half of 16 actions are away in every state."""
    half = ChangingConfig(share=0.5, every="step")
    world = make("maze", 8, changing_actions=half, actuators=4)
    return collect(Uniform(world.action_set), world, rows=300, seed=0)


def fitted(log: Log, name: str, way: str, device: str) -> Tensors:
    """The tensors of a representation."""
    learns = LEARNT if name in ("merlion", "transition", "reconstruction", "cvae") else {}
    settings = {"dim": 2, **learns, **FITS[name][way]}
    return fit(name, log, seed=0, device=device, **settings).tensors()


def trained(log: Log | Relabelled, name: str, device: str) -> Tensors:
    """The weights of a learner, and what its policy answers while it learns and afterwards."""
    seen = log.log.observations if isinstance(log, Relabelled) else log.observations
    answers: list[np.ndarray] = []

    def look(_: int, policy: Policy) -> None:
        answers.append(policy.choose(seen[:20]))

    policy = train(
        log, name, seed=0, device=device, on_checkpoint=look, checkpoint_every=3, **SMALL
    )
    look(0, policy)
    learner = policy.learner if isinstance(policy, IdPolicy) else policy.actor.learner  # type: ignore[attr-defined]
    assert learner.device.type == "cpu"
    found = {f"answer {i}": torch.from_numpy(answer) for i, answer in enumerate(answers)}
    return learner.tensors() | found


def judged(log: Log, device: str) -> Tensors:
    """An estimate over ids."""
    policy = train(log, "discrete_bc", seed=0, device="cpu", **SMALL)
    found = estimate(policy, log, seed=0, gamma=0.9, device=device, steps=6, refits=2, hidden=(8,))
    return {"interval": torch.tensor([found.value, found.low, found.high])}


def compare(run: Callable[[str], Tensors]) -> dict[str, object]:
    """How far apart the two devices' results are, and how much was done on the stand-in."""
    try:
        here = run("cpu")
        with standin():
            there = run(NAME)
    except Exception:
        return {"error": traceback.format_exc()}
    if here.keys() != there.keys():
        return {"error": f"{sorted(here)} here, {sorted(there)} there"}
    pairs = [(here[key].double(), there[key].double()) for key in here if here[key].numel()]
    apart = torch.stack([(one - other).abs().max() for one, other in pairs]).max()
    return {"apart": apart.item(), "operations": Count.operations}


def main() -> None:
    """All cases, by name."""
    register()
    torch.set_num_threads(1)
    assert set(FITS) == set(METHODS)
    log = some_log()
    points = relabel(log, fit("random_table", log, dim=2, seed=0))
    found = {
        f"{name} {way}".strip(): compare(lambda device, n=name, w=way: fitted(log, n, w, device))
        for name, ways in FITS.items()
        for way in ways
    }
    for name in (*CONTINUOUS, *DISCRETE):
        data = points if name in CONTINUOUS else log
        found[name] = compare(lambda device, d=data, n=name: trained(d, n, device))
    found["fqe"] = compare(lambda device: judged(log, device))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
