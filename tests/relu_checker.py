"""An independent check of a ReLU network's bound, from its emitted weights and the model alone.

It shares no code with the compiler: it reads tensors by name, evaluates the piecewise-linear functions that they mean
in plain NumPy, bounds their error on fine grids plus second-derivative bounds (no closed forms), and adds the errors up
message by message in dictionaries. It knows the constructions C and D, and constants.
"""

import math

import numpy as np

STEP = 2e-3  # of the grids: a function with |g''| <= c is off its chords by at most c STEP^2 / 8


def tensors(module):
    return {name: p.detach().double().numpy() for name, p in module.named_parameters()}


def softplus(x):
    return np.logaddexp(0.0, x)


def tail_range(kinks, changes, level):
    """Range of p(t) - log(1 + e^-t) over t >= 0, p(t) = level + sum changes relu(kinks - t); |g''| <= 1/4."""
    top = float(np.max(kinks, initial=0.0))
    grid = np.append(np.arange(0.0, top, STEP), [top, *kinks])
    grid = np.unique(grid[(grid >= 0) & (grid <= top)])
    p = level + (np.maximum(kinks - grid[:, None], 0.0) * changes).sum(1)
    error = p - softplus(-grid)
    slack = 0.25 * STEP**2 / 8 + 1e-12
    beyond = [level - softplus(-top), level]  # p is level there, and g falls to 0
    return min(error.min() - slack, *beyond), max(error.max() + slack, *beyond)


def difference_error(w, log_psi):
    """Largest |p - g| over the line, g(x) = the difference of the two outputs; |g''| <= 1/2."""
    (a, b), (c, d) = log_psi[1], log_psi[0]

    def g(x):
        return np.logaddexp(a, b + x) - np.logaddexp(c, d + x)

    def p(x):
        z = np.maximum(w["width"] - np.maximum(x - w["first"], 0.0), 0.0)
        bends = np.maximum(z[:, None] - np.atleast_1d(w["kinks"]), 0.0) @ np.atleast_1d(w["changes"])
        return w["offset"] + w["slope"] * z + bends

    first, last = float(w["first"]), float(w["first"] + w["width"])
    kinks = last - np.atleast_1d(w["kinks"])
    grid = np.unique(
        np.concatenate([np.arange(first, last, STEP), kinks[(kinks > first) & (kinks < last)], [first, last]])
    )
    error = np.abs(p(grid) - g(grid)).max() + 0.5 * STEP**2 / 8 + 1e-12
    left, right = p(np.array([first - 1.0])), p(np.array([last + 1.0]))  # flat, while g is monotone
    ends = [abs(left - (a - c)), abs(left - g(first)), abs(right - (b - d)), abs(right - g(last))]
    return max(error, *(float(np.max(e)) for e in ends))


def tournament_error(module, w, log_psi):
    """Errors of the rounds, row by row, on the network that the weights make; also checks its entries' weights."""
    rows, columns = np.nonzero(np.isfinite(log_psi))
    entry = module.entry.numpy()
    assert np.array_equal(entry, columns)
    off = w["log_psi"][:, 0] - log_psi[rows, columns]
    slots = [(r, float(o), float(o)) for r, o in zip(rows, off, strict=True)]  # row, error low, error high
    for i, draw in enumerate(module.rounds):
        low, high = tail_range(w[f"rounds.{i}.kinks"], w[f"rounds.{i}.changes"], float(w[f"rounds.{i}.level"]))
        winners = []
        for left, right in zip(draw.left.tolist(), draw.right.tolist(), strict=True):
            (r, l0, h0), (r1, l1, h1) = slots[left], slots[right]
            assert r == r1
            winners.append((r, min(l0, l1) + low, max(h0, h1) + high))
        slots = [(winners + slots)[j] for j in draw.order.tolist()]
    assert [r for r, _, _ in slots] == list(range(len(log_psi)))
    return max((h - lo for r, _, h in slots for s, lo, _ in slots if r != s), default=0.0)


def constant_error(w, log_psi):
    used = log_psi[:, np.isfinite(log_psi).any(0)]
    return 0.0 if len(log_psi) == 1 else float(np.ptp(used - w["message"], axis=0).max())


def map_error(module, log_psi):
    w = tensors(module)
    if module.kind == "constant":
        return constant_error(w, log_psi)
    return {"C": lambda: tournament_error(module, w, log_psi), "D": lambda: difference_error(w, log_psi)}[module.kind]()


def birkhoff(log_psi):
    if len(log_psi) == 1:
        return 0.0
    if not np.isfinite(log_psi).all():
        return 1.0
    spread = max(
        abs(log_psi[i, k] + log_psi[j, m] - log_psi[i, m] - log_psi[j, k])
        for i in range(len(log_psi))
        for j in range(i)
        for k in range(log_psi.shape[1])
        for m in range(k)
    ) if log_psi.shape[1] > 1 else 0.0  # fmt: skip
    return math.tanh(spread / 4)


def check(net, edges, roots):
    """The bound at every variable, ``{name: E_b}``, for a tree of edges on which every state is possible.

    Args:
        net: a `ReluUNet`.
        edges: ``{(parent, child): log matrix (parent states, child states)}``.
        roots: names of the roots.
    """
    tree = net.plan.tree
    children = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    up, down = {}, {}
    for stage in net.encoder:
        plan = net.plan.stages[stage.level]
        for op, op_plan in zip(stage.ops, plan.ops, strict=True):
            order = np.arange(op.factors) if op.arrangement.order is None else op.arrangement.order.numpy()
            start = 0
            for size, ascend, (descend,) in zip(op.sizes, op.up, op.down, strict=True):
                for f in op_plan.factors[order[start : start + size]]:
                    parent = tree.names[int(tree.parent[f])]
                    (child,) = [tree.names[int(v)] for v in tree.children_of(int(f))]
                    up[parent, child], down[parent, child] = ascend.matrix, descend.matrix
                start += size
    known = {}

    def error(module, table):
        key = (id(module), table.tobytes(), table.shape)
        if key not in known:
            known[key] = map_error(module, table) + 1e-9, birkhoff(table)
        return known[key]

    h, q, d = {}, {}, {}
    sequence = list(roots)
    for v in sequence:
        sequence += children.get(v, [])
    for v in reversed(sequence):
        h[v] = 0.0
        for c in children.get(v, []):
            omega, tau = error(up[v, c], edges[v, c])
            q[c] = omega + tau * h[c]
            h[v] += q[c]
    for v in sequence:
        d.setdefault(v, 0.0)
        for c in children.get(v, []):
            omega, tau = error(down[v, c], np.ascontiguousarray(edges[v, c].T))
            d[c] = omega + tau * (d[v] + sum(q[s] for s in children[v] if s != c))
    return {v: h[v] + d[v] for v in sequence}
