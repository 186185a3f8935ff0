"""What does splitting the first layer save? Run: `python tests/benchmarks/decode_speed.py`.

The nearest of 4,096 actions, one state at a time: the split scan against copying the state beside
every action. CPU time of one thread, the two in turn, median of five rounds; trust the ratio.
"""

import statistics
import time

import torch

from offline_actrep.decoding.exact import nearest
from offline_actrep.nets.mlp import ActionStateEncoder

ACTIONS, FEATURES, DIM, STATES = 4096, 32, 10, 40


def copied(
    encoder: ActionStateEncoder, features: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    """The state copied A times, one state after another."""
    everything = torch.arange(ACTIONS)
    return torch.stack(
        [
            (encoder(state.expand(ACTIONS, -1), everything) - point).abs().sum(dim=1).argmin()
            for state, point in zip(features, points, strict=True)
        ]
    )


def split(
    encoder: ActionStateEncoder, features: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    """The table of all actions, plus a vector a state."""
    shared = encoder.per_action()
    return nearest(points, lambda rows: encoder.all_actions(features[rows], shared), 1)[0]


@torch.no_grad()
def main() -> None:
    """Prints both and their ratio."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = ActionStateEncoder(ACTIONS, FEATURES, DIM, embedding=32, hidden=[256])
    features, points = torch.randn(STATES, FEATURES), torch.randn(STATES, DIM)
    assert torch.equal(copied(encoder, features, points), split(encoder, features, points))
    spent: dict[str, list[float]] = {"copied": [], "split": []}
    for _ in range(5):
        for name, method in (("copied", copied), ("split", split)):
            began = time.process_time()
            method(encoder, features, points)
            spent[name].append((time.process_time() - began) / STATES)
    slow, fast = (statistics.median(spent[name]) for name in ("copied", "split"))
    print(f"copied {slow * 1e6:,.0f} us a state, split {fast * 1e6:,.0f} us: {slow / fast:.1f}x")


if __name__ == "__main__":
    main()
