"""Exact search by the compiled loops: over all actions, or over a list of them a row."""

import numpy as np
import torch
from jaxtyping import Float32, Int64

from offline_actrep.core.actions import AllowedActions
from offline_actrep.decoding import exact, kernels
from offline_actrep.decoding.points import LANES, Codes, Heads, points_of

Found = tuple[Int64[np.ndarray, " B"], Float32[np.ndarray, " B"]]
"""Dense actions, and their l1 distances."""
FoundFew = tuple[Int64[np.ndarray, "B K"], Float32[np.ndarray, "B K"]]
"""The same of several actions a row, nearest first; -1 and infinity where a row has no more."""
EVERY = np.empty(0, np.int64)
"""A list of actions that stands for all of them."""


def scan(
    codes: Codes, heads: Heads, points: Float32[np.ndarray, "B E"], *, fused: bool
) -> Float32[np.ndarray, "B A"]:
    """The distances to all actions, by the fused scan or the plain one."""
    if not fused:
        return exact.distances(codes, heads, torch.from_numpy(points)).numpy()
    room = np.empty((len(points), len(codes.blocks) * LANES), np.float32)
    kernels.scan(codes.blocks, codes.bent, heads.shift, heads.weight, heads.bias, points, room)
    return room[:, : len(codes)]


def distances_of(
    codes: Codes,
    heads: Heads,
    points: Float32[np.ndarray, "B E"],
    offsets: Int64[np.ndarray, " B_plus_1"],
    indices: Int64[np.ndarray, " M"],
) -> Float32[np.ndarray, " M"]:
    """The distances of each row's point to the actions in its own list."""
    out = np.empty(len(indices), np.float32)
    if codes.is_shallow:
        kernels.listed(
            codes.table, codes.bent, heads.shift, heads.weight, heads.bias,
            points, offsets, indices, out,
        )  # fmt: skip
        return out
    for s, point in enumerate(torch.from_numpy(points)):
        part = slice(offsets[s], offsets[s + 1])
        near = points_of(codes.part(indices[part]), heads.rows(slice(s, s + 1)))[0]
        out[part] = (near - point).abs().sum(dim=1).numpy()
    return out


def settle(
    codes: Codes,
    heads: Heads,
    points: Float32[np.ndarray, "B E"],
    offsets: Int64[np.ndarray, " B_plus_1"],
    indices: Int64[np.ndarray, " M"],
    distances: Float32[np.ndarray, " K"],
) -> Found:
    """The nearest of each row's list (`EVERY`: of all), the last bits in double precision."""
    best = np.empty(len(points), np.int64)
    gap = np.empty(len(points), np.float32)
    kernels.settle(
        codes.table, codes.bent, codes.layers, codes.biases, heads.shift, heads.weight, heads.bias,
        points, offsets, indices, distances, best, gap,
    )  # fmt: skip
    return best, gap


def nearest_of_all(
    codes: Codes, heads: Heads, points: Float32[np.ndarray, "B E"], *, fused: bool
) -> Found:
    """The nearest of all actions."""
    offsets, distances = _all_of(codes, heads, points, fused)
    return settle(codes, heads, points, offsets, EVERY, distances)


def _all_of(
    codes: Codes, heads: Heads, points: Float32[np.ndarray, "B E"], fused: bool
) -> tuple[Int64[np.ndarray, " B_plus_1"], Float32[np.ndarray, " K"]]:
    distances = np.ascontiguousarray(scan(codes, heads, points, fused=fused))
    return np.arange(len(points) + 1) * len(codes), distances.reshape(-1)


def nearest_of_list(
    codes: Codes,
    heads: Heads,
    points: Float32[np.ndarray, "B E"],
    offsets: Int64[np.ndarray, " B_plus_1"],
    indices: Int64[np.ndarray, " M"],
) -> Found:
    """The nearest of the actions that a row lists."""
    distances = distances_of(codes, heads, points, offsets, indices)
    return settle(codes, heads, points, offsets, indices, distances)


def few(
    codes: Codes,
    heads: Heads,
    points: Float32[np.ndarray, "B E"],
    count: int,
    allowed: AllowedActions | None,
    *,
    fused: bool,
) -> FoundFew:
    """The `count` nearest of all actions, or of those that a row allows, settled likewise."""
    if allowed is None:
        indices, (offsets, distances) = EVERY, _all_of(codes, heads, points, fused)
    else:
        offsets, indices = allowed.offsets, allowed.indices
        distances = distances_of(codes, heads, points, offsets, indices)
    best = np.empty((len(points), count), np.int64)
    gap = np.empty((len(points), count), np.float32)
    kernels.settle_few(
        codes.table, codes.bent, codes.layers, codes.biases, heads.shift, heads.weight, heads.bias,
        points, offsets, indices, distances, best, gap,
    )  # fmt: skip
    return best, gap
