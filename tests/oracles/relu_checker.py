"""An independent check of a ReLU network's bound, from its emitted weights and the model alone.

It shares no code with the compiler: it reads tensors by name, evaluates the piecewise-linear functions that they mean
in plain NumPy, bounds their error on fine grids plus second-derivative bounds (no closed forms), and adds the errors up
message by message in dictionaries. It knows all constructions, and every kind of factor.

A factor's map is checked against its table ``(receiver's states, first sender's states, second sender's, ...)``, where
only states that are possible at all take part. Columns are combinations of the senders' states.
"""

import math

import numpy as np

STEP = 2e-3  # of the grids: a function with |g''| <= c is off its chords by at most c STEP^2 / 8
PARTS = 64  # of each piece, where pieces have very different lengths


def tensors(module):
    return {name: p.detach().double().numpy() for name, p in module.named_parameters()}


def softplus(x):
    return np.logaddexp(0.0, x)


def ramps(x, kinks, changes):
    """``sum_i changes_i relu(x - kinks_i)`` at many x: two sums over the kinks on the left of x."""
    order = np.argsort(kinks)
    kinks, changes = kinks[order], changes[order]
    slope, shift = (np.append(0.0, np.cumsum(c)) for c in (changes, changes * kinks))
    left = np.searchsorted(kinks, x)
    return slope[left] * x - shift[left]


def fine(kinks, first, last):
    """The kinks between first and last, these two, and a grid on every piece."""
    corners = np.unique(np.append(kinks[(kinks > first) & (kinks < last)], [first, last]))
    inner = corners[:-1, None] + np.diff(corners)[:, None] * np.arange(PARTS) / PARTS
    return np.append(inner, corners[-1])


def oscillation(low, high):
    """Largest difference of two rows' errors, each within [low, high]."""
    apart = ~np.eye(len(low), dtype=bool)
    return float(np.subtract.outer(high, low)[apart].max(initial=0.0))


# ---------------------------------------------------------------------- the error of one map


def constant_error(w, log_psi):
    assert len(w["message"]) == len(log_psi)
    used = log_psi[:, np.isfinite(log_psi).any(0)]
    return float(np.ptp(used - w["message"], axis=0).max()) if np.isfinite(used).all() else math.inf


def difference_error(w, log_psi):
    """Largest |p - g| over the line, g(x) = the difference of the two outputs; |g''| <= 1/2."""
    (a, b), (c, d) = log_psi[1], log_psi[0]

    def g(x):
        return np.logaddexp(a, b + x) - np.logaddexp(c, d + x)

    def p(x):
        z = np.maximum(w["width"] - np.maximum(x - w["first"], 0.0), 0.0)
        return w["offset"] + w["slope"] * z + ramps(z, np.atleast_1d(w["kinks"]), np.atleast_1d(w["changes"]))

    first, last = float(w["first"]), float(w["first"] + w["width"])
    kinks = last - np.atleast_1d(w["kinks"])
    grid = np.unique(
        np.concatenate([np.arange(first, last, STEP), kinks[(kinks > first) & (kinks < last)], [first, last]])
    )
    error = np.abs(p(grid) - g(grid)).max() + 0.5 * STEP**2 / 8 + 1e-12
    left, right = p(np.array([first - 1.0])), p(np.array([last + 1.0]))  # flat, while g is monotone
    ends = [abs(left - (a - c)), abs(left - g(first)), abs(right - (b - d)), abs(right - g(last))]
    return max(error, *(float(np.max(e)) for e in ends))


def tail_range(kinks, changes, level):
    """Range of p(t) - log(1 + e^-t) over t >= 0, p(t) = level + sum changes relu(kinks - t); |g''| <= 1/4."""
    top = float(np.max(kinks, initial=0.0))
    grid = np.append(np.arange(0.0, top, STEP), [top, *kinks])
    grid = np.unique(grid[(grid >= 0) & (grid <= top)])
    error = level + ramps(-grid, -kinks, changes) - softplus(-grid)
    slack = 0.25 * STEP**2 / 8 + 1e-12
    beyond = [level - softplus(-top), level]  # p is level there, and g falls to 0
    return min(error.min() - slack, *beyond), max(error.max() + slack, *beyond)


def tournament_error(module, w, takes, table):
    """Errors of the rounds, row by row, on the network that the weights make; also checks its entries and weights.

    The entries of a row are all non-zero entries of the table there, each once, in any order.
    """
    widths = np.isfinite(table).reshape(len(table), -1).sum(1)
    rows = np.repeat(np.arange(len(table)), widths)
    places = (rows, *(take[module.entry.numpy()] for take in takes))
    assert len(set(zip(*places, strict=True))) == len(rows)
    off = w["log_psi"][:, 0] - table[places]
    assert np.isfinite(off).all()
    slots = [(r, float(o), float(o)) for r, o in zip(rows, off, strict=True)]  # row, error low, error high
    for i, draw in enumerate(module.rounds):
        low, high = tail_range(w[f"rounds.{i}.kinks"], w[f"rounds.{i}.changes"], float(w[f"rounds.{i}.level"]))
        left, right, order = draw.left.tolist(), draw.right.tolist(), draw.order.tolist()
        winners = []
        for i0, i1 in zip(left, right, strict=True):
            (r, l0, h0), (r1, l1, h1) = slots[i0], slots[i1]
            assert r == r1
            winners.append((r, min(l0, l1) + low, max(h0, h1) + high))
        met = [len(winners) + j for j in (*left, *right)]
        assert sorted((*order, *met)) == list(range(len(winners) + len(slots)))  # every slot meets or passes, once
        slots = [(winners + slots)[j] for j in order]
    assert [r for r, _, _ in slots] == list(range(len(table)))
    return oscillation([low for _, low, _ in slots], [high for _, _, high in slots])


