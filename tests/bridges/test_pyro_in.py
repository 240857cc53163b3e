"""`from_pyro`: log Z of the tree is what TraceEnum_ELBO finds in the model, for 13 kinds; and what is refused."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles.trees import CASES
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from pyro.ops.indexing import Vindex
from torch.distributions import constraints

import hgm
from hgm.bridges.pyro_replay import covering

pytestmark = pytest.mark.usefixtures("double")


def elbo(model, *args):
    """log p(observed) by pyro."""
    found = TraceEnum_ELBO(strict_enumeration_warning=False)
    return -found.loss(config_enumerate(model, "parallel"), lambda *a: None, *args)


STEP = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]], dtype=torch.float64)
EMIT = torch.tensor([[0.6, 0.3, 0.1, 0.0], [0.1, 0.1, 0.4, 0.4], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)
START = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
Y = torch.tensor([0, 3, 1, 2, 2])
ROWS = torch.tensor([[0, 3, 1, 2, 2], [1, 1, 0, -1, -1], [2, -1, -1, -1, -1]])

# ---------------------------------------------------------------------- 13 kinds of model


def mixture():
    z = pyro.sample("z", dist.Categorical(START))
    pyro.sample("y", dist.Normal(torch.tensor([-1.0, 0.0, 2.0])[z], 1.0), obs=torch.tensor(0.3))


def mixture_in_a_plate():
    with pyro.plate("rows", 5):
        z = pyro.sample("z", dist.Categorical(START))
        pyro.sample("y", dist.Categorical(EMIT[z]), obs=Y)


def shared_switch():
    s = pyro.sample("s", dist.Bernoulli(0.3))
    with pyro.plate("rows", 5):
        z = pyro.sample("z", dist.Categorical(torch.stack([START, START.flip(0)])[s.long()]))
        pyro.sample("y", dist.Categorical(EMIT[z]), obs=Y)


def hmm():
    x = pyro.sample("x_0", dist.Categorical(START))
    for t in range(5):
        if t:
            x = pyro.sample(f"x_{t}", dist.Categorical(STEP[x]))
        pyro.sample(f"y_{t}", dist.Categorical(EMIT[x]), obs=Y[t])


def markov_hmm(length=5):
    x = 0
    for t in pyro.markov(range(length)):
        x = pyro.sample(f"x_{t}", dist.Categorical(STEP[x]))
        pyro.sample(f"y_{t}", dist.Categorical(EMIT[x]), obs=Y[t % 5])


def hmm_with_lengths():
    """Sequences of different length in a plate, by a mask."""
    x = 0
    with pyro.plate("sequences", 3):
        for t in pyro.markov(range(5)):
            with poutine.mask(mask=ROWS[:, t] >= 0):
                x = pyro.sample(f"x_{t}", dist.Categorical(STEP[x]))
                pyro.sample(f"y_{t}", dist.Categorical(EMIT[x]), obs=ROWS[:, t].clamp(min=0))


def hmm_in_two_plates():
    """Chords of two tones: the tones in an inner plate."""
    tones = torch.tensor([[0, 1], [1, 1], [0, 0], [1, 0], [1, 1]])
    probs = torch.tensor([[0.1, 0.8], [0.5, 0.6], [0.9, 0.2]])
    x = 0
    with pyro.plate("sequences", 2, dim=-2):
        for t in pyro.markov(range(5)):
            x = pyro.sample(f"x_{t}", dist.Categorical(STEP[x]))
            with pyro.plate(f"tones_{t}", 2, dim=-1) as tone:
                pyro.sample(
                    f"y_{t}", dist.Bernoulli(Vindex(probs)[x, tone]), obs=torch.stack([tones[t], 1 - tones[t]]).double()
                )


def nested_plates():
    with pyro.plate("outer", 3, dim=-1):
        a = pyro.sample("a", dist.Categorical(START))
        with pyro.plate("inner", 2, dim=-2):
            b = pyro.sample("b", dist.Categorical(STEP[a]))
            pyro.sample("y", dist.Categorical(EMIT[b]), obs=Y[:3].expand(2, 3))


def polytree_with_a_collider():
    a = pyro.sample("a", dist.Categorical(START))
    b = pyro.sample("b", dist.Bernoulli(0.4))
    table = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0))
    c = pyro.sample("c", dist.Categorical(table[a, b.long()]))
    pyro.sample("d", dist.Categorical(EMIT.flip(1).t()[c] + 0.1))
    pyro.sample("y", dist.Bernoulli(torch.tensor([0.1, 0.7])[b.long()]), obs=torch.tensor(1.0))


def with_factors():
    x = pyro.sample("x", dist.Categorical(START))
    z = pyro.sample("z", dist.Categorical(STEP[x]))
    pyro.factor("soft", torch.tensor([0.3, -1.0, 2.0])[z])
    pyro.factor("constant", torch.tensor(-7.5))
    pyro.factor("both", 0.1 * (x * 3 + z))


def missing_data():
    """What is missing is hidden by a mask, or latent."""
    x = pyro.sample("x", dist.Categorical(START))
    with pyro.plate("rows", 4):
        seen = torch.tensor([True, False, True, True])
        z = pyro.sample("z", dist.Categorical(STEP[x]))
        pyro.sample("y", dist.Categorical(EMIT[z]).mask(seen), obs=torch.tensor([0, 0, 3, 1]))
        pyro.sample("w", dist.Bernoulli(torch.tensor([0.1, 0.4, 0.5])[z]))


def other_finite_distributions():
    n = pyro.sample("n", dist.Binomial(3, 0.4))
    one = pyro.sample(
        "one", dist.OneHotCategorical(STEP.new_tensor([[0.2, 0.8], [0.5, 0.5], [0.6, 0.4], [0.9, 0.1]])[n.long()])
    )
    pyro.sample("y", dist.Poisson(1.0 + (one * torch.tensor([1.0, 5.0])).sum(-1)), obs=torch.tensor(2.0))
    pyro.deterministic("twice", 2 * n)


def a_tree_inside():
    tree = hgm.Tree.from_edges([("a", "b", STEP.numpy())], {"a": START.numpy()})
    s = pyro.sample("s", dist.Bernoulli(0.3))
    x = pyro.sample("x", hgm.TreeDistribution(tree, over="all"))
    pyro.sample("y", dist.Normal(s + x[..., 1].double(), 1.0), obs=torch.tensor(1.7))


def observed_pair():
    """An observation of two steps at once lies within the factor of the transition."""
    x = pyro.sample("x_0", dist.Categorical(START))
    for t in pyro.markov(range(1, 4)):
        before, x = x, pyro.sample(f"x_{t}", dist.Categorical(STEP[x]))
        pyro.sample(f"y_{t}", dist.Normal((before - x).double(), 1.0), obs=torch.tensor(0.5 * t))


ACCEPTED = [
    mixture, mixture_in_a_plate, shared_switch, hmm, markov_hmm, hmm_with_lengths, hmm_in_two_plates, nested_plates,
    polytree_with_a_collider, with_factors, missing_data, other_finite_distributions, a_tree_inside, observed_pair,
]  # fmt: skip


@pytest.mark.parametrize("model", ACCEPTED, ids=[model.__name__ for model in ACCEPTED])
def test_log_z_is_what_trace_enum_finds(model):
    tree = hgm.from_pyro(model)
    want = elbo(model)
    assert abs(float(hgm.log_partition(tree)) - want) < 1e-10
    assert want < -1e-3


def test_marginals_are_those_of_trace_enum():
    for model in (hmm, nested_plates, hmm_with_lengths, polytree_with_a_collider):
        found = TraceEnum_ELBO().compute_marginals(config_enumerate(model, "parallel"), lambda: None)
        posterior = hgm.infer(hgm.from_pyro(model))
        for name in posterior:
            site, at = (name[0], name[1:]) if isinstance(name, tuple) else (name, ())
            p = found[site].log_prob(found[site].enumerate_support()).exp()[:, *reversed(at)]
            assert torch.allclose(posterior[name], p, atol=1e-10), name


def test_variables_are_called_by_sites_and_positions_and_tables_by_sites():
    tree = hgm.from_pyro(nested_plates)
    assert set(tree.names) == {("a", i) for i in range(3)} | {("b", i, j) for i in range(3) for j in range(2)}
    names = {p.name: p.shape for p in tree.potentials if p.name}
    assert names == {"a": (3,), "b": (3, 3)}
    assert (tree.potential_id[[f for f in range(tree.factors) if len(tree.scope_of(f)) == 2]] == 1).sum() in (0, 6)
    hidden = hgm.from_pyro(markov_hmm)
    assert len([p for p in hidden.potentials if p.axes == 2]) == 1  # one transition, tied
    assert hidden.names[:2] == ("x_0", "x_1") and isinstance(hidden.potentials[1], hgm.Edge)
    other = torch.tensor([[0.5, 0.25, 0.25]] * 3)
    given = hgm.log_partition(hidden, log_potentials={"x_1": other.log()})
    assert abs(float(given) - by_step(other)) < 1e-10


def by_step(step):
    """log p of `markov_hmm` with another transition, by the forward recursion; x_0 keeps its own."""
    alpha = STEP[0] * EMIT[:, Y[0]]
    for t in range(1, 5):
        alpha = (alpha @ step) * EMIT[:, Y[t]]
    return float(alpha.sum().log())


def test_a_chain_of_more_steps_than_dimensions():
    tree = hgm.from_pyro(markov_hmm, 120)
    alpha, log = STEP[0] * EMIT[:, Y[0]], 0.0
    for t in range(1, 120):
        alpha = (alpha @ STEP) * EMIT[:, Y[t % 5]]
        log, alpha = log + float(alpha.sum().log()), alpha / alpha.sum()
    assert len(tree) == 120 and abs(float(hgm.log_partition(tree)) - log) < 1e-9


def test_arguments_reach_the_model_and_trees_come_back():
    def model(y, *, scale):
        z = pyro.sample("z", dist.Categorical(START))
        pyro.sample("y", dist.Normal(z.double(), scale), obs=y)

    tree = hgm.from_pyro(model, torch.tensor(1.0), scale=2.0)
    want = (START.log() + dist.Normal(torch.arange(3.0), 2.0).log_prob(torch.tensor(1.0))).logsumexp(0)
    assert abs(float(hgm.log_partition(tree)) - float(want)) < 1e-12


@pytest.mark.parametrize("name", ["binary_tied", "ragged", "joint_table", "rhm", "forest", "polytree", "chain", "star"])
def test_a_tree_comes_back_from_the_model_that_it_became(name):
    tree = CASES[name].tree
    model = hgm.to_pyro(tree)
    again = hgm.from_pyro(model)
    names = {}
    for site, own in model.sites.items():
        for at in (
            torch.cartesian_prod(*map(torch.arange, own.shape)).reshape(own.size, -1).tolist() if own.ndim else [[]]
        ):
            names[own[tuple(at)]] = (site, *reversed(at)) if at else site
    ours, theirs = hgm.infer(tree), hgm.infer(again)
    assert len(again) == len(tree) and abs(float(theirs.log_partition)) < 1e-12
    for v, variable in enumerate(tree.names):
        if tree.cardinality[v] > 1:
            assert torch.allclose(ours[variable], theirs[names[variable]], atol=1e-12)
    drawn = ours.sample(20)
    moved = torch.stack(
        [drawn.states[:, tree.index(n)] for n in sorted(names, key=lambda n: again.index(names[n]))], -1
    )
    assert torch.allclose(ours.log_prob(drawn), theirs.log_prob(moved), atol=1e-10)


# ---------------------------------------------------------------------- tying


def test_parameters_that_happen_to_be_equal_stay_two():
    def model(tables):
        x = pyro.sample("x", dist.Categorical(START))
        for i, table in enumerate(tables):
            pyro.sample(f"a{i}", dist.Categorical(table[x]))

    def distinct(tables):
        return len([p for p in hgm.from_pyro(model, tables).potentials if p.axes == 2])

    one, other = STEP.clone().requires_grad_(), STEP.clone().requires_grad_()
    assert distinct([STEP, STEP.clone()]) == 1  # constants
    assert distinct([one, other]) == 2
    assert distinct([one, one, one]) == 1
    assert distinct([one.softmax(-1), one.softmax(-1)]) == 1  # the same function, computed twice
    both = torch.stack([STEP, STEP]).requires_grad_()
    assert distinct([both[0], both[1], both[0]]) == 2  # two parts of one parameter
    pyro.clear_param_store()

    def with_params():
        model([pyro.param(f"p{i}", STEP, constraint=constraints.simplex) for i in (0, 1, 0)])

    assert len([p for p in hgm.from_pyro(with_params).potentials if p.axes == 2]) == 2


# ---------------------------------------------------------------------- what is refused


def continuous():
    x = pyro.sample("x", dist.Categorical(START))
    mean = pyro.sample("mean", dist.Normal(x.double(), 1.0))
    pyro.sample("y", dist.Normal(mean, 1.0), obs=torch.tensor(0.0))


def infinite():
    n = pyro.sample("count", dist.Poisson(3.0))
    pyro.sample("y", dist.Normal(n, 1.0), obs=torch.tensor(0.0))


def cycle():
    a = pyro.sample("a", dist.Categorical(START))
    b = pyro.sample("b", dist.Categorical(STEP[a]))
    c = pyro.sample("c", dist.Categorical(STEP[a]))
    pyro.sample("y", dist.Normal((b - c).double(), 1.0), obs=torch.tensor(0.0))


def branch():
    a = pyro.sample("a", dist.Categorical(START))
    b = pyro.sample("b", dist.Categorical(STEP[a] if a > 0 else START))
    return b


def number():
    a = pyro.sample("a", dist.Categorical(START))
    pyro.sample("b", dist.Categorical(STEP[int(a)]))


def sum_out_of_a_plate():
    with pyro.plate("rows", 4):
        z = pyro.sample("z", dist.Bernoulli(0.3))
    pyro.sample("total", dist.Normal(z.sum(-1), 1.0), obs=torch.tensor(1.0))


def used_out_of_a_plate():
    with pyro.plate("rows", 4):
        z = pyro.sample("z", dist.Bernoulli(0.3))
    pyro.sample("total", dist.Normal(z.mean(-1, keepdim=True), 1.0).to_event(0), obs=torch.tensor([1.0]))


def sum_across_a_plate():
    with pyro.plate("rows", 4):
        z = pyro.sample("z", dist.Bernoulli(0.3))
        pyro.sample("total", dist.Normal(z.mean(-1, keepdim=True), 1.0), obs=torch.ones(4))


def scaled():
    with poutine.scale(scale=2.0):
        pyro.sample("z", dist.Categorical(START))


def subsampled():
    with pyro.plate("rows", 5, subsample_size=2) as i:
        z = pyro.sample("z", dist.Categorical(START))
        pyro.sample("y", dist.Categorical(EMIT[z]), obs=Y[i])


def random_number_of_sites():
    random_number_of_sites.run += 1
    for i in range(2 + random_number_of_sites.run % 2):
        pyro.sample(f"x_{i}", dist.Categorical(START))


random_number_of_sites.run = 0


def leaks_a_state():
    """The dimensions are right; the numbers are not, as the state is taken out of the tensor."""
    a = pyro.sample("a", dist.Categorical(START))
    shift = float(a.reshape(-1)[0])
    pyro.sample("b", dist.Categorical(logits=STEP[a].log() + shift * torch.tensor([0.0, 1.0, 0.0])))


def counts_states():
    a = pyro.sample("a", dist.Categorical(START))
    if a.numel() == 1 and float(a) == 2:
        pyro.sample("extra", dist.Categorical(START))
    pyro.sample("b", dist.Categorical(STEP[a]))


def as_many_sites_as_a_state_says():
    """States that are drawn differ in number from those that are all one tensor."""
    a = pyro.sample("a", dist.Categorical(torch.tensor([1.0, 1e-30])))
    for i in range(1 + int(a.max())):
        pyro.sample(f"b_{i}", dist.Categorical(START))


def not_declared():
    z = pyro.sample("z", dist.Categorical(START.expand(4, 3)))
    pyro.sample("y", dist.Normal(z.double(), 1.0).to_event(0), obs=torch.zeros(4))


def nothing_latent():
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))


def cannot_be():
    z = pyro.sample("z", dist.Categorical(START))
    pyro.sample(
        "y", dist.Categorical(torch.tensor([1.0, 0.0]).expand(3, 2).log().exp()[z]).mask(True), obs=torch.tensor(1)
    )
    pyro.factor("never", torch.full((3,), -torch.inf)[z])


def not_a_number():
    z = pyro.sample("z", dist.Categorical(START))
    with pyro.validation_enabled(False):
        pyro.factor("bad", torch.tensor([0.0, torch.nan, 0.0])[z])


def cannot_be_listed():
    pyro.sample("z", dist.Bernoulli(torch.full((3,), 0.5)).to_event(1))


def list_that_differs():
    with pyro.plate("rows", 2):
        pyro.sample("n", dist.Binomial(torch.tensor([2.0, 3.0]), 0.5))


REFUSED = [
    (continuous, hgm.BadSpec, "latent site 'mean' .Normal. is continuous"),
    (infinite, hgm.BadSpec, "latent site 'count' .Poisson. has no finite list"),
    (cycle, hgm.NotATree, "cycle"),
    (branch, hgm.BadSpec, "at or after site 'a'.*branch in Python"),
    (number, hgm.BadSpec, "at or after site 'a'.*branch in Python"),
    (sum_out_of_a_plate, hgm.BadSpec, "site 'total' has shape .* no plate of the site"),
    (used_out_of_a_plate, hgm.BadSpec, "site 'total' depends on the latent 'z' of plate 'rows'"),
    (sum_across_a_plate, hgm.BadSpec, "site 'total' another log probability"),
    (scaled, hgm.BadSpec, "site 'z' is under poutine.scale"),
    (subsampled, hgm.BadSpec, "plate 'rows' is subsampled"),
    (random_number_of_sites, hgm.BadSpec, "site 'x_2' is there in one run"),
    (leaks_a_state, hgm.BadSpec, "site 'b' another log probability"),
    (counts_states, hgm.BadSpec, "'extra' is there"),
    (as_many_sites_as_a_state_says, hgm.BadSpec, "site 'b_1' is there only when all states are one tensor"),
    (not_declared, hgm.BadSpec, "site 'z' has 4 positions in dimension -1"),
    (list_that_differs, hgm.BadSpec, "states of the latent site 'n' .Binomial. cannot be listed"),
    (nothing_latent, hgm.BadSpec, "no latent site"),
    (cannot_be, hgm.BadPotential, "site 'never' is -inf"),
    (not_a_number, hgm.BadPotential, "site 'bad' is NaN"),
    (cannot_be_listed, hgm.BadSpec, "latent site 'z' .Independent. is one event of several"),
    ("model", hgm.BadSpec, "must be a function with sites of pyro; got 'model'"),
]


@pytest.mark.parametrize(("model", "error", "says"), REFUSED, ids=[getattr(m, "__name__", m) for m, _, _ in REFUSED])
def test_what_is_no_tree_is_refused_in_one_sentence(model, error, says):
    with pytest.raises(error, match=says) as caught:
        hgm.from_pyro(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_the_states_that_are_tried_cover_each_entry(name):
    tree = CASES[name].tree
    tried = list(covering(tree))
    assert 0 < len(tried) <= 64
    if max((p.size for p in tree.potentials), default=0) <= 64:
        for f in range(tree.factors):
            seen = {tuple(states[n] for n in tree.scope_names(f)) for states in tried}
            assert len(seen) >= 0.75 * torch.tensor(tree.potential_of(f).shape).prod()
        for v, variable in enumerate(tree.names):
            assert {states[variable] for states in tried} == set(range(tree.cardinality[v]))
