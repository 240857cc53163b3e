"""Exports: other programs give the network's results, at any batch size, and no wrong export is written."""

import sys

import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.files import program

pytestmark = pytest.mark.export

TREE = CASES["quad_2d"].tree


def loaded(path):
    """What a program that never heard of hgm would run."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [slot.name for slot in session.get_inputs()]

    def run(*args, **more):
        feeds = dict(zip(names, [*args, *more.values()], strict=True))
        return torch.from_numpy(session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()})[0])

    return run


def agrees(net, path, *given, tolerance, **more):
    torch.testing.assert_close(loaded(path)(*given, **more), net(*given, **more), rtol=0, atol=tolerance)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_classifier_for_torch(tmp_path, rows):
    net = hgm.compile(TREE, "classify")
    hgm.export(net, tmp_path / "net.pt2")
    agrees(net, tmp_path / "net.pt2", torch.randn(rows, 2, *net.leaf_shape), tolerance=1e-6)


def test_a_classifier_for_onnx(tmp_path):
    net = hgm.compile(TREE, "classify")
    hgm.export(net, tmp_path / "net.onnx")
    for rows in (1, 5):
        agrees(net, tmp_path / "net.onnx", torch.randn(rows, 2, *net.leaf_shape), tolerance=1e-6)


def test_a_classifier_with_zeros_in_float64(tmp_path):
    net = hgm.compile(CASES["hard_zeros"].tree, "classify", channel=hgm.Gaussian())
    hgm.export(net, tmp_path / "net.pt2", dtype=torch.float64)
    z, sigma = torch.randn(4, 4, dtype=torch.float64), torch.rand(4, dtype=torch.float64) + 0.5
    agrees(net, tmp_path / "net.pt2", z, sigma, tolerance=1e-12)


CHANNELS = {
    "soft": (hgm.Soft(), lambda z: (torch.stack([z, -z, z * z], 1),)),
    "clamp": (hgm.Clamp(), lambda z: ((z > 0).long(),)),
    "flip": (hgm.Flip(), lambda z: ((z > 0).long(), torch.full((len(z),), 0.1))),
    "gaussian": (hgm.Gaussian(), lambda z: (z, torch.full((len(z),), 0.7))),
    "missing": (hgm.Missing(hgm.Gaussian()), lambda z: (torch.where(z > 1, torch.nan, z), torch.full((len(z),), 0.7))),
}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pt2", "onnx"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel(tmp_path, channel, ending):
    how, observe = CHANNELS[channel]
    tree = hgm.random_ghm(2, 3)
    net = hgm.compile(tree, "denoise", channel=how)
    hgm.export(net, tmp_path / f"net.{ending}")
    agrees(net, tmp_path / f"net.{ending}", *observe(torch.randn(5, 4)), tolerance=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pt2", "onnx"])
@pytest.mark.parametrize("name", CASES)
def test_every_tree(tmp_path, name, ending):
    case = CASES[name]
    net = hgm.compile(case.tree, "posterior", query="all", observed=case.names)
    hgm.export(net, tmp_path / f"net.{ending}")
    e = torch.randn(5, net.leaf_states, *net.leaf_shape)
    more = {"evidence": torch.randn(5, net.states_in, net.extra)} if net.extra else {}
    agrees(net, tmp_path / f"net.{ending}", e, tolerance=1e-5, **more)


@pytest.mark.parametrize("ending", ["pt2", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_relu_network(tmp_path, ending):
    net = hgm.compile(hgm.random_ghm(2, 2, bound=4.0), "posterior", activation="relu", tol=1e-2)
    hgm.export(net, tmp_path / f"net.{ending}")
    agrees(net, tmp_path / f"net.{ending}", torch.randn(5, 2, 4), tolerance=1e-5)
    if ending == "pt2":
        extra = {"certificate.json": ""}
        torch.export.load(tmp_path / "net.pt2", extra_files=extra)
        text = extra["certificate.json"]
    else:
        import onnx

        text = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}["certificate"]
    assert hgm.Certificate.from_json(text) == net.certificate


def test_a_trained_network_keeps_its_mode(tmp_path):
    net = hgm.compile(TREE, "classify", trainable=True).train()
    hgm.export(net, tmp_path / "net.pt2")
    assert net.training and net.engine.weights.log_potential.requires_grad


@pytest.mark.parametrize("trainable", [False, True])
def test_a_network_without_weights(tmp_path, trainable):
    net = hgm.compile(CASES["single_without_factor"].tree, "classify", trainable=trainable)
    hgm.export(net, tmp_path / "net.pt2")
    agrees(net, tmp_path / "net.pt2", torch.randn(5, net.leaf_states, 1), tolerance=1e-6)


def test_a_program_with_other_results_is_not_written(tmp_path, monkeypatch):
    right = program._as_torch

    def wrong(*args):
        content, run = right(*args)
        return content, lambda *given: tuple(x + 1e-3 for x in run(*given))

    monkeypatch.setattr(program, "_as_torch", wrong)
    with pytest.raises(hgm.HgmError, match=r"results differ from the network's by 1\.0e-03"):
        hgm.export(hgm.compile(TREE, "classify"), tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_a_failure_of_the_exporter_is_one_line(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no rule for this\nand much more")

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(
        hgm.HgmError, match=r"torch\.export cannot export this network: RuntimeError: no rule for this$"
    ):
        hgm.export(hgm.compile(TREE, "classify"), tmp_path / "net.pt2")


class Twice(hgm.Gaussian):
    """A channel that was not there when `export` was written."""

    noise_names = ("spread",)

    def states_first(self, z, *noise):
        return 2 * super().states_first(z, *noise)


@pytest.mark.parametrize("ending", ["pt2", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_channel_of_ones_own(tmp_path, ending):
    net = hgm.compile(hgm.random_ghm(2, 3), "denoise", channel=Twice())
    hgm.export(net, tmp_path / f"net.{ending}")
    agrees(net, tmp_path / f"net.{ending}", torch.randn(5, 4), torch.full((5,), 0.7), tolerance=1e-5)
    if ending == "onnx":
        import onnx

        graph = onnx.load(tmp_path / "net.onnx").graph
        assert [slot.name for slot in graph.input] == ["observation", "spread"]


class Silent(hgm.Channel):
    def states_first(self, z, *noise):
        return self.batch_last(z)[None].expand(len(self.table()), -1, -1).clone()


def test_bad_arguments(tmp_path, monkeypatch):
    net = hgm.compile(TREE, "classify")
    with pytest.raises(hgm.BadSpec, match=r"must end in \.pt2 or \.onnx"):
        hgm.export(net, tmp_path / "net.pt")
    with pytest.raises(hgm.BadSpec, match="float16"):
        hgm.export(net, tmp_path / "net.pt2", dtype=torch.float16)
    with pytest.raises(hgm.BadSpec, match=r"use \.pt2 for float64"):
        hgm.export(net, tmp_path / "net.onnx", dtype=torch.float64)
    with pytest.raises(hgm.BadSpec, match="Silent does not say how it observes symbols"):
        hgm.export(hgm.compile(TREE, channel=Silent()), tmp_path / "net.pt2")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(hgm.HgmError, match=r"pip install 'hgm\[export\]'"):
        hgm.export(net, tmp_path / "net.onnx")


# ---------------------------------------------------------------------- batches, outputs, and exports by hand


@pytest.mark.parametrize(
    ("name", "task"),
    [("quad_2d", "denoise"), ("ragged", "posterior"), ("hard_zeros", "classify"), ("rhm", "denoise")],
)
def test_a_program_takes_any_number_of_rows(tmp_path, task, name):
    net = hgm.compile(CASES[name].tree, task, channel=hgm.Gaussian())
    hgm.export(net, tmp_path / "net.pt2")
    run = loaded(tmp_path / "net.pt2")
    for rows in (0, 1, 2, 7):
        z, sigma = torch.randn(rows, *net.leaf_shape), torch.rand(rows) + 0.5
        torch.testing.assert_close(run(z, sigma), net(z, sigma), rtol=0, atol=2e-6)


@pytest.mark.parametrize("ending", ["pt2", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "outputs", ["log_partition", ("mean", "log_posterior", "leave_one_out", "log_partition")], ids=str
)
def test_a_program_gives_what_is_asked_for(tmp_path, ending, outputs):
    net = hgm.compile(TREE, "denoise", channel=hgm.Gaussian())
    hgm.export(net, tmp_path / f"net.{ending}", outputs=outputs)
    z, sigma = torch.randn(5, *net.leaf_shape), torch.rand(5) + 0.5
    want = net(z, sigma, outputs=outputs)
    if ending == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
        names = [outputs] if isinstance(outputs, str) else list(outputs)
        assert [x.name for x in session.get_outputs()] == names
        got = [torch.from_numpy(x) for x in session.run(None, {"observation": z.numpy(), "sigma": sigma.numpy()})]
        got = got[0] if isinstance(outputs, str) else tuple(got)
    else:
        got = loaded(tmp_path / "net.pt2")(z, sigma)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_a_program_with_zeros_gives_minus_infinity(tmp_path):
    net = hgm.compile(CASES["hard_zeros"].tree, channel=hgm.Clamp())
    hgm.export(net, tmp_path / "net.pt2", outputs="log_posterior")
    z = hgm.infer(net.tree()).sample(3, generator=torch.Generator().manual_seed(0)).leaves
    got = loaded(tmp_path / "net.pt2")(z)
    assert bool(torch.isneginf(got).any()) and torch.equal(torch.isneginf(got), net(z) == 0)


def test_what_a_network_lacks_is_not_exported(tmp_path):
    net = hgm.compile(TREE, "classify")
    with pytest.raises(hgm.BadSpec, match="no output 'mean'"):
        hgm.export(net, tmp_path / "net.pt2", outputs="mean")
    with pytest.raises(hgm.BadSpec, match="did you mean 'log_partition'"):
        hgm.export(net, tmp_path / "net.pt2", outputs="log_partitions")


class Three(hgm.Gaussian):
    """A channel with more arguments than the library's have."""

    noise_names = ("sigma", "alpha", "shift")

    def states_first(self, z, *noise):
        return super().states_first(z - noise[2].view(-1, 1), *noise[:2])

    def rearranged(self, order, z, *noise):
        return None

    def observe(self, x, *noise, generator=None):
        return super().observe(x, *noise[:2], generator=generator) + noise[2].view(-1, 1)

    def example(self, x, dtype, generator=None):
        noise = [torch.full((len(x),), value, dtype=dtype) for value in (0.5, 1.0, 2.0)]
        return self.observe(x, *noise, generator=generator).to(dtype), *noise


