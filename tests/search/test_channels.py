"""Observations through every channel at every noise, in networks and `infer`, against enumeration with 38 digits."""

import numpy as np
import pytest
import torch
from oracles.exact import WIDE, wide_log
from search.bounds import EPS, Bounds
from search.models import draw_model, seeds

import hgm


@seeds(40, 6000, each=20)
def test_channels(portion):
    for seed in portion:
        rng = np.random.default_rng([5, seed])
        model = draw_model(rng, labels=0.0)  # arrays of symbols are refused where labels are numbers
        channel, z, noise, logs = CHANNELS[rng.integers(len(CHANNELS))](rng, model, 3)
        dtypes = [torch.float64] if z.dtype == np.int64 and not noise else [torch.float64, torch.float32]
        for dtype in dtypes:
            try:
                check(rng, model, channel, [cast(x, dtype) for x in (z, *noise)], logs)
            except Exception as error:
                error.add_note(f"seed {seed}, {dtype}, {channel}, noise of shapes {[np.shape(x) for x in noise]}")
                raise


def cast(x, dtype):
    x = torch.as_tensor(x)
    return x.to(dtype) if x.is_floating_point() else x


def leaves_of(model):
    """The shape of the leaves, and how many states the channel has."""
    leaves = model.tree.leaves
    return model.tree.leaf_shape, max(model.cards[v] for v in leaves)


def shaped(rng, draw, rows, states, shape):
    """Noise of any of the shapes."""
    sizes = [(), (rows,), (rows, *shape), (rows, *(1,) * len(shape)), (rows, states, *shape), (1, states, *shape)]
    return np.asarray(draw(sizes[rng.integers(len(sizes))]))


def per_state(x, rows, states, shape):
    """Noise of any shape as one of each state, ``(B, S, *shape)``."""
    x = np.asarray(x, WIDE)
    if x.ndim < 2:
        x = x.reshape(-1, 1, *(1,) * len(shape))
    elif x.ndim == 1 + len(shape):
        x = x[:, None]
    return np.broadcast_to(x, (rows, states, *shape))


def gaussian(rng, model, rows):
    shape, states = leaves_of(model)
    k = int(rng.integers(1, 4)) if rng.random() < 0.3 else 0
    values = rng.normal(size=(states, k) if k else states) * 10.0 ** rng.integers(-2, 3)
    scale = 10.0 ** rng.uniform(-6, 6)
    sigma = shaped(rng, lambda size: scale * rng.uniform(0.5, 2, size), rows, states, shape)
    far = rng.choice([0.0, 1.0, 1e3, 1e6], size=(rows, *shape)) * (rng.random((rows, *shape)) < 0.4)
    truth = rng.integers(0, states, (rows, *shape))
    z = values[truth] if not k else np.moveaxis(values[truth], -1, 1)
    spread = np.broadcast_to(np.max(sigma), shape)
    z = z + (spread * rng.normal(size=z.shape)) + (far[:, None] if k else far)
    noise = [sigma]
    if rng.random() < 0.3:
        noise.append(shaped(rng, lambda size: rng.uniform(0.1, 1, size), rows, states, shape))
    channel = hgm.Gaussian(values)
    missing = rng.random() < 0.3
    if missing:
        channel = hgm.Missing(channel)
        z = np.where(rng.random(z.shape) < 0.3, np.nan, z)

    def logs(kind, z, sigma, alpha=1.0):
        s, a = (per_state(x, rows, states, shape) for x in (sigma, alpha))
        parts = np.moveaxis(z, 1, -1)[:, None] if k else z[:, None, ..., None]
        table = values.astype(kind).reshape(1, states, *(1,) * len(shape), max(k, 1))
        apart = (parts.astype(WIDE) - a[..., None] * table.astype(WIDE)) ** 2
        e = -apart.sum(-1) / (2 * s**2)
        if np.ndim(sigma) == 2 + len(shape):
            e = e - max(k, 1) * wide_log(s)
        return np.where(np.isnan(parts).any(-1), 0, e)

    return channel, z, noise, logs


def symbols(rng, model, rows):
    """Symbols that the leaves have, some missing."""
    shape, states = leaves_of(model)
    cards = np.array([model.cards[v] for v in model.tree.leaves]).reshape(shape)
    x = (rng.random((rows, *shape)) * cards).astype(np.int64)
    return np.where(rng.random(x.shape) < 0.2, -1, x), shape, states


