"""When a network looks whether there is an answer: now, later, or never; and that it waits for nothing else."""

import copy
import pickle

import numpy as np
import pytest
import torch
from dispatched import counted, waits
from oracles.trees import CASES
from torch.func import functional_call

import hgm
from hgm.testing import assert_close, feed, random_evidence

TASKS = ("posterior", "classify", "denoise")
OUTPUTS = ("posterior", "log_posterior", "leave_one_out", "log_partition")
COPY, NOISE = np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]])
#: leaves 0 and 2 are equal
ZEROS = hgm.ghm(root=2, levels=[hgm.Level(2, 2, [COPY, COPY]), hgm.Level(2, 2, [COPY, NOISE])])
GRID = hgm.random_ghm(1, 3, (2, 2), seed=0)
SYMBOLS = torch.cartesian_prod(*[torch.arange(2)] * 4)
unlooked = pytest.mark.parametrize("check", ["later", False])


def impossible(tree=ZEROS):
    """Rows of `SYMBOLS` that the tree forbids, by the reference."""
    rows = []
    for i, row in enumerate(SYMBOLS.tolist()):
        try:
            hgm.infer(tree, {leaf: s for leaf, s in zip(tree.names[-4:], row, strict=True)})
        except hgm.ImpossibleEvidence:
            rows.append(i)
    return rows


GONE = impossible()


def test_the_example_has_both_kinds_of_rows():
    assert 0 < len(GONE) < len(SYMBOLS)


# ---------------------------------------------------------------------- nothing waits


@unlooked
@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_forward_waits_for_nothing(case, task, trainable, check):
    net = hgm.compile(case.tree, task, observed=case.tree.names, trainable=trainable, check=check)
    args, kwargs = feed(net, case.tree, random_evidence(case.tree, 0))
    outputs = OUTPUTS + ("mean",) * (task == "denoise")
    assert waits(lambda: net(*args, **kwargs, outputs=outputs)) == []
    assert waits(lambda: net.log_partition(*args, **kwargs)) == []
    symbols = torch.zeros(3, *net.leaf_shape, dtype=torch.uint8)
    assert waits(lambda: net(symbols)) == []


OBSERVED = {
    "soft": (hgm.Soft(), torch.randn(3, 3, 2, 2), ()),
    "clamp": (hgm.Clamp(), torch.randint(-1, 3, (3, 2, 2)), ()),
    "uint64": (hgm.Clamp(), torch.ones(3, 2, 2, dtype=torch.uint64), ()),
    "erasure": (hgm.Erasure(), torch.randint(3, (3, 2, 2)), (torch.rand(3, 2, 2) > 0.5,)),
    "flip": (hgm.Flip(), torch.randint(-1, 3, (3, 2, 2)), (0.2,)),
    "flip by state": (hgm.Flip(), torch.randint(-1, 3, (3, 2, 2)), (torch.rand(3, 3, 2, 2),)),
    "gaussian": (hgm.Gaussian(), torch.randn(3, 2, 2), (0.5, 0.9)),
    "gaussian of integers": (hgm.Gaussian(), torch.randint(3, (3, 2, 2)), (torch.rand(3),)),
    "vectors": (hgm.Gaussian(torch.randn(3, 2)), torch.randn(3, 2, 2, 2), (torch.rand(3, 2, 2),)),
    "missing": (hgm.Missing(hgm.Gaussian()), torch.full((3, 2, 2), torch.nan), (torch.rand(3),)),
    "missing flip": (hgm.Missing(hgm.Flip()), torch.randint(-1, 3, (3, 2, 2)), (torch.rand(3),)),
    "half": (hgm.Gaussian(), torch.randn(3, 2, 2).bfloat16(), (0.5,)),
}


@unlooked
@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", OBSERVED)
def test_a_channel_waits_for_nothing(name, task, trainable, check):
    channel, z, noise = OBSERVED[name]
    net = hgm.compile(GRID, task, channel=channel, trainable=trainable)
    assert waits(lambda: net(z, *noise, check=check)) == []
    net.throw()
    assert_close(net(z, *noise, check=check), net(z, *noise), 0, "the same answer")