def exp_log_error(w, log_psi):
    """The error of L(y'), y' = sum_a v_a E(x_a), for y = sum_a p_a e^(x_a), over all x with maximum 0; row by row.

    First let v = p. With one x_a = 0 of weight p_0, y'/y is a weighted average of the ratios

        R(x) = (E(0) + rho E(x)) / (1 + rho e^x)

    at the other x_a, rho = (sum_a p_a - p_0) / p_0. For a smaller rho, R(x) lies between R(0) = E(0) and this one, so
    the range of R for the largest rho is that of y'/y. Between two kinks log R is concave: it is smallest at the ends
    of a piece, and the grid misses its maximum by little. As E >= 0, another v changes y' at most by the factors v_a /
    p_a. On its pieces L(y') - log y' is convex.
    """
    x = fine(w["exp_kinks"], w["exp_kinks"].min(initial=0.0), 0.0)
    e = w["exp_offset"] + ramps(x, w["exp_kinks"], w["exp_changes"])
    psi, end = w["psi"], e[-1]
    assert psi.shape == log_psi.shape
    if e.min() < 0 or end <= 0 or psi.min() <= 0:
        return math.inf
    ranges = []
    for s, log_p in enumerate(log_psi):
        p = np.exp(log_p - log_p.max())
        rho = (p.sum() - p.min()) / p.min()
        mix = end + rho * e
        rest = rho * np.exp(x)
        log_r = np.log(mix) - np.log1p(rest)
        # |log_r''| = (rho E' / mix)^2 + rest / (1 + rest)^2, and rho E' is the change of mix over a step
        bulge = (np.diff(mix) / np.minimum(mix[1:], mix[:-1])) ** 2 / 8
        bulge += np.minimum(rest[1:], 0.25) * np.diff(x) ** 2 / 8
        highest = np.maximum(log_r[1:], log_r[:-1]) + bulge
        far = np.log(mix[0])  # of E left of its kinks, where it is flat and e^x falls to 0
        factor = np.log(psi[s]) - log_p

        total, least = psi[s].sum(), psi[s].min()
        bottom, top = (total * value + least * (end - value) for value in (e.min(), e.max()))
        y = fine(w["log_kinks"][s], bottom * (1 - 1e-12), top * (1 + 1e-12))
        error = w["log_slope"][s] * y + w["log_offset"][s] - np.log(y)
        error += ramps(-y, -w["log_kinks"][s], w["log_changes"][s])
        sag = (np.diff(y) / y[:-1]) ** 2 / 8  # |log''| <= 1 / y^2
        ranges.append((
            factor.min() + min(log_r.min(), far) + (np.minimum(error[1:], error[:-1]) - sag).min(),
            factor.max() + max(log_r.max(), far, highest.max(initial=-math.inf)) + error.max(),
        ))  # fmt: skip
    return oscillation(*np.transpose(ranges))


def map_error(layer, table, allowed):
    """The error of a map, after a look at its wiring; `allowed`: the possible states, axis by axis of the table."""
    module, w = layer.matrix, tensors(layer.matrix)
    takes = [getattr(layer, f"take_{j}").numpy() for j in range(table.ndim - 1)]
    rows, *senders = allowed
    assert layer.place is None or np.array_equal(layer.place.numpy()[rows], np.arange(len(rows)))
    assert layer.place is not None or np.array_equal(rows, np.arange(len(rows)))
    assert not layer.identity or np.array_equal(takes[0], np.arange(len(takes[0])))
    assert all(np.isin(take, states).all() for take, states in zip(takes, senders, strict=True))
    flat = table[np.ix_(*allowed)].reshape(len(rows), -1)
    if len(rows) == 1:
        return 0.0
    if module.kind == "constant":
        return constant_error(w, flat)
    if module.kind == "C":
        live = np.full(table.shape, -np.inf)
        live[np.ix_(*allowed)] = table[np.ix_(*allowed)]
        return tournament_error(module, w, takes, live[rows])
    columns = set(zip(*takes, strict=True))
    assert len(columns) == len(takes[0]) == np.isfinite(flat).any(0).sum()
    log_psi = table[(rows[:, None], *takes)]
    if not np.isfinite(log_psi).all():
        return math.inf
    if module.kind == "D":
        return difference_error(w, log_psi)
    # A, B: the input has maximum 0 only if all combinations of states are among the columns, or it is made so
    return exp_log_error(w, log_psi) if len(columns) == flat.shape[1] or layer.normalizes else math.inf


