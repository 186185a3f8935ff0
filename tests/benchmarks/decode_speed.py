"""How fast is the nearest action? Run: `OMP_NUM_THREADS=1 python tests/benchmarks/decode_speed.py`.

Numbers of actions may follow; without them 4,096 and 100,000 are measured (1,000,000 takes 5 GB
and a quarter of an hour). CPU time of one thread; naive is the whole MLP with the state copied
beside every action and then `torch.min`, measured in turn with each method in this process, so
trust the ratios. Points have 10 coordinates, layers 256 units, a bilinear encoder rank 32.

- `exact` methods answer one state at a time, head of the state included.
- Indices are asked in batches of 50 about 2,000 points (200 for two layers), half of them near an
  action's own (noise of 5 % of the points' deviation, `on`), half far from them (50 %, `off`).
  Recall counts answers whose distance is at most (1 + 1e-4) of the smallest. The encoders are
  trained beforehand, by regression of distances between outcomes that depend on a state and 8
  numbers an action.

The floors are what this core copies and multiplies; no scan is faster than reading its table once.
"""

import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from offline_actrep.decoding.decoder import Decoder, compare, make_index, queries_near
from offline_actrep.nets.bilinear import BilinearEncoder
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.mlp import ActionStateEncoder
from offline_actrep.representations.decodable import Encoder, codes_of, head_of
from offline_actrep.representations.frame import Frame

STATE, DIM, HIDDEN, EMBEDDING, LATENT = 32, 10, 256, 32, 8
STEPS, BATCH = 1500, 512
QUERIES, AT_ONCE = 1000, 50
RECALL = {100_000: 0.995, 1_000_000: 0.99}
CONSOLE = Console(width=110)


def cpu(work: Callable[[], object], seconds: float = 0.1) -> float:
    """CPU seconds of one call, over as many calls as fill the time."""
    calls, began = 0, time.process_time()
    while not calls or time.process_time() - began < seconds:
        work()
        calls += 1
    return (time.process_time() - began) / calls