@unlooked
@pytest.mark.parametrize("batch", [(), (6,)])
def test_given_potentials_wait_for_nothing(batch, check):
    net = hgm.compile(GRID, observed=GRID.names)
    args, kwargs = feed(net, GRID, random_evidence(GRID, 0))
    scope = GRID.scope_names(int(np.flatnonzero(np.diff(GRID.scope_ptr) == 2)[0]))
    tables = {scope: torch.zeros(*batch, 3, 3)}
    assert waits(lambda: net(*args, **kwargs, log_potentials=tables, outputs=OUTPUTS, check=check)) == []


@unlooked
def test_a_relu_network_waits_for_nothing(check):
    net = hgm.compile(GRID, activation="relu", tol=1.0)
    assert waits(lambda: net(torch.randn(3, 3, 2, 2), check=check)) == []


@unlooked
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("window", {"radius": 0}),
        ("block", {"level": 1}),
        ("blind", {"noise": [0.1, 0.5]}),
        ("skips", {"level": 0}),
        ("own", {}),
    ],
)
def test_a_restricted_network_waits_for_nothing(kind, options, check):
    net = hgm.ablate(GRID, kind, **options, channel=hgm.Gaussian())
    assert waits(lambda: net(torch.randn(3, 2, 2), 0.5, check=check)) == []


def test_the_watch_sees_what_waits():
    x = torch.rand(4)
    for run in (
        lambda: x[0].item(),
        lambda: float(x[0]),
        lambda: bool((x > 2).any()),
        lambda: int(x.argmax()),
        lambda: x.tolist(),
        lambda: x.cpu(),
        lambda: x.numpy(),
        lambda: x.nonzero(),
        lambda: x[x > 0.5],
        lambda: x.masked_select(x > 0.5),
        lambda: torch.equal(x, x),
        lambda: torch.tensor([1.0]),
        lambda: torch.where(x > 0.5),
        lambda: x.unique(),
        lambda: x.to("meta"),
    ):
        assert waits(run)
    net = hgm.compile(ZEROS, trainable=True)
    assert waits(lambda: net(torch.zeros(1, 4, dtype=torch.int64), check="now"))


# ---------------------------------------------------------------------- what is said, and when


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("trainable", [False, True])
def test_later_is_now_but_later(task, trainable):
    net = hgm.compile(ZEROS, task, trainable=trainable)
    with pytest.raises(hgm.ImpossibleEvidence) as now:
        net(SYMBOLS)
    found = net(SYMBOLS, check="later")
    with pytest.raises(hgm.ImpossibleEvidence, match="later") as later:
        net.throw()
    assert list(later.value.rows) == list(now.value.rows) == GONE
    net.throw()  # it is said once
    good = [i for i in range(len(SYMBOLS)) if i not in GONE]
    assert found[GONE].isnan().all()
    assert_close(found[good], net(SYMBOLS[good]), 0, "the other rows")
    assert torch.isneginf(net.log_partition(SYMBOLS, check=False)[GONE]).all()


def test_the_next_call_that_looks_says_it_too():
    net, good = hgm.compile(ZEROS), SYMBOLS[[i for i in range(16) if i not in GONE]]
    for call in (
        lambda: net(good),
        lambda: net.log_partition(good),
        lambda: net.given({ZEROS.names[-1]: 0, ZEROS.names[-2]: [0]}),
    ):
        net(SYMBOLS, check="later")
        net(good, check="later")
        net(good, check=False)
        with pytest.raises(hgm.ImpossibleEvidence):
            call()
        call()