def clamp(rng, model, rows):
    x, shape, states = symbols(rng, model, rows)
    keep = [rng.random(x.shape) < 0.6] if rng.random() < 0.5 else []
    channel = hgm.Erasure() if keep or rng.random() < 0.3 else hgm.Clamp()

    def logs(_, z, keep=None):
        z = z if keep is None else np.where(keep, z, -1)
        at = np.arange(states).reshape(1, -1, *(1,) * len(shape))
        return wide_log((z[:, None] == at) | (z[:, None] < 0))

    return channel, x, keep, logs


def flip(rng, model, rows):
    x, shape, states = symbols(rng, model, rows)
    some = np.array([0.0, 1.0, 1e-30, 1e-6, 0.3, 0.999, 0.5])

    def draw(size):
        return rng.choice(some if rng.random() < 0.5 else some[2:], size)

    eps = shaped(rng, draw, rows, states, shape)

    def logs(_, z, eps):
        p = per_state(eps, rows, states, shape)
        hit = z[:, None] == np.arange(states).reshape(1, -1, *(1,) * len(shape))
        e = np.where(hit, wide_log(1 - p), wide_log(p / max(states - 1, 1)))
        return np.where(z[:, None] < 0, 0, e)

    return hgm.Flip(), x, [eps], logs


CHANNELS = [gaussian, gaussian, clamp, flip]


def check(rng, model, channel, observation, logs):
    """What networks in the precision of the observation say, and `infer` in double."""
    dtype = next((x.dtype for x in observation if x.is_floating_point()), torch.float64)
    nets = {task: hgm.compile(model.tree, task, channel=channel).to(dtype) for task in ("classify", "denoise")}

    def network(*given):
        return nets["classify"](*given), nets["denoise"](*given), nets["denoise"].log_partition(*given)

    def reference(*given):
        post = hgm.infer(model.tree, *given, channel=channel)
        return post[model.tree.names[0]], post.mean(channel), post.log_partition

    compare(model, channel, observation, logs, (network, dtype))
    compare(model, channel, observation, logs, (reference, torch.float64))


def compare(model, channel, observation, logs, ask):
    call, dtype = ask
    tree, leaves, kind = model.tree, model.tree.leaves, str(dtype)[6:]
    raw = logs(kind, *(x.numpy() for x in observation))
    raw = raw.reshape(*raw.shape[:2], len(leaves))
    e = np.zeros((len(raw), max(model.cards), len(tree)), WIDE)
    e[:, : raw.shape[1], leaves] = raw
    exact = model.exact.given(e)
    if exact.impossible.any():
        with pytest.raises(hgm.ImpossibleEvidence) as refused:
            call(*observation)
        assert list(refused.value.rows) == np.flatnonzero(exact.impossible).tolist()
        return
    seen = np.zeros(len(raw))  # rounding of the log evidence itself, of the states that count
    for i, v in enumerate(leaves):
        likely = exact.marginal(v) > 1e-25
        seen += np.where(likely, np.abs(raw[:, : model.cards[v], i]).astype(float), 0).max(1)
    root, mean, total = call(*observation)
    assert root.dtype == mean.dtype == dtype
    bounds = Bounds(exact, dtype, 4 * EPS[dtype] * seen)
    bounds.probabilities(root, exact.marginal(0), f"posterior of the root, {kind}")
    bounds.totals(total, exact.log_z, f"log Z, {kind}")
    values = channel.bound(raw.shape[1]).table().to(dtype).double().numpy()
    values = values.reshape(len(values), -1)
    mean = mean if mean.ndim == 1 + len(tree.leaf_shape) else mean.movedim(1, -1)
    mean = mean.double().numpy().reshape(len(raw), len(leaves), -1)
    for i, v in enumerate(leaves):
        p = exact.marginal(v)
        want = p @ values[: model.cards[v]]
        slack = bounds.slack(p).sum(1)[:, None] * np.ptp(values, 0) + 4 * EPS[dtype] * np.abs(values).max(0)
        assert (np.abs(mean[:, i] - want) <= slack).all(), f"mean {v}, {kind}: {mean[:, i]} for {want}"
