"""What the tables of docs/support.md say is so: what has a yes runs, what has a no ends in the error that it names."""

import re

import pytest
import torch
from places import needs_checkout, page

import hgm
from hgm.compiler.schedule import SCHEDULES
from hgm.evidence import channels
from hgm.networks.compile import TASKS
from hgm.networks.outputs import OUTPUTS

pytestmark = needs_checkout
TREE = hgm.random_ghm(2, 3, bound=3.0, seed=0)
Z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
X = (Z > 0).long()
OBSERVED = {  # how the leaves are seen
    "Soft": (hgm.Soft(), (torch.stack([Z, -Z, Z * Z], 1),)),
    "Clamp": (hgm.Clamp(), (X,)),
    "Erasure": (hgm.Erasure(), (X.where(Z < 1, -1),)),
    "Flip": (hgm.Flip(), (X, torch.full((3,), 0.1))),
    "Gaussian": (hgm.Gaussian(), (Z, torch.full((3,), 0.7))),
    "Missing": (hgm.Missing(hgm.Gaussian()), (Z.where(Z < 1, torch.nan), torch.full((3,), 0.7))),
}
ACTIVATIONS = {"exact": {}, "relu": {"activation": "relu", "tol": 0.05}}
NOT_A_NETWORKS = {"mode", "sample", "entropy", "messages"}  # these are methods of a posterior


def rows(table, first=""):
    """The cells after the first of each row, by the names in the first; of the table whose head begins so."""
    body = page("docs/support.md").partition(f"| {table}")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in body]
    return {tuple(re.findall(r"`([^`]+)`", c[0])): c[1:] for c in cells if c[0].startswith(first)}


def names(table, first=""):
    return sorted(name for key in rows(table, first) for name in key)


def of(table, first, *names):
    """The cells of the row that has all the names."""
    (found,) = [cells for key, cells in rows(table, first).items() if set(names) <= set(key)]
    return found


def together(activation, *parts):
    """What the second table says of each part."""
    return [of("`hgm.compile` with", *part)[list(ACTIVATIONS).index(activation)] for part in parts]


def error(cells):
    """The error that ends what the cells say, or None."""
    named = [getattr(hgm, said[1]) for cell in cells if (said := re.fullmatch(r"no: `(\w+)`", cell))]
    assert named or all(cell.startswith(("yes", "with a `floor`; else `Uncertifiable`")) for cell in cells)
    return named[0] if named else None


def test_the_tables_have_all_there_is():
    assert names("`hgm.compile` with", "channel") == sorted(OBSERVED) == sorted(set(channels.__all__) & set(dir(hgm)))
    assert names("`hgm.compile` with", "schedule") == sorted([*SCHEDULES, "auto"])
    assert names("question") == sorted({*OUTPUTS, *NOT_A_NETWORKS})


@pytest.mark.broad
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("schedule", ["auto", "levels", "paths"])
@pytest.mark.parametrize("channel", OBSERVED)
@pytest.mark.parametrize("task", TASKS)
def test_what_goes_together(task, channel, schedule, activation):
    how, seen = OBSERVED[channel]
    cells = together(activation, ("channel", channel), ("schedule", schedule))
    options = {"channel": how, "schedule": schedule, **ACTIVATIONS[activation]}
    if wrong := error(cells):
        with pytest.raises(wrong):
            hgm.compile(TREE, task, **options)
        return
    net = hgm.compile(TREE, task, **options)
    if cells[0] != "yes":
        with pytest.raises(hgm.Uncertifiable):
            net(*seen)
        net = hgm.compile(TREE, task, **options, floor=8.0)
        assert net(*seen).isfinite().all()
        return
    want = hgm.compile(TREE, task, channel=how)(*seen, outputs="log_posterior")
    torch.testing.assert_close(net(*seen, outputs="log_posterior"), want, rtol=0, atol=options.get("tol", 1e-5))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("task", TASKS)
def test_what_can_be_asked(task, output, activation):
    cells = of("question", "", output)
    said = [cells[1 if task == "classify" else 2], *([cells[3]] if activation == "relu" else [])]
    net, (evidence,) = hgm.compile(TREE, task, **ACTIVATIONS[activation]), OBSERVED["Soft"][1]
    if wrong := error(said):
        with pytest.raises(wrong):
            net(evidence, outputs=output)
    else:
        assert net(evidence, outputs=output).isfinite().all()


def test_what_a_posterior_is_asked():
    post = hgm.infer(TREE, X, channel=hgm.Clamp())
    known = {"posterior", "log_posterior"} if post["x0"].shape == (3, 3) else set()  # it is a mapping of these
    for key, cells in rows("question").items():
        for name in key:
            assert (name in known or hasattr(post, name)) == (cells[0] == "yes"), name
            if name in NOT_A_NETWORKS:
                assert cells[1:] == ["no"] * 3 and not hasattr(hgm.UNet, name) and not hasattr(hgm.ConvNet, name)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_trainable(activation):
    assert together(activation, ("weights", "trainable")) == ["yes"]
    net = hgm.compile(TREE, trainable=True, **ACTIVATIONS[activation])
    net(*OBSERVED["Soft"][1]).square().sum().backward()
    assert any(p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_cycle_is_no_tree():
    edge = hgm.Edge([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(hgm.NotATree, match="cycle"):
        hgm.Tree.from_edges([("a", "b", edge), ("b", "c", edge), ("c", "a", edge)])


def exports(task, channel, schedule, activation, form, path):
    ending, dtype = form
    how, _ = OBSERVED[channel]
    if wrong := error(together(activation, ("channel", channel), ("schedule", schedule))):
        with pytest.raises(wrong):
            hgm.compile(TREE, task, channel=how, schedule=schedule, **ACTIVATIONS[activation])
        return
    net = hgm.compile(
        TREE,
        task,
        channel=how,
        schedule=schedule,
        floor=8.0 if activation == "relu" else None,
        **ACTIVATIONS[activation],
    )
    if wrong := error(together(activation, ("export", ending, dtype))):
        with pytest.raises(wrong):
            hgm.export(net, path / f"net{ending}", dtype=getattr(torch, dtype))
    else:
        hgm.export(net, path / f"net{ending}", dtype=getattr(torch, dtype))  # compares by itself
        assert (path / f"net{ending}").stat().st_size > 0


ONNX = pytest.param((".onnx", "float32"), marks=pytest.mark.slow)


@pytest.mark.export
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("form", [(".pt2", "float32"), (".pt2", "float64"), (".onnx", "float64"), ONNX], ids="-".join)
def test_every_form_of_export(form, activation, tmp_path):
    exports("denoise", "Gaussian", "levels", activation, form, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("schedule", ["levels", "paths"])
@pytest.mark.parametrize("channel", OBSERVED)
@pytest.mark.parametrize("task", TASKS)
def test_every_export(task, channel, schedule, activation, tmp_path):
    exports(task, channel, schedule, activation, (".pt2", "float32"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("channel", OBSERVED)
def test_onnx_of_every_channel(channel, activation, tmp_path):
    exports("posterior", channel, "levels", activation, (".onnx", "float32"), tmp_path)