def test_rows_are_kept_over_batches_of_any_size():
    net = hgm.compile(ZEROS)
    bad, good = SYMBOLS[GONE[:1]], SYMBOLS[[i for i in range(16) if i not in GONE]][:1]
    net(torch.cat([good, bad]), check="later")
    net(torch.cat([good, good, good, bad]), check="later")
    net(good, check="later")
    net(SYMBOLS[:0], check="later")
    with pytest.raises(hgm.ImpossibleEvidence) as error:
        net.throw()
    assert error.value.rows == (1, 3)


def test_rows_are_counted_through_slices(monkeypatch):
    monkeypatch.setattr("hgm.networks.running.SLICE", 3 * 8)  # three rows at once
    net = hgm.compile(ZEROS)
    net(SYMBOLS, check="later")
    with pytest.raises(hgm.ImpossibleEvidence) as error:
        net.throw()
    assert list(error.value.rows) == GONE


def test_never_is_never():
    net = hgm.compile(ZEROS, check=False)
    assert net(SYMBOLS)[GONE].isnan().all()
    net.throw()
    with pytest.raises(hgm.ImpossibleEvidence):
        net(SYMBOLS, check="now")
    with pytest.raises(hgm.ImpossibleEvidence):
        net.given(dict(zip(ZEROS.names[-4:], SYMBOLS[GONE[0]].tolist(), strict=True)), check="now")
    assert net.given(dict(zip(ZEROS.names[-4:], SYMBOLS[GONE[0]].tolist(), strict=True))).isnan().all()


def test_of_a_forest_the_trees_that_are_possible_have_answers():
    eye = hgm.Edge(np.eye(2))
    tree = hgm.Tree.from_factors([(("a", "b"), eye), (("c", "d"), eye)])
    net = hgm.compile(tree, query="all", observed="all")
    found = net(torch.tensor([[0, 1, 0, 0]])[:, [tree.index(name) for name in tree.names]], check="later")
    assert found.isnan().any()
    with pytest.raises(hgm.ImpossibleEvidence):
        net.throw()


@pytest.mark.parametrize(
    ("channel", "z", "noise"),
    [
        (hgm.Soft(), torch.full((2, 3, 2, 2), torch.nan), ()),
        (hgm.Soft(), torch.full((2, 3, 2, 2), torch.inf), ()),
        (hgm.Gaussian(), torch.full((2, 2, 2), torch.nan), (0.5,)),
        (hgm.Gaussian(), torch.zeros(2, 2, 2), (-0.5,)),
        (hgm.Gaussian(), torch.zeros(2, 2, 2), (torch.nan,)),
        (hgm.Flip(), torch.zeros(2, 2, 2, dtype=torch.int64), (1.5,)),
        (hgm.Flip(), torch.zeros(2, 2, 2, dtype=torch.int64), (-0.5,)),
        (hgm.Flip(), torch.full((2, 2, 2), 3), (0.5,)),
        (hgm.Flip(), torch.full((2, 2, 2), -2), (0.5,)),
        (hgm.Clamp(), torch.full((2, 2, 2), 3), ()),
        (hgm.Clamp(), torch.full((2, 2, 2), -2), ()),
        (hgm.Clamp(), torch.full((2, 2, 2), 2**63, dtype=torch.uint64), ()),
    ],
    ids=str,
)
def test_what_is_no_observation_is_found_later_too(channel, z, noise):
    net = hgm.compile(GRID, channel=channel)
    with pytest.raises(hgm.BadEvidence):
        net(z, *noise)
    assert net(z, *noise, check="later").isnan().all()
    with pytest.raises((hgm.BadEvidence, hgm.ImpossibleEvidence), match=r"later.* 0, 1"):
        net.throw()


def test_a_symbol_that_is_one_of_another_variable_is_found_later_too():
    tree = hgm.Tree.from_edges([("a", "b", hgm.Edge(np.ones((2, 2)))), ("a", "c", hgm.Edge(np.ones((2, 3))))])
    net = hgm.compile(tree)
    assert net(torch.tensor([[2, 2]]), check="later").isnan().all()
    with pytest.raises(hgm.ImpossibleEvidence):
        net.throw()


