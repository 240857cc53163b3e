"""The algebra of segments against a plain sweep along paths, in both number systems and however paths are cut."""

import numpy as np
import pytest
import torch

from hgm.compiler.segments import Layout, Linear, Logs, down, up

LENGTHS = [7, 5, 1, 3, 6]
S, B = 3, 4


def cut(longest, every=1):
    """Segments of at most so many variables: the variables ``(path, height)`` as a `Layout` has them, and that."""
    pieces = [(p, g, min(longest, n - g)) for p, n in enumerate(LENGTHS) for g in range(0, n, longest)]
    pieces.sort(key=lambda piece: -piece[2])
    number = {(p, g): i for i, (p, g, _) in enumerate(pieces)}
    running = tuple(sum(n > t for *_, n in pieces) for t in range(pieces[0][2]))
    order = [(p, g + t) for t, k in enumerate(running) for p, g, _ in pieces[:k]]
    tops = torch.tensor([number[p, (n - 1) // longest * longest] for p, n in enumerate(LENGTHS)])
    by_count = sorted(range(len(LENGTHS)), key=lambda p: -((LENGTHS[p] - 1) // longest))
    chain = [[(p, g) for p in by_count if g < LENGTHS[p]] for g in range(0, max(LENGTHS), longest)]
    links = [at for level in chain[1:] for at in level]
    numbers = torch.tensor([number[at] for level in chain for at in level])
    return order, links, Layout(running, tops, every, tuple(map(len, chain)), numbers, torch.tensor(by_count))


def of_sum_one(x):
    return x / x.sum(0)


@pytest.mark.parametrize("of", [Linear, Logs])
@pytest.mark.parametrize("longest", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("every", [1, 2, 100])
@pytest.mark.parametrize("zeros", [False, True])
def test_both_sweeps_are_those_of_a_plain_one(of, longest, every, zeros):
    generator = torch.Generator().manual_seed(longest)

    def draw(*shape):
        x = torch.rand(shape, generator=generator, dtype=torch.float64)
        return torch.where(x < 0.2, 0.0, x) if zeros else x + 0.01

    order, joins, layout = cut(longest, every)
    own = {at: draw(S, B) + torch.eye(S, B) * 0.1 + (torch.arange(B) == S) * 0.1 for at in order}
    edge = {at: draw(S, S) + torch.eye(S) * 0.1 for at in order}  # from the variable below to this one
    own = {at: x / x.amax(0) for at, x in own.items()}
    h, s, r = {}, {}, {}
    for p, n in enumerate(LENGTHS):
        for i in range(n):
            s[p, i] = edge[p, i] @ h[p, i - 1] if i else torch.ones(S, B, dtype=torch.float64)
            h[p, i] = own[p, i] * s[p, i]
    above = draw(len(LENGTHS), S, B) + 0.1
    for p, n in enumerate(LENGTHS):
        r[p, n - 1] = above[p]
        for i in reversed(range(1, n)):
            r[p, i - 1] = edge[p, i].T @ (own[p, i] * r[p, i])
    to, back = (torch.log, torch.exp) if of is Logs else (lambda x: x, lambda x: x)
    o = to(torch.stack([own[at] for at in order]))
    line = to(torch.stack([edge[at] for at in order])[layout.running[0] :])
    links = to(torch.stack([edge[at] for at in joins])) if joins else None
    swept = up(of, o, line, links, layout)
    got = down(of, o, to(above), line, links, swept, layout)
    possible = [p for p, n in enumerate(LENGTHS) if bool((h[p, n - 1].sum(0) > 0).all())]
    assert len(possible) > 2
    for j, (p, i) in enumerate(order):
        if p in possible:
            torch.testing.assert_close(of_sum_one(back(swept.below[j])), of_sum_one(s[p, i]))
            b = own[p, i] * s[p, i] * r[p, i]
            rho = back(o[j] + swept.below[j] + got[j]) if of is Logs else o[j] * swept.below[j] * got[j]
            torch.testing.assert_close(of_sum_one(rho), of_sum_one(b))
    tops = torch.stack([h[p, n - 1].sum(0) for p, n in enumerate(LENGTHS)])
    if len(possible) == len(LENGTHS):
        scale = sum(x.sum((0, 1)) if of is Logs else x.log().sum((0, 1)) for x in swept.taken)
        torch.testing.assert_close(back(swept.tops).sum(1).log().sum(0) + scale, tops.log().sum(0))


def test_long_paths_in_float32_do_not_underflow():
    """A chain of 3,000 whose messages shrink by 1e-3 at each step, scaled every 8 steps, in float32."""
    n, longest = 3000, 100
    w = torch.tensor([[1e-3, 2e-3], [2e-3, 1e-3]])
    count = n // longest
    layout = Layout(
        (count,) * longest, torch.tensor([count - 1]), 8, (1,) * count, torch.arange(count), torch.zeros(1).long()
    )
    o = torch.rand(n, 2, 1, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.5
    line, links = w.expand(n - count, 2, 2), w.expand(count - 1, 2, 2)
    swept = up(Linear, o, line, links, layout)
    got = down(Linear, o, torch.ones(1, 2, 1), line, links, swept, layout)
    logs = [x.double().log() for x in (o, torch.ones(1, 2, 1), line, links)]
    exact = up(Logs, logs[0], *logs[2:], layout)
    want = down(Logs, *logs, exact, layout)
    for a, b in ((swept.below, exact.below), (got, want)):
        a, b = a.double(), b.exp()
        assert a.min() > 0
        torch.testing.assert_close(a / a.sum(1, keepdim=True), b / b.sum(1, keepdim=True), atol=1e-6, rtol=1e-5)


def test_a_layout_has_every_variable_once():
    for longest in (1, 2, 3, 100):
        order, joins, layout = cut(longest)
        assert sorted(order) == [(p, i) for p, n in enumerate(LENGTHS) for i in range(n)]
        assert sum(layout.running) == len(order) and np.all(np.diff(layout.running) <= 0)
        assert len(joins) == len(layout.chain) - len(LENGTHS)