def birkhoff(table):
    """tanh(Delta / 4), Delta the largest log cross ratio; rows are those of the matrix of all other axes."""
    flat = table.reshape(len(table), -1)
    flat = flat[:, np.isfinite(flat).any(0)]
    if len(flat) > 1 and not np.isfinite(flat).all():
        return 1.0
    return math.tanh(max((np.ptp(row - other) for row in flat for other in flat), default=0.0) / 4)


# ---------------------------------------------------------------------- the errors of all messages


def factors_of(tree):
    """The factors ``[(names, table)]`` of a tree."""
    names = [[tree.names[int(v)] for v in tree.scope_of(f)] for f in range(tree.factors)]
    return [(scope, np.exp(tree.potential_of(f).dense_log())) for f, scope in enumerate(names)]


def possible_states(factors):
    """``{name: states}`` that some assignment without a zero has: states without support are struck out to the end."""
    possible = {v: np.ones(n, bool) for scope, table in factors for v, n in zip(scope, table.shape, strict=True)}
    changes = True
    while changes:
        changes = False
        for scope, table in factors:
            support = np.isfinite(table)
            for axis, v in enumerate(scope):
                support = support & np.expand_dims(possible[v], [i for i in range(table.ndim) if i != axis])
            for axis, v in enumerate(scope):
                mine = support.any(tuple(i for i in range(table.ndim) if i != axis))
                changes |= bool((mine != possible[v]).any())
                possible[v] = mine
    return {v: np.flatnonzero(mask) for v, mask in possible.items()}


def layers_of(net):
    """The maps ``{names of a factor: [up, down to each child]}``."""
    tree = net.plan.tree
    found = {}
    for stage in net.encoder:
        plan = net.plan.stages[stage.level]
        factors = np.concatenate([op.factors for op in plan.ops])
        factors = factors if plan.take is None else factors[plan.take]  # slot by slot
        factors = factors if stage.untake is None else factors[stage.untake.numpy()]  # group by group
        maps = [(ascend, *descend) for op in stage.ops for ascend, descend in zip(op.up, op.down, strict=True)]
        ends = np.cumsum([size for op in stage.ops for size in op.sizes])
        for group, mine in zip(np.split(factors, ends[:-1]), maps, strict=True):
            for f in group:
                found[tuple(tree.names[int(v)] for v in tree.scope_of(int(f)))] = list(mine)
    return found


def check(net, factors, roots):
    """The bound at every variable, ``{name: E_b}``.

    Args:
        net: a U-Net of ReLUs.
        factors: ``[(names, table)]`` of a forest.
        roots: names of the roots.
    """
    with np.errstate(divide="ignore"):
        factors = [(tuple(scope), np.log(table)) for scope, table in factors]
    possible, layers = possible_states(factors), layers_of(net)
    below, waiting = {}, [(scope, table) for scope, table in factors if len(scope) > 1]
    sequence = list(roots)
    for v in sequence:  # the factors below v: their maps and members, parent first
        below[v] = []
        for scope, table in [factor for factor in waiting if v in factor[0]]:
            axis = scope.index(v)
            members = [v, *scope[:axis], *scope[axis + 1 :]]
            below[v].append((layers[scope], members, np.moveaxis(table, axis, 0)))
            sequence += members[1:]
        waiting = [factor for factor in waiting if v not in factor[0]]
    assert not waiting
    known = {}

    def error(maps, members, table, i):
        """Omega and tau of the message to member i."""
        table = np.moveaxis(table, i, 0)
        allowed = [possible[members[i]], *(possible[v] for j, v in enumerate(members) if j != i)]
        key = (id(maps[i]), table.tobytes(), table.shape, *(states.tobytes() for states in allowed))
        if key not in known:
            known[key] = map_error(maps[i], table, allowed) + 1e-9, birkhoff(table[np.ix_(*allowed)])
        return known[key]

    h, q, d = {}, {}, dict.fromkeys(roots, 0.0)
    for v in reversed(sequence):
        for maps, members, table in below[v]:
            omega, tau = error(maps, members, table, 0)
            q[tuple(members)] = omega + tau * sum(h[c] for c in members[1:])
        h[v] = sum(q[tuple(members)] for _, members, _ in below[v])
    for v in sequence:
        for maps, members, table in below[v]:
            beside = sum(q[tuple(others)] for _, others, _ in below[v] if others != members)
            for i, c in enumerate(members[1:], 1):
                omega, tau = error(maps, members, table, i)
                d[c] = omega + tau * (d[v] + beside + sum(h[s] for s in members[1:] if s != c))
    return {v: h[v] + d[v] for v in sequence}


def recomputed(net, factors=None):
    """The bound on the log posterior of all variables; `factors` default to those of the network's tree."""
    tree = net.plan.tree
    factors = factors_of(tree) if factors is None else factors
    return max(check(net, factors, [tree.names[int(v)] for v in tree.roots]).values())