@pytest.mark.parametrize("batch", [(), (2,)])
def test_given_potentials_that_do_not_fit_are_found_later_too(batch):
    net = hgm.compile(GRID)
    scope = GRID.scope_names(int(np.flatnonzero(np.diff(GRID.scope_ptr) == 2)[0]))
    for wrong in (torch.nan, torch.inf, -torch.inf):
        table = torch.zeros(*batch, 3, 3)
        table[..., 0, 0] = wrong
        with pytest.raises(hgm.BadPotential):
            net(torch.zeros(2, 3, 2, 2), log_potentials={scope: table})
        assert net(torch.zeros(2, 3, 2, 2), log_potentials={scope: table}, check="later").isnan().all()
        with pytest.raises(hgm.BadEvidence, match="potentials given with it"):
            net.throw()


@pytest.mark.parametrize("value", [torch.nan, 1e4])
def test_weights_that_left_their_range_are_found_later_too(value):
    net = hgm.compile(GRID, trainable=True)
    with torch.no_grad():
        next(net.parameters())[0] = value
    assert net(torch.zeros(2, 3, 2, 2), check="later").isnan().all()
    with pytest.raises(hgm.BadPotential):
        net.throw()
    with pytest.raises(hgm.BadPotential):
        net(torch.zeros(2, 3, 2, 2))


def test_fixed_weights_that_are_changed_in_place_are_used_at_once():
    one, two = (hgm.compile(hgm.random_ghm(1, 3, (2, 2), bound=2.0, seed=seed), check=False) for seed in (0, 5))
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    one(x)
    for p, q in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        p.copy_(q)
    assert waits(lambda: one(x)) == []
    assert_close(one(x), two(x), 1e-12, "posterior")
    assert_close(one(x, check="now"), two(x), 1e-12, "posterior, once looked at")


@pytest.mark.parametrize("wrong", ["Later", "latr", True, None, 0, 1, ["now"]])
def test_a_misspelt_check_is_one_clear_error(wrong):
    net = hgm.compile(ZEROS)
    z = SYMBOLS[:1]
    calls = [lambda: hgm.compile(ZEROS, check=wrong)]
    if wrong is not None:
        calls += [
            lambda: net(z, check=wrong),
            lambda: net.log_partition(z, check=wrong),
            lambda: net.given({ZEROS.names[-1]: 0}, check=wrong),
        ]
    for call in calls:
        with pytest.raises(hgm.BadSpec, match="check must be 'now', 'later' or False; got"):
            call()


def test_relu_networks_say_later_what_their_certificate_does_not_cover():
    net = hgm.compile(GRID, activation="relu", tol=1.0)
    z = torch.zeros(3, 3, 2, 2)
    z[1, 0, 0, 0] = -torch.inf
    net(z, check="later")
    with pytest.raises(hgm.Uncertifiable, match="batch rows 1;"):
        net.throw()
    z[2, :, 0, 0] = -torch.inf
    assert net(z, check="later")[2].isnan().all()
    with pytest.raises((hgm.Uncertifiable, hgm.ImpossibleEvidence)):
        net.throw()
    z[0, 0, 0, 0] = torch.nan
    net(z, check="later")
    with pytest.raises(hgm.BadEvidence, match="batch rows 0"):
        net.throw()


@pytest.mark.parametrize(
    ("kind", "options", "gone"),
    [
        ("window", {"radius": 0}, []),
        ("window", {"radius": 4}, GONE),
        ("own", {}, GONE),
        ("blind", {"noise": [1.0]}, GONE),  # symbols are turned round, and leaves 0 and 2 still are equal
        ("blind", {"noise": [0.5, 1.0]}, []),
    ],
)
def test_restricted_networks_say_later_what_they_say_now(kind, options, gone):
    net = hgm.ablate(ZEROS, kind, **options, channel=hgm.Flip())
    found = net(SYMBOLS, 0.0, check="later")
    if not gone:
        net.throw()
        assert_close(found, net(SYMBOLS, 0.0), 1e-6, "the same answer")
        return
    for call in (net.throw, lambda: net(SYMBOLS, 0.0)):
        with pytest.raises(hgm.ImpossibleEvidence) as error:
            call()
        assert list(error.value.rows) == gone
    good = [i for i in range(len(SYMBOLS)) if i not in gone]
    assert all(row.isnan().any() for row in found[gone])
    assert_close(found[good], net(SYMBOLS[good], 0.0), 1e-6, "the same answer")