def test_a_channel_with_many_arguments(tmp_path):
    net = hgm.compile(hgm.random_ghm(2, 3), "denoise", channel=Three())
    hgm.export(net, tmp_path / "net.pt2")
    noise = torch.rand(3, 5) + 0.5
    agrees(net, tmp_path / "net.pt2", torch.randn(5, 4), *noise, tolerance=1e-5)


@pytest.mark.parametrize("by", ["one name", "auto"])
@pytest.mark.parametrize("shape", [(), (2, 4), (1, 1)], ids=["per row", "per position", "broadcast"])
def test_an_export_by_hand_has_the_shapes_that_one_would_write(by, shape):
    net = hgm.compile(TREE, "denoise", channel=hgm.Gaussian())
    batch = torch.export.Dim("b") if by == "one name" else torch.export.Dim.AUTO
    z, sigma = torch.randn(3, *net.leaf_shape), torch.rand(3, *shape) + 0.5
    run = torch.export.export(net, (z, sigma), dynamic_shapes=({0: batch}, {0: batch})).module()
    for rows in (0, 2, 5):
        z, sigma = torch.randn(rows, *net.leaf_shape), torch.rand(rows, *shape) + 0.5
        torch.testing.assert_close(run(z, sigma), net(z, sigma), rtol=0, atol=2e-6)
