"""Compiled networks for other programs: `torch.export` and ONNX.

The exported program holds the weights and needs neither hgm nor, as ONNX, torch. Its batch size is free. It takes what
the network's channel takes, and the evidence of the `observed` variables where the network has any. It cannot raise an
error: on evidence of probability zero its output means nothing, nor does that of a ReLU network without a floor on
evidence that excludes states. A ReLU network's certificate goes with it, as JSON: the extra file
``certificate.json`` of a .pt2 file, the metadata entry ``certificate`` of an ONNX file. It is about the network in
float64.

Every export is run once, on observations drawn from the model, and held against the network before it is written.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hgm.bp.posterior import infer
from hgm.errors import BadSpec, HgmError, brief
from hgm.files.whole import checked_ending, write_whole
from hgm.networks.network import Network
from hgm.networks.outputs import Outputs, asked
from hgm.tree.tree import Tree

__all__ = ["export"]

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
ROWS = 3

Run = Callable[..., tuple[Tensor, ...]]


def export(
    net: Network,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    outputs: Outputs | None = None,
) -> None:
    """Write a network as a .pt2 file (`torch.export.load` reads it) or an .onnx file.

    The program takes any number of rows B, also none, and arguments of fixed ranks: the observation ``(B, ...)``, and
    each noise of its channel, sigma say, as one number per row, ``(B,)``. For another shape, a noise map ``(B, *leaf
    shape)`` say, export by hand: ``torch.export.export(net, (z, sigma), dynamic_shapes=({0: b}, {0: b}))`` with ``b =
    torch.export.Dim("b")``.

    Args:
        net: as `hgm.compile` returns it, exact or of ReLUs, with any channel that says how it observes.
        path: of the file; an existing one is replaced. The ending decides.
        dtype: of the observation that the program takes and of its result: float32, or, for .pt2, float64.
        outputs: what the program gives, as for the network's `forward`: a name, or a tuple of names; default the
            network's own answer. ``"log_partition"`` makes a scorer.

    Raises:
        BadSpec: for another ending or type, a channel without `observe`, an output that the network does not have, or a
            file that cannot be written.
        HgmError: if a library is missing, or if the exporter fails or gives a program with other results.
    """
    if not isinstance(net, Network):
        raise BadSpec(f"a program is made of a network that hgm.compile made; got {brief(net)}{_instead(net)}")
    where = checked_ending(path, "an exported network", (".pt2", ".onnx"))
    if not isinstance(dtype, torch.dtype) or dtype not in TOLERANCE:
        raise BadSpec(f"a network is exported for float32 or float64; got {brief(dtype)}")
    if where.suffix.lower() == ".onnx" and dtype != torch.float32:
        raise BadSpec("an ONNX file takes float32, because its exporter rounds constants to that; use .pt2 for float64")
    examples = [_example(net, dtype, rows) for rows in (ROWS, ROWS + 1)]  # to trace with, and of another batch size
    args, evidence = examples[0]
    names = asked(net.answer if outputs is None else outputs, net.lacks)
    program = net if outputs is None else _Asked(net, outputs)
    batch = {0: torch.export.Dim("batch")}
    given = inspect.signature(net.forward).bind(*args, **evidence).arguments
    shapes = {name: tuple(batch for _ in x) if isinstance(x, tuple) else batch for name, x in given.items()}
    make = _as_torch if where.suffix.lower() == ".pt2" else _as_onnx
    kind = "torch.export" if make is _as_torch else "ONNX"
    was_training = net.training
    try:
        with _quiet():
            content, run = make(net.eval(), program, args, evidence, shapes, names)
            with torch.no_grad():
                want = [x for example, e in examples for x in net(*example, **e, outputs=names)]
            got = [x for example, e in examples for x in run(example, e)]
    except HgmError:
        raise
    except Exception as error:  # the exporters raise whatever they like
        reason = next(iter(str(error).splitlines()), "")
        raise HgmError(f"{kind} cannot export this network: {type(error).__name__}: {reason}") from error
    finally:
        net.train(was_training)
    worst = max(_apart(a.detach(), b) for a, b in zip(got, want, strict=True))
    if not worst <= TOLERANCE[dtype]:  # NaN too
        raise HgmError(f"{kind} gives a program whose results differ from the network's by {worst:.1e}: not written")
    write_whole(where, content)


def _instead(given: Any) -> str:
    """What to do with something that is no network."""
    return "; compile it first" if isinstance(given, Tree) else ""


class _Asked(nn.Module):
    """A network that gives other outputs than its own answer."""

    def __init__(self, net: Network, outputs: Outputs) -> None:
        super().__init__()
        self.net, self.outputs = net, outputs

    def forward(
        self, observation: Tensor, noise: Any = None, scale: Any = None, *more: Tensor, evidence: Any = None
    ) -> Any:
        return self.net(observation, noise, scale, *more, evidence=evidence, outputs=self.outputs)


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative where numbers are large; NaN where only one is infinite."""
    gap = torch.where(a == b, 0.0, (a - b).abs() / b.abs().clamp(1.0, torch.finfo(b.dtype).max))
    return float(gap.max())