# ---------------------------------------------------------------------- what surrounds a call


def test_a_copy_has_nothing_left_to_say():
    net = hgm.compile(ZEROS, check="later")
    net(SYMBOLS)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.check == "later"
        other.throw()
        other(SYMBOLS)
        with pytest.raises(hgm.ImpossibleEvidence):
            other.throw()
    with pytest.raises(hgm.ImpossibleEvidence):
        net.throw()


@unlooked
def test_a_functional_call_is_checked_later(check):
    net = hgm.compile(ZEROS, check=check)
    found = functional_call(net, dict(net.named_buffers()), (SYMBOLS,))
    assert found[GONE].isnan().all()
    if check:
        with pytest.raises(hgm.ImpossibleEvidence) as error:
            net.throw()
        assert list(error.value.rows) == GONE


@pytest.mark.export
@pytest.mark.parametrize("check", ["now", "later", False])
def test_a_traced_program_never_looks(check):
    net = hgm.compile(ZEROS, check=check)
    want = net(SYMBOLS, check=False)
    torch.compiler.reset()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.equal(compiled(SYMBOLS).nan_to_num(), want.nan_to_num())
    assert compiled(SYMBOLS, check=check)[GONE].isnan().all()
    program = torch.export.export(net, (SYMBOLS,)).module()
    assert torch.equal(program(SYMBOLS).nan_to_num(), want.nan_to_num())
    net.throw()
    torch.compiler.reset()


def test_gradients_are_those_of_a_call_that_looks():
    net = hgm.compile(GRID, trainable=True)
    x = torch.randn(3, 3, 2, 2, dtype=torch.float64)
    gradients = [
        torch.autograd.grad(net.log_partition(x, check=c).sum(), net.parameters())[0] for c in ("now", "later")
    ]
    assert_close(*gradients, 0, "gradient")


def test_a_call_leaves_no_trace_in_what_comes_after():
    net = hgm.compile(ZEROS)
    with pytest.raises(hgm.BadEvidence):
        net(torch.zeros(2, 3), check=False)  # a wrong shape is seen without looking
    with pytest.raises(hgm.ImpossibleEvidence):
        net(SYMBOLS)
    with pytest.raises(hgm.BadEvidence):
        hgm.Clamp(states=2)(torch.tensor([[7]]))


# ---------------------------------------------------------------------- how much is launched


def copies(tree, times):
    """A forest of copies of a tree: as many stages, of nodes that are so many times more."""
    factors = [
        ([(i, name) for name in tree.scope_names(f)], tree.potential_of(f))
        for i in range(times)
        for f in range(tree.factors)
    ]
    cards = {(i, name): int(n) for i in range(times) for name, n in zip(tree.names, tree.cardinality, strict=True)}
    return hgm.Tree.from_factors(
        factors, cards, roots=[(i, tree.names[int(r)]) for i in range(times) for r in tree.roots]
    )


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_stage_launches_as_much_for_many_nodes_and_rows_as_for_few(case, trainable):
    found = []
    for times, rows in ((2, 3), (2, 50), (12, 3)):
        net = hgm.compile(copies(case.tree, times), query="all", observed="all", trainable=trainable, check=False)
        z = torch.randn(rows, net.leaf_states, *net.leaf_shape, generator=torch.Generator().manual_seed(0))
        found.append(counted(net, lambda net=net, z=z: net(z)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == len(net.encoder) + len(net.decoder) and all(found[0])
