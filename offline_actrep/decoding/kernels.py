"""The compiled loops of the search; their plain forms are `exact.distances` and `points.points`.

The fused scan forms h, W h + c and the l1 distance for `LANES` actions at a time, so that nothing
leaves the cache. Each lane is one action and all lanes do the same sums in the same order: equal
rows get equal distances, whatever the compiler makes of it.

Single precision decides who is near; `settle` computes what is left, those within `SLACK` of the
smallest distance, again in double precision and in one fixed order. Hence every method that finds
the nearest action gives the same action and the same distance, and ties go to the lowest id.

The types of the arguments stand where the loops are called (`search`, `graph`); `no_type_check`
keeps the tests' shape checks out of what is compiled.
"""

from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from offline_actrep.decoding.points import LANES

SLACK = 1e-4
"""How far (l1) single precision may err; rounding of the sums stays far below."""
ZERO, ONE = np.float32(0), np.float32(1)
LINE = 16
"""Floats that memory hands over at once."""


@intrinsic
@no_type_check
def _fetch(typingctx, flat, place):
    """Tells memory that flat[place] will be needed soon."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        where = builder.bitcast(builder.gep(array.data, [args[1]]), pointer)
        builder.call(function, [where, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(flat, place), codegen


@njit(inline="always")
@no_type_check
def _four(h, j, lane, start, w):
    total = start + h[j, lane] * w[0]
    total += h[j + 1, lane] * w[1]
    total += h[j + 2, lane] * w[2]
    return total + h[j + 3, lane] * w[3]


@njit(inline="always")
@no_type_check
def _weights(w, e, j):
    return w[e, j], w[e, j + 1], w[e, j + 2], w[e, j + 3]


@njit(fastmath={"contract"}, cache=True)
@no_type_check
def _block_points(h, w, c, out, flat, ahead):
    """out = W h + c of one block: five coordinates by four of h at once, then what is left.

    Meanwhile memory is asked for the next block, flat[ahead:], a little at every step (ahead < 0:
    for none); a fifth is saved on tables that no cache holds.
    """
    n_out, width = w.shape
    whole_out, whole = n_out - n_out % 5, width - width % 4
    steps = (whole_out // 5 + n_out - whole_out) * (whole // 4)
    each = width * LANES // LINE // max(steps, 1)
    for e in range(n_out):
        for lane in range(LANES):
            out[e, lane] = c[e]
    for e in range(0, whole_out, 5):
        for j in range(0, whole, 4):
            w0, w1, w2 = _weights(w, e, j), _weights(w, e + 1, j), _weights(w, e + 2, j)
            w3, w4 = _weights(w, e + 3, j), _weights(w, e + 4, j)
            if ahead >= 0:
                for _ in range(each):
                    _fetch(flat, ahead)
                    ahead += LINE
            for lane in range(LANES):
                out[e, lane] = _four(h, j, lane, out[e, lane], w0)
                out[e + 1, lane] = _four(h, j, lane, out[e + 1, lane], w1)
                out[e + 2, lane] = _four(h, j, lane, out[e + 2, lane], w2)
                out[e + 3, lane] = _four(h, j, lane, out[e + 3, lane], w3)
                out[e + 4, lane] = _four(h, j, lane, out[e + 4, lane], w4)
    for e in range(whole_out, n_out):
        for j in range(0, whole, 4):
            w0 = _weights(w, e, j)
            if ahead >= 0:
                for _ in range(each):
                    _fetch(flat, ahead)
                    ahead += LINE
            for lane in range(LANES):
                out[e, lane] = _four(h, j, lane, out[e, lane], w0)
    for e in range(n_out):
        for j in range(whole, width):
            w0_0 = w[e, j]
            for lane in range(LANES):
                out[e, lane] += h[j, lane] * w0_0


@njit(fastmath={"contract"}, cache=True)
@no_type_check
def scan(blocks, bent, shift, weight, bias, points, out):
    """out[s, a] = |point_s - phi(a; s)|_1 of all actions; out has room for whole blocks."""
    n_blocks, width, _ = blocks.shape
    n_out = weight.shape[1]
    hidden = np.empty((width, LANES), np.float32)
    place = np.empty((n_out, LANES), np.float32)
    flat = blocks.reshape(-1)
    for block in range(n_blocks):
        for s in range(len(points)):
            h = blocks[block]
            if bent:
                for j in range(width):
                    q = shift[s % len(shift), j]
                    for lane in range(LANES):
                        hidden[j, lane] = max(blocks[block, j, lane] + q, ZERO)
                h = hidden
            ahead = (block + 1) * width * LANES if s == 0 and block + 1 < n_blocks else -1
            _block_points(h, weight[s % len(weight)], bias[s % len(bias)], place, flat, ahead)
            row = out[s, block * LANES : (block + 1) * LANES]
            row[:] = ZERO
            for e in range(n_out):
                p = points[s, e]
                for lane in range(LANES):
                    row[lane] += abs(min(max(place[e, lane], -ONE), ONE) - p)


@njit(fastmath=True, cache=True)
@no_type_check
def _distance(u, bent, q, w, c, point, h):
    """|point - phi(a; s)|_1 of one action, by its row."""
    width = len(u)
    if bent:
        for j in range(width):
            h[j] = max(u[j] + q[j], ZERO)
        u = h
    total = ZERO
    for e in range(len(c)):
        x = c[e]
        for j in range(width):
            x += w[e, j] * u[j]
        total += abs(min(max(x, -ONE), ONE) - point[e])
    return total


@njit(cache=True)
@no_type_check
def listed(table, bent, shift, weight, bias, points, offsets, indices, out):
    """out[k] = the distance of the action indices[k], the row's own list of actions."""
    h = np.empty(table.shape[1], np.float32)
    for s in range(len(points)):
        q, w, c = shift[s % len(shift)], weight[s % len(weight)], bias[s % len(bias)]
        for k in range(offsets[s], offsets[s + 1]):
            out[k] = _distance(table[indices[k]], bent, q, w, c, points[s], h)