def _several(found: Any) -> tuple[Tensor, ...]:
    return tuple(found) if isinstance(found, tuple | list) else (found,)


def _as_torch(
    net: Network,
    asked_for: nn.Module,
    args: tuple[Tensor, ...],
    evidence: dict[str, Tensor],
    shapes: dict[str, Any],
    names: Sequence[str],
) -> tuple[bytes, Run]:
    program = torch.export.export(asked_for, args, evidence, dynamic_shapes=shapes)
    for part in (program.constants, program.state_dict):
        for name, held in part.items():
            if isinstance(held, Tensor) and not held.numel():  # torch.export.save trips over their strides
                fresh = torch.zeros(held.shape, dtype=held.dtype)
                part[name] = nn.Parameter(fresh, held.requires_grad) if isinstance(held, nn.Parameter) else fresh
    out = io.BytesIO()
    proof = {} if net.certificate is None else {"certificate.json": net.certificate.to_json()}
    torch.export.save(program, out, extra_files=proof)
    module = program.module()
    return out.getvalue(), lambda given, e: _several(module(*given, **e))


def _as_onnx(
    net: Network,
    asked_for: nn.Module,
    args: tuple[Tensor, ...],
    evidence: dict[str, Tensor],
    shapes: dict[str, Any],
    names: Sequence[str],
) -> tuple[bytes, Run]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise HgmError(f"ONNX needs more libraries ({error}); install them: pip install 'hgm[export]'") from None
    inputs = [*("observation", *net.channel.noise_names)[: len(args)], *evidence]
    program = torch.onnx.export(
        asked_for,
        args,
        kwargs=evidence,
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=inputs,
        output_names=list(names),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    if net.certificate is not None:
        model.metadata_props.add(key="certificate", value=net.certificate.to_json())
    content = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(given: tuple[Tensor, ...], e: dict[str, Tensor]) -> tuple[Tensor, ...]:
        feeds = {name: tensor.numpy() for name, tensor in zip(inputs, [*given, *e.values()], strict=True)}
        return tuple(torch.from_numpy(x) for x in session.run(None, feeds))

    return content, run


# ---------------------------------------------------------------------- observations to trace and to test with


def _example(net: Network, dtype: torch.dtype, rows: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Observations that the model can give, and ``evidence`` of the observed variables if the network takes any."""
    generator = torch.Generator().manual_seed(rows)
    sample = infer(net.plan.tree).sample(rows, generator=generator)
    states = sample.states[:, torch.from_numpy(net.plan.inputs.copy())]
    leaves = len(net.plan.inputs) - net.extra
    observation = net.channel.example(states[:, :leaves].reshape(rows, *net.leaf_shape), dtype, generator)
    if not net.extra:
        return observation, {}
    hit = states[:, None, leaves:] == torch.arange(net.states_in)[:, None]
    e = torch.randn(hit.shape, generator=generator, dtype=dtype)
    if net.certificate is None:  # one row is hard; a ReLU network may know of no bound there
        e[:1] = torch.where(hit[:1], 0.0, -torch.inf)
    return observation, {"evidence": e}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say about themselves, on the screen and in the log."""
    before = logging.root.manager.disable
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