def in_turn(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, the methods in turn."""
    for method in work.values():
        method()
    spent: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, method in work.items():
            spent[name].append(cpu(method))
    return spent


def floors() -> None:
    """What this core can do at most."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    source, target = np.ones(2**25, np.float32), np.ones(2**25, np.float32)
    gemm = 2 * 1024**3 / min(cpu(lambda: left @ right) for _ in range(5))
    copy = 2 * source.nbytes / min(cpu(lambda: np.copyto(target, source)) for _ in range(5))
    CONSOLE.print(f"floors: GEMM {gemm / 1e9:.0f} GFLOP/s, copy {copy / 1e9:.1f} GB/s (r + w)")


class World:
    """Outcomes of actions that depend on the state: tanh(M(s) z_a)."""

    def __init__(self, n_actions: int) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.latent = self.randn(n_actions, LATENT)
        self.base, self.mix = self.randn(LATENT, DIM), self.randn(STATE, LATENT * DIM)

    def randn(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator)

    def outcomes(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        matrix = self.base + (states @ self.mix).unflatten(1, (LATENT, DIM)) / STATE**0.5
        return torch.tanh((self.latent[actions][:, None] @ matrix)[:, 0] / LATENT**0.5)


def trained(kind: str, n_actions: int, steps: int = STEPS) -> tuple[Encoder, Frame]:
    """An encoder whose l1 distances are those of outcomes; the actions' vectors are given.

    They are 32 random features of the action's 8 numbers: a free table of a million rows is not
    learnt from any log.
    """
    world = World(n_actions)
    torch.manual_seed(0)
    encoder = new_encoder(kind, n_actions)
    with torch.no_grad():
        step = 65_536
        spread = world.randn(LATENT, EMBEDDING) / LATENT**0.5
        for start in range(0, n_actions, step):
            part = slice(start, start + step)
            encoder.actions.weight[part] = torch.tanh(world.latent[part] @ spread)
    encoder.actions.requires_grad_(False)
    weights = [w for w in encoder.parameters() if w.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=2e-3, fused=True)
    for _ in range(steps):
        states = world.randn(BATCH, STATE)
        left, right = torch.randint(n_actions, (2, BATCH), generator=world.generator)
        wanted = (world.outcomes(states, left) - world.outcomes(states, right)).norm(dim=1)
        error = (encoder(states, left) - encoder(states, right)).abs().sum(dim=1) - wanted
        optimiser.zero_grad()
        (error**2).mean().backward()
        optimiser.step()
    encoder.requires_grad_(False)
    frame = Frame(DIM)
    some = torch.randint(n_actions, (20_000,), generator=world.generator)
    frame.fit(encoder(world.randn(20_000, STATE), some))
    return encoder, frame


def new_encoder(kind: str, n_actions: int) -> Encoder:
    if kind == "bilinear":
        return BilinearEncoder(n_actions, STATE, DIM, EMBEDDING, [HIDDEN])
    hidden = [HIDDEN] * (2 if kind == "MLP, 2 layers" else 1)
    return ActionStateEncoder(n_actions, STATE, DIM, EMBEDDING, hidden)


def naive_search(n_actions: int, depth: int = 1) -> Callable[[], object]:
    """The whole MLP for every action, one state."""
    table = nn.Embedding(n_actions, EMBEDDING)
    widths = [STATE + EMBEDDING, *[HIDDEN] * depth]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(HIDDEN, DIM))
    state, point = torch.randn(STATE), torch.rand(DIM) * 2 - 1

    @torch.no_grad()
    def search() -> object:
        inputs = torch.cat([state.expand(n_actions, -1), table.weight], dim=1)
        return torch.min((network(inputs) - point).abs().sum(dim=1), dim=0)

    return search


def exact_table(n_actions: int, rounds: int) -> None:
    """Naive, split and fused, one state at a time."""
    naive = naive_search(n_actions)
    shown = Table(f"exact, {n_actions:,} actions", "us a state", "x naive MLP", "spread of x")
    for kind in ("MLP", "bilinear", "MLP, 2 layers"):
        if kind == "MLP, 2 layers" and n_actions > 100_000:
            continue
        encoder = new_encoder(kind, n_actions).requires_grad_(False)
        nn.init.normal_(encoder.actions.weight)
        codes, head = codes_of(encoder), head_of(encoder, plain_features(), Frame(DIM))
        states, points = torch.randn(64, STATE), torch.rand(64, DIM) * 2 - 1
        one, where = states[:1], points[:1]
        methods: list[Literal["split", "fused"]] = ["split"]
        methods += ["fused"] if codes.is_shallow else []
        work = {"naive": naive if kind != "MLP, 2 layers" else naive_search(n_actions, 2)}
        answers = []
        for method in methods:
            decoder = Decoder(codes, head, method=method)
            work[method] = lambda d=decoder, a=one, b=where: d.nearest(a, b)
            answers.append(decoder.nearest(states[:8], points[:8]))
        assert all(torch.equal(a, b) for a, b in zip(answers[0], answers[-1], strict=True))
        if codes.is_shallow:
            several = min(64, max(2, 2_000_000 // n_actions))
            name, few = (f"{what}, {several} at once" for what in ("fused", "fused, 16 nearest"))
            some, places = states[:several], points[:several]
            work[name] = lambda d=decoder, a=some, b=places: d.nearest(a, b)
            work[few] = lambda d=decoder, a=some, b=places: d.neighbours(a, b, 16)
            add_rows(shown, kind, in_turn(work, rounds), {name: several, few: several})
        else:
            add_rows(shown, kind, in_turn(work, rounds), {})
    CONSOLE.print(shown)


def add_rows(
    shown: Table, kind: str, spent: dict[str, list[float]], states: dict[str, int]
) -> None:
    for name, times in spent.items():
        each = [t / states.get(name, 1) for t in times]
        ratios = sorted(n / t for n, t in zip(spent["naive"], each, strict=True))
        shown.add_row(
            f"{kind}: {name}",
            f"{statistics.median(each) * 1e6:,.0f}",
            f"{statistics.median(ratios):,.1f}",
            f"{ratios[0]:,.1f} - {ratios[-1]:,.1f}",
        )


def plain_features() -> ObservationFeatures:
    return ObservationFeatures(STATE, FeatureConfig())


def indexed_table(n_actions: int, rounds: int) -> None:
    """Graph and groups on trained encoders, at the effort that the calibration chose."""
    naive = naive_search(n_actions)
    columns = ("us a state", "x naive MLP", "recall on / off", "ratio on / off", "effort", "built")
    shown = Table(f"index, {n_actions:,} actions", *columns)
    ways: list[tuple[str, Literal["graph", "ivf"]]] = [("bilinear", "graph"), ("MLP", "graph")]
    if n_actions <= 100_000:
        ways += [("bilinear", "ivf"), ("MLP", "ivf"), ("MLP, 2 layers", "ivf")]
    made: dict[str, tuple[Encoder, Frame]] = {}
    for kind, method in ways:
        encoder, frame = made[kind] = made.get(kind) or trained(kind, n_actions)
        codes, head = codes_of(encoder), head_of(encoder, plain_features(), frame)
        logged = np.random.default_rng(1).normal(size=(5000, STATE)).astype(np.float32)
        recall = RECALL.get(n_actions, 0.99)
        began = time.process_time()
        queries = QUERIES if codes.is_shallow else QUERIES // 10  # exact answers are dear
        indexed = make_index(codes, head, logged, method=method, queries=max(queries // 4, 100))
        built = time.process_time() - began
        decoder = Decoder(codes, head, recall=recall, method=method, indexed=indexed)
        states = torch.randn(queries, STATE, generator=torch.Generator().manual_seed(2))
        heads, generator = head(states), np.random.default_rng(2)
        sets = [queries_near(codes, heads, noise, generator) for noise in (0.05, 0.5)]
        smallest = [decoder.exact(heads, points)[1] for points in sets]

        def ask(d: Decoder = decoder, s: torch.Tensor = states, p: list = sets) -> list[np.ndarray]:
            parts = [torch.from_numpy(points).split(AT_ONCE) for points in p]
            return [
                torch.cat([d.nearest(a, b)[1] for a, b in zip(s.split(AT_ONCE), part, strict=True)])
                .numpy()
                for part in parts
            ]  # fmt: skip

        effort = indexed.effort(recall) or "exact"
        measured = compare(0, ask(), smallest)
        spent = in_turn({"naive": naive, "index": ask}, rounds)
        each = [t / (2 * queries) for t in spent["index"]]
        ratios = [n / t for n, t in zip(spent["naive"], each, strict=True)]
        shown.add_row(
            f"{kind}: {method}",
            f"{statistics.median(each) * 1e6:,.0f}",
            f"{statistics.median(ratios):,.0f}",
            " / ".join(f"{r:.4f}" for r in measured.recall),
            " / ".join(f"{r:.4f}" for r in measured.ratio),
            str(effort),
            f"{built:.0f} s",
        )
    CONSOLE.print(shown)


def keep_memory() -> None:
    """Where the C library is glibc: memory once taken is kept.

    Otherwise naive pays for new pages in every call or does not, by the luck of what the process
    did before, and at 4,096 actions takes from 2.3 to 7 ms; the ratios here are the smaller ones.
    """
    if sys.platform == "linux":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
        mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, the most it takes


def main(sizes: list[int]) -> None:
    """Prints the tables."""
    keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    floors()
    for n_actions in sizes or [4096, 100_000]:
        exact_table(n_actions, rounds=9 if n_actions < 50_000 else 3)
        if n_actions >= 50_000:
            indexed_table(n_actions, rounds=3)


if __name__ == "__main__":
    main([int(argument.replace(",", "")) for argument in sys.argv[1:]])
