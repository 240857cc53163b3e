"""Random evidence in random forms, of variables and states of all names, means the same to all that read it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from search.models import draw_model, seeds

import hgm
from hgm.evidence.data import read_data


@seeds(80, 8000, each=40)
def test_ways(portion):
    for seed in portion:
        rng = np.random.default_rng([6, seed])
        model = draw_model(rng)
        rows = int(rng.choice([1, 2, 3, 4, 5]))
        ways = {}
        try:
            check_leaves(rng, model)
            check(rng, model, rows, ways)
        except Exception as error:
            error.add_note(f"seed {seed}: {ways}")
            raise


def check(rng, model, rows, ways):
    tree = model.tree
    e = np.zeros((rows, max(model.cards), len(tree)))
    given, batched = {}, False
    alive = np.argwhere(~model.exact.dead[0])
    truth = alive[rng.integers(len(alive), size=rows)]
    for v, card in enumerate(model.cards):
        e[:, card:, v] = -np.inf
        if rng.random() < 0.3:
            continue
        name, called = tree.names[v], model.called(v)
        kind = rng.choice(["states", "states", "allowed", "soft"])
        if kind == "soft":
            likelihood = rng.integers(0, 9, (rows, card)) / 8 + (np.arange(card) == truth[:, v, None])
            forms = soft_forms(called, likelihood)
        else:
            keep = (rng.random((rows, card)) < (0.5 if kind == "allowed" else 0)) | (
                np.arange(card) == truth[:, v, None]
            )
            keep |= (rng.random((rows, 1)) < 0.3) & (rng.random() < 0.6)
            likelihood = keep.astype(float)
            forms = allowed_forms(called, keep)
            if kind == "states":
                forms |= state_forms(
                    rng,
                    called,
                    [None if keep[b].all() else int(truth[b, v]) for b in range(rows)],
                    tree.labels(v) is None,
                )
        if rows == 1:
            forms |= single_forms(called, likelihood[0])
        numbers = [form for form in forms if form in NUMBERS]
        ways[name] = str(rng.choice(numbers if numbers and rng.random() < 0.6 else list(forms)))
        given[name], batched = forms[ways[name]], batched or not ways[name].startswith("one ")
        with np.errstate(divide="ignore"):
            e[:, :card, v] = np.log(likelihood)
    want = hgm.infer(tree, torch.from_numpy(e))
    got = hgm.infer(tree, given)
    if not batched and rows == 1:
        assert got.log_partition.ndim == 0
    full = hgm.log_evidence(tree, given)
    assert np.allclose(full.expand(rows, -1, -1), e, rtol=1e-15, atol=0), "log_evidence"
    torch.testing.assert_close(
        torch.atleast_1d(got.log_partition).expand(rows), want.log_partition, rtol=1e-12, atol=1e-12
    )
    p = got.marginals if batched else got.marginals[None]
    torch.testing.assert_close(p.expand(rows, -1, -1), want.marginals, rtol=0, atol=1e-12)
    if given and batched:
        data = read_data(tree, given)
        seen = data.log_evidence(0, data.rows, torch.float64)
        assert np.allclose(seen, e[:, : seen.shape[1], data.variables], rtol=1e-15, atol=0), "data"
    net = hgm.compile(tree, observed="all", query="all").double()
    by_name = net.given(given)
    torch.testing.assert_close(by_name.expand(rows, -1, -1), want.marginals, rtol=0, atol=1e-12)
    torch.testing.assert_close(net(torch.from_numpy(e)), want.marginals, rtol=0, atol=1e-12)
    columns = {name: pd.Series(list(x), dtype=object) for name, x in given.items() if ways[name] in PLAIN}
    if batched and len(columns) == len(given) and not any(isinstance(name, tuple) for name in columns):
        framed = hgm.infer(tree, pd.DataFrame(columns))
        torch.testing.assert_close(framed.marginals.expand(rows, -1, -1), want.marginals, rtol=0, atol=1e-12)


def check_leaves(rng, model):
    """An array of all leaves holds numbers of states; it is refused where these could be meant for labels."""
    tree = model.tree
    x = np.stack([rng.integers(0, model.cards[v], 2) for v in tree.leaves], -1).reshape(2, *tree.leaf_shape)
    e = np.zeros((2, max(model.cards), len(tree)))
    doubt = False
    for i, v in enumerate(tree.leaves):
        away = np.arange(model.cards[v])[:, None] != x.reshape(2, -1)[:, i]
        e[:, : model.cards[v], v] = np.where(away, -np.inf, 0.0).T
        doubt |= any(reads_as(label) not in (None, s) for s, label in enumerate(model.called(v)))
    for v, card in enumerate(model.cards):
        e[:, card:, v] = -np.inf
    if doubt:
        with pytest.raises(hgm.BadEvidence, match="could mean their labels or their indices"):
            hgm.log_evidence(tree, x)
    else:
        assert np.array_equal(hgm.log_evidence(tree, x), e)


def reads_as(label):
    """The number that a label is or reads as."""
    try:
        return float(label) if isinstance(label, str | int | float) else None
    except ValueError:
        return None


NUMBERS = ("floats", "float tensor", "half", "float series", "single", "Int64", "ints", "masked ints", "one tensor")
PLAIN = ("list", "objects", "series", "nan", "pd.NA", "categorical", "strings", "floats", "Int64", "ints")  # in frames


def objects(values):
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def state_forms(rng, called, states, plain):
    """A column of states, ``None`` where missing, by labels or by numbers."""
    column = [None if s is None else called[s] for s in states]
    numbers = [-1 if s is None else s for s in states]
    hole = [s is None for s in states]
    forms = {
        "list": column,
        "objects": objects(column),
        "series": pd.Series(objects(column)),
        "masked objects": np.ma.masked_array(
            objects([called[0] if h else x for x, h in zip(column, hole, strict=True)]), hole
        ),
        "sets": [None if x is None else {x} for x in column],
        "mixed": [x if rng.random() < 0.5 or x is None else {x} for x in column],
        "nan": objects([math.nan if x is None else x for x in column]),
        "pd.NA": objects([pd.NA if x is None else x for x in column]),
    }
    if not any(isinstance(x, tuple) for x in called):
        forms["categorical"] = pd.Series(pd.Categorical(column, categories=pd.Index(objects(called))))
    if all(isinstance(x, str) for x in called):
        forms["strings"] = pd.Series(column, dtype="string")
        if not any(hole):
            forms["str array"] = np.array(column)
    if all(isinstance(x, int | float) and float(x) == x and abs(x) < 2**50 for x in called):
        floats = np.array([math.nan if x is None else float(x) for x in column])
        forms |= {"floats": floats, "float tensor": torch.tensor(floats), "half": floats.astype(np.float16)}
        forms |= {"float series": pd.Series(floats), "single": torch.tensor(floats).float()}
        if all(isinstance(x, int) for x in called):
            forms["Int64"] = pd.Series([pd.NA if x is None else int(x) for x in column], dtype="Int64")
            if not any(hole):
                forms["ints"] = np.array([int(x) for x in column])
                forms["masked ints"] = np.ma.masked_array(forms["ints"], np.zeros(len(hole), bool))
    if plain:
        forms |= {str(t): np.array(numbers, dtype=t) for t in (np.int8, np.int32, np.int64, np.float32)}
        forms |= {f"torch {t}": torch.tensor(numbers, dtype=t) for t in (torch.int8, torch.int64, torch.bfloat16)}
        forms["masked"] = np.ma.masked_array([99 if h else s for s, h in zip(numbers, hole, strict=True)], hole)
        if not any(hole):
            forms |= {str(t): np.array(numbers, dtype=t) for t in (np.uint8, np.uint16, np.uint64)}
            if max(numbers) < 2:
                forms["bools"] = np.array(numbers, dtype=bool)
    return forms


def allowed_forms(called, keep):
    """Allowed states of each row."""
    return {
        "list of sets": [{x for x, k in zip(called, row, strict=True) if k} for row in keep],
        "list of frozen sets": [
            None if row.all() else frozenset(x for x, k in zip(called, row, strict=True) if k) for row in keep
        ],
        "booleans": keep,
        "boolean tensor": torch.tensor(keep),
    } | soft_forms(called, keep.astype(float))


def soft_forms(called, likelihood):
    """Likelihoods of each row."""
    with np.errstate(divide="ignore"):
        logs = np.log(likelihood)
    return {
        "array": likelihood,
        "rows": likelihood.tolist(),
        "tensor": torch.tensor(likelihood),
        "single": torch.tensor(likelihood).float(),
        "half": likelihood.astype(np.float16),
        "Likelihood": hgm.Likelihood(likelihood),
        "logs": hgm.Likelihood.log(logs),
        "by label": {x: likelihood[:, s] for s, x in enumerate(called)},
        "by some labels": {x: likelihood[:, s].tolist() for s, x in enumerate(called) if likelihood[:, s].any()},
        "masked rows": np.ma.masked_array(
            np.where((likelihood == 1).all(1)[:, None], 7, likelihood),
            np.repeat((likelihood == 1).all(1)[:, None], likelihood.shape[1], 1),
        ),
    }


def single_forms(called, likelihood):
    """The same of one row, without a batch."""
    forms = {
        "one Likelihood": hgm.Likelihood(likelihood),
        "one log": hgm.Likelihood.log(np.log(likelihood, where=likelihood > 0, out=np.full(len(likelihood), -np.inf))),
        "one by label": {x: float(p) for x, p in zip(called, likelihood, strict=True)},
        "one by number": {x: np.float32(p) for x, p in zip(called, likelihood, strict=True) if p},
    }
    if set(likelihood) <= {0.0, 1.0}:
        forms["one set"] = {x for x, p in zip(called, likelihood, strict=True) if p}
        if likelihood.sum() == 1 and not (likelihood == 1).all():
            state = called[int(likelihood.argmax())]
            forms["one state"] = state
            forms["one array"] = objects([state])[0] if isinstance(state, tuple) else np.array(state, dtype=object)
            if isinstance(state, int | float) and abs(state) < 2**50:
                forms |= {"one tensor": torch.tensor(state), "one scalar": np.float64(state)}
    if (likelihood == 1).all():
        forms |= {"one None": None, "one nan": math.nan, "one NA": pd.NA}
    return forms