@njit(fastmath={"nnan", "nsz"}, cache=True)
@no_type_check
def _least(distances):
    least = np.float32(np.inf)
    for x in distances:
        least = min(least, x)
    return least


@njit(cache=True)
@no_type_check
def _exact(u, bent, layers, biases, q, w, c, point, h, spare):
    """The distance in double precision; h and spare are room for it."""
    width = len(u)
    for j in range(width):
        h[j] = max(np.float64(u[j]) + q[j], 0.0) if bent else np.float64(u[j])
    for layer in range(len(layers)):
        for i in range(width):
            x = np.float64(biases[layer, i])
            for j in range(width):
                x += layers[layer, i, j] * h[j]
            spare[i] = max(x, 0.0)
        h[:] = spare
    total = 0.0
    for e in range(len(c)):
        x = np.float64(c[e])
        for j in range(width):
            x += w[e, j] * h[j]
        total += abs(min(max(x, -1.0), 1.0) - point[e])
    return total


@njit(cache=True)
@no_type_check
def settle(
    table, bent, layers, biases, shift, weight, bias, points, offsets, indices, distances, best, gap
):
    """best[s], gap[s]: the nearest of a row's list, by double precision among the nearest.

    distances[k] is that of the action indices[k], or of the action k - offsets[s] if `indices` is
    empty. A row whose distances are not numbers gets its first action and NaN, one whose own list
    is empty the action 0 and NaN.
    """
    h, spare = np.empty(table.shape[1]), np.empty(table.shape[1])
    for s in range(len(points)):
        start, end = offsets[s], offsets[s + 1]
        q, w, c = shift[s % len(shift)], weight[s % len(weight)], bias[s % len(bias)]
        limit = _least(distances[start:end]) + SLACK
        best[s], gap[s] = indices[start] if len(indices) > 0 and start < end else 0, np.nan
        nearest = np.inf
        for k in range(start, end):
            if distances[k] <= limit:
                a = indices[k] if len(indices) else k - start
                found = _exact(table[a], bent, layers, biases, q, w, c, points[s], h, spare)
                if found < nearest or (found == nearest and a < best[s]):
                    best[s], gap[s], nearest = a, found, found


@njit(cache=True)
@no_type_check
def settle_few(
    table, bent, layers, biases, shift, weight, bias, points, offsets, indices, distances, best, gap
):
    """best[s], gap[s]: as many nearest of a row's list as they have columns, nearest first.

    The arguments are those of `settle`. Where a list is shorter, or its distances are not numbers,
    the action is -1 and the distance infinite.
    """
    h, spare = np.empty(table.shape[1]), np.empty(table.shape[1])
    count = best.shape[1]
    nearest = np.empty(count)
    for s in range(len(points)):
        start, end = offsets[s], offsets[s + 1]
        q, w, c = shift[s % len(shift)], weight[s % len(weight)], bias[s % len(bias)]
        limit = np.float32(np.inf)
        if end - start > count:
            limit = np.partition(distances[start:end], count - 1)[count - 1] + SLACK
        best[s], nearest[:] = -1, np.inf
        for k in range(start, end):
            if not distances[k] <= limit:
                continue
            a = indices[k] if len(indices) else k - start
            found = _exact(table[a], bent, layers, biases, q, w, c, points[s], h, spare)
            place = count
            while place > 0 and (
                found < nearest[place - 1]
                or (found == nearest[place - 1] and a < best[s, place - 1])
            ):
                place -= 1
                if place + 1 < count:
                    best[s, place + 1], nearest[place + 1] = best[s, place], nearest[place]
            if place < count:
                best[s, place], nearest[place] = a, found
        gap[s] = nearest


@njit(cache=True)
@no_type_check
def _push(keys, ids, n, key, one):
    """Onto a heap of n entries whose smallest key stands first."""
    k = n
    while k > 0 and keys[(k - 1) // 2] > key:
        keys[k], ids[k] = keys[(k - 1) // 2], ids[(k - 1) // 2]
        k = (k - 1) // 2
    keys[k], ids[k] = key, one


@njit(cache=True)
@no_type_check
def _sink(keys, ids, n, key, one):
    """The entry replaces the first of a heap of n."""
    k = 0
    while True:
        child = 2 * k + 1
        if child >= n:
            break
        if child + 1 < n and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[k], ids[k] = keys[child], ids[child]
        k = child
    keys[k], ids[k] = key, one


@njit(cache=True)
@no_type_check
def walk(
    table,
    bent,
    shift,
    weight,
    bias,
    points,
    neighbours,
    entries,
    at_entries,
    marks,
    found,
    distances,
):
    """found[s], distances[s]: the nearest actions met on a best-first walk over the graph.

    The walk keeps as many as `found` has columns and ends when the nearest node not yet followed
    is farther than all of them. `at_entries[s]` are the distances of the entries; `marks` has a
    number an action and one more, which counts the walks. Rows lie anywhere in memory: a node's
    neighbours are all asked for before the first of them is looked at, which halves the time.
    """
    beam = found.shape[1]
    h = np.empty(table.shape[1], np.float32)
    room = 16 * beam + len(entries)
    flat, width = table.reshape(-1), table.shape[1]
    near = np.empty(neighbours.shape[1], np.int64)
    open_keys, open_ids = np.empty(room, np.float32), np.empty(room, np.int64)
    for s in range(len(points)):
        q, w, c = shift[s % len(shift)], weight[s % len(weight)], bias[s % len(bias)]
        kept_keys, kept_ids = distances[s], found[s]
        kept, waiting = 0, 0
        marks[-1] += 1
        stamp = marks[-1]
        for k in range(len(entries)):
            a, d = entries[k], at_entries[s, k]
            marks[a] = stamp
            if kept < beam:
                _push(kept_keys, kept_ids, kept, -d, a)
                kept += 1
            elif d < -kept_keys[0]:
                _sink(kept_keys, kept_ids, beam, -d, a)
            else:
                continue
            _push(open_keys, open_ids, waiting, d, a)
            waiting += 1
        while waiting and (kept < beam or open_keys[0] <= -kept_keys[0]):
            node = open_ids[0]
            waiting -= 1
            _sink(open_keys, open_ids, waiting, open_keys[waiting], open_ids[waiting])
            fresh = 0
            for a in neighbours[node]:
                if a >= 0 and marks[a] != stamp:
                    marks[a] = stamp
                    near[fresh] = a
                    fresh += 1
                    for ahead in range(0, width, LINE):
                        _fetch(flat, a * width + ahead)
            for a in near[:fresh]:
                d = _distance(table[a], bent, q, w, c, points[s], h)
                if kept < beam:
                    _push(kept_keys, kept_ids, kept, -d, a)
                    kept += 1
                elif d < -kept_keys[0]:
                    _sink(kept_keys, kept_ids, beam, -d, a)
                else:
                    continue
                if waiting < room:
                    _push(open_keys, open_ids, waiting, d, a)
                    waiting += 1
        for k in range(beam):
            kept_keys[k] = -kept_keys[k] if k < kept else np.inf
            kept_ids[k] = kept_ids[k] if k < kept else kept_ids[0]
