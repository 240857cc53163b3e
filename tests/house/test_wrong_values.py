"""Every public callable, with every argument wrong in every way: what comes out is an `HgmError` of one clear line.

The callables are found, not listed: the public names of hgm, hgm.zoo, hgm.testing and hgm.study, and the public
methods of the classes among them. `CALLS` has arguments that are right for each, and the walk replaces one after the
other. What Python raises where arguments are too few, too many or unknown (`TypeError`) is not walked, nor is what
torch's own methods of a module raise.
"""

import functools
import inspect
import types
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

import hgm
import hgm.baselines
import hgm.diffusion
import hgm.study
from hgm.bp.assignment import Assignment, Mode
from hgm.bp.sequences import Sequences

# ---------------------------------------------------------------------- what is right


@functools.cache
def tree():
    step = hgm.Edge([[0.9, 0.1], [0.2, 0.8]], name="step")
    factors = [(("a",), [0.5, 0.5]), (("a", "b"), step), (("a", "c"), [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])]
    return hgm.Tree.from_factors(factors, {"a": 2, "b": ["no", "yes"], "c": 3})


@functools.cache
def net(task="posterior", **options):
    return hgm.compile(tree(), task, **options)


@functools.cache
def noisy():
    return hgm.compile(hgm.random_ghm(1, 2, (2, 2)), "denoise", channel=hgm.Gaussian())


@functools.cache
def found():
    return hgm.compare(noisy(), hgm.random_ghm(1, 2, (2, 2)), noise=[0.5], n=2)


@functools.cache
def trained():
    return hgm.fit(tree(), ROWS, iterations=1)


@functools.cache
def relu():
    return hgm.compile(tree(), activation="relu", tol=0.5)


def foreign():
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    model = DiscreteBayesianNetwork()
    model.add_node("a")
    model.add_cpds(TabularCPD("a", 2, [[0.5], [0.5]]))
    return model


def digraph():
    graph = nx.DiGraph()
    graph.add_edge("a", "b", potential=np.eye(2))
    return graph


def saved(write, name):
    write(name)
    return name


@functools.cache
def denoiser():
    return hgm.diffusion.Denoiser(hgm.random_ghm(1, 2, (2, 2)), hgm.Gaussian(), {"label": 1, "x0_0": 1})


@functools.cache
def exact():
    return hgm.diffusion.Exact(hgm.random_ghm(1, 2, (2, 2)), FLOW)


@functools.cache
def cnn():
    return hgm.compile(hgm.random_ghm(1, 2, (2, 2)), "classify", channel=hgm.Gaussian())


@functools.cache
def problem():
    return hgm.baselines.Problem(hgm.random_ghm(1, 2, (2, 2)), hgm.Gaussian([0.0, 1.0]))


@functools.cache
def framed():
    return hgm.baselines.make("cnn_3", problem().tree, hgm.Gaussian([0.0, 1.0]), parameters=3000)


def ddim():
    import diffusers

    return diffusers.DDIMScheduler(clip_sample=False, prediction_type="sample")


FLOW = hgm.diffusion.RectifiedFlow()
ANSWERS = ("mean", "posterior", "log_prob", "score", "variance", "covariance", "entropy")
LOGS = torch.zeros(2, 3, 2)  # log evidence of the leaves of `tree`
IMAGE, STATES = torch.zeros(2, 2, 2), torch.zeros(2, 2, 2, dtype=torch.long)
SEEN, ROWS = {"b": "yes"}, {"b": ["no", "yes", None], "c": [0, 1, 2]}
MATRIX, GENERATOR = [[0.5, 0.5], [0.1, 0.9]], torch.Generator()
EDGE, RULES = hgm.Edge(MATRIX), hgm.Rules((2, 2), [[0, 0], [1, 1]], [1.0, 2.0])
GAUSSIAN = hgm.Gaussian([0.0, 1.0])
LOOKS = dict(cardinality=(2, 3), joint=0.5, width=3, unary=0.5, zeros=0.1, bound=10.0, seed=0)
SOURCE = dict(observation=IMAGE, noise=(0.5,), channel=hgm.Gaussian(), evidence={"label": 1})
COMPILED = dict(
    tree=tree(), task="posterior", channel=hgm.Soft(), query=["b"], observed=["a"], trainable=False, schedule=None,
    plan=None, check="now", activation="exact", tol=0.1, bound="log_posterior", allocation="optimal", construction=None,
    floor=None,
)  # fmt: skip
LEARNED = dict(
    tree=tree(), data=ROWS, noise=(), channel=None, evidence=None, smoothing=0.0, iterations=1, tolerance=0.0, seed=0,
    batch_size=2, dtype=torch.float64, checkpoint=None, every=1, progress=False,
)  # fmt: skip

TRAINED = dict(
    network=lambda: hgm.compile(hgm.random_ghm(1, 2, (2, 2)), "denoise", channel=hgm.Gaussian(), trainable=True),
    data=hgm.random_ghm(1, 2, (2, 2)), channel=GAUSSIAN, task="denoise", noise=(0.1, 1.0), n=8, validation=4, steps=1,
    batch_size=2, learning_rate=0.01, warmup=0, weight_decay=0.1, clip=1.0, ema=0.9, every=1, patience=1, seed=0,
    checkpoint=None, progress=False,
)  # fmt: skip


def over_grid(**more):
    return dict(tree=hgm.random_ghm(1, 2, (2, 2)), **SOURCE) | more


def channel(kind, *noise, dtype=torch.long, **given):
    """The entries of a channel: an observation read, and drawn."""
    made = kind(**given)
    z = torch.zeros(2, 2, 2, dtype=dtype)
    return {
        f"Channel.forward ({kind.__name__})": (lambda: made, dict(z=z, noise=noise)),
        f"{kind.__name__}.observe": (lambda: made.observe, dict(x=STATES, noise=noise, generator=GENERATOR)),
    }


def level(**given):
    """A level is looked at when it is used."""
    return hgm.ghm([hgm.Level(**given)], 2)


#: for each callable what makes it, None where it is what it is called, and right arguments (of functions: made anew)
CALLS = {
    "infer": (None, over_grid()),
    "infer (by name)": (None, dict(tree=tree(), observation=SEEN, noise=(), channel=None, evidence={"c": 1})),
    "log_evidence": (None, over_grid(dtype=torch.float64, device="cpu")),
    "log_partition": (None, dict(tree=tree(), observation=SEEN, noise=(), log_potentials={"step": torch.zeros(2, 2)})),
    "log_likelihood": (None, dict(tree=tree(), assignments={"a": 0, "b": "no", "c": 2})),
    "compile": (None, COMPILED),
    "threads": (None, dict(network=net(), rows=3)),
    "compile (to ReLUs)": (None, COMPILED | dict(activation="relu")),
    "fit": (None, LEARNED),
    "train": (None, TRAINED),
    "verify": (
        None,
        dict(tree=tree(), tasks=["posterior"], batch=2, seed=0, query="a", tolerance={torch.float64: 1.0}),
    ),
    "compare": (
        None,
        dict(
            network=noisy,
            tree=hgm.random_ghm(1, 2, (2, 2)),
            channel=hgm.Gaussian(),
            noise=[0.5],
            n=2,
            seed=0,
            task="denoise",
            given=["label"],
            per="leaf",
            progress=False,
        ),
    ),
    "ablate": (None, dict(tree=hgm.random_ghm(1, 2, (2, 2)), kind="window", channel=hgm.Gaussian(), radius=1)),
    "ablate (the level of noise)": (
        None,
        dict(tree=hgm.random_ghm(1, 2, (2, 2)), kind="blind", noise=[0.5, 1.0], weights=[1.0, 2.0]),
    ),
    "ablate (a level)": (None, dict(tree=hgm.random_ghm(1, 2, (2, 2)), kind="block", level=1)),
    "ablate (another tree)": (
        None,
        dict(tree=hgm.random_ghm(1, 2, (2, 2)), kind="tree", other=hgm.random_ghm(1, 2, (2, 2), seed=1)),
    ),
    "Gap.save": (lambda: found().save, dict(path="gap.json")),
    "gap": (None, dict(gap=lambda: found(), path="gap.svg")),
    "ablations": (None, dict(gaps=lambda: {"one": found()}, path="parts.svg")),
    "certificate": (None, dict(certificate=lambda: relu().certificate, path="budget.svg")),
    "images": (None, dict(rows=lambda: {"seen": IMAGE}, path="images.svg", low=0.0, high=1.0)),
    "posterior": (None, dict(posterior=lambda: hgm.infer(tree(), SEEN), names=["b"], path="bars.svg")),
    "training": (None, dict(training=lambda: trained(), path="loss.svg", optimum=0.1)),
    "draw": (None, dict(what=tree(), path="tree.svg", style="nodes")),
    "load": (None, dict(path=lambda: saved(lambda name: hgm.save(tree(), name), "tree.yaml"))),
    "save": (None, dict(tree=tree(), path="tree.json")),
    "load_network": (None, dict(path=lambda: saved(lambda name: hgm.save_network(net(), name), "n.safetensors"))),
    "save_network": (None, dict(net=net(), path="net.safetensors")),
    "export": (None, dict(net=net(), path="net.pt2", dtype=torch.float32, outputs="posterior")),
    "from_networkx": (None, dict(graph=digraph)),
    "to_networkx": (None, dict(tree=tree())),
    "from_pgmpy": (None, dict(model=foreign, observed=None, roots=["a"])),
    "to_pgmpy": (None, dict(tree=tree(), kind="markov")),
    "ghm": (None, dict(levels=[hgm.Level(2, 2)], root=2, prior=[0.5, 0.5], grid=(2,), seed=0, root_name="top")),
    "Level": (lambda: level, dict(arity=2, states=2, potential=None, tie="position", name="x")),
    "random_ghm": (None, dict(depth=1, states=2, arity=2, root=2, bound=2.0, joint=False, tie="level", seed=0)),
    "rhm": (None, dict(states=2, rules=1, arity=2, depth=1, classes=2, seed=0)),
    "filtered_hierarchy": (None, dict(states=2, depth=2, k=1, arity=2, sigma=1.0, rules=None, seed=0)),
    "broadcast": (None, dict(depth=1, states=2, arity=2, eps=0.1)),
    "star": (None, dict(leaves=2, states=2, root=2, tied=False, seed=0)),
    "random_tree": (None, dict(variables=3, **LOOKS)),
    "forest": (None, dict(sizes=[2, 1], **LOOKS)),
    "chain": (None, dict(length=3, states=2, transition=MATRIX, prior=[0.5, 0.5], seed=0)),
    "hmm": (None, dict(length=3, states=2, symbols=2, transition=MATRIX, emission=MATRIX, prior=[0.5, 0.5], seed=0)),
    "caterpillar": (None, dict(spine=2, states=2, symbols=2, legs=1, tied=False, seed=0)),
    "hidden_markov_tree": (
        None,
        dict(depth=1, states=2, symbols=2, arity=2, transition=MATRIX, emission=MATRIX, prior=[0.5, 0.5], seed=0),
    ),
    "Tree.from_factors": (
        None,
        dict(
            factors=[(("a",), [0.5, 0.5]), (("a", "b"), EDGE)],
            variables={"a": 2, "b": ["no", "yes"]},
            roots=["a"],
            observed={"b": "no"},
        ),
    ),
    "Tree.from_edges": (
        None,
        dict(edges=[("a", "b", EDGE)], priors={"a": [0.5, 0.5]}, variables={"a": 2, "b": ["no", "yes"]}),
    ),
    "Tree.reroot": (lambda: tree().reroot, dict(roots=("b",))),
    "Tree.with_potentials": (lambda: tree().with_potentials, dict(potentials=tree().potentials)),
    "Tree.factor": (lambda: tree().factor, dict(key="a")),
    "Tree.potential_of": (lambda: tree().potential_of, dict(factor=0)),
    "Structure.at_level": (lambda: tree().at_level, dict(level=1)),
    "Structure.scope_of": (lambda: tree().scope_of, dict(factor=1)),
    "Structure.children_of": (lambda: tree().children_of, dict(factor=1)),
    "Structure.factors_of": (lambda: tree().factors_of, dict(variable=0)),
    "Structure.scope_names": (lambda: tree().scope_names, dict(factor=1)),
    "Structure.index": (lambda: tree().index, dict(name="b")),
    "Structure.labels": (lambda: tree().labels, dict(variable=1)),
    "Structure.state_names": (lambda: tree().state_names, dict(variable=1)),
    "Structure.state": (lambda: tree().state, dict(variable=1, state="no")),
    "Posterior.__getitem__": (lambda: hgm.infer(tree()).__getitem__, dict(name="b")),
    "Posterior.mean": (lambda: hgm.infer(hgm.random_ghm(1, 2)).mean, dict(channel=hgm.Gaussian())),
    "Posterior.factor_marginals": (lambda: hgm.infer(tree()).factor_marginals, dict(factor=("a", "b"))),
    "Posterior.sample": (lambda: hgm.infer(tree()).sample, dict(n=2, generator=GENERATOR)),
    "Posterior.log_prob": (lambda: hgm.infer(tree()).log_prob, dict(assignment={"a": 0, "b": "no", "c": 2})),
    "ByName.get": (lambda: hgm.infer(tree()).get, dict(name="b", default=None)),
    "Assignment.__getitem__": (lambda: hgm.infer(tree()).mode().__getitem__, dict(name="b")),
    "Assignment.labels": (lambda: hgm.infer(tree()).mode().labels, dict(name="b")),
    "Assignment.values": (lambda: hgm.infer(hgm.random_ghm(1, 2)).mode().values, dict(channel=hgm.Gaussian())),
    "Sequences.__getitem__": (lambda: hgm.infer(hgm.chain(3, 2), [[0, 1], [1]]).__getitem__, dict(i=0)),
    "Network.forward (ConvNet)": (
        lambda: net("classify", query="b", observed=("a",)),
        dict(
            observation=LOGS,
            evidence=None,
            outputs="posterior",
            log_potentials={"step": torch.zeros(2, 2)},
            check="later",
        ),
    ),
    "Network.forward (UNet)": (
        noisy,
        dict(observation=IMAGE, noise=0.5, scale=1.0, more=(), evidence=None, outputs=("mean",), check="now"),
    ),
    "Network.given": (lambda: net().given, dict(evidence=SEEN, outputs="posterior", check="now")),
    "Network.log_partition": (
        lambda: noisy().log_partition,
        dict(observation=IMAGE, noise=0.5, scale=1.0, check="later"),
    ),
    "Network.extra_error": (lambda: net().extra_error, dict(dtype=torch.bfloat16, observation=(LOGS,), evidence=None)),
    "Certificate.from_json": (None, dict(text=lambda: relu().certificate.to_json())),
    "Likelihood": (None, dict(values=[0.5, 0.5])),
    "Likelihood.log": (None, dict(values=[0.5, 0.5])),
    "Table": (None, dict(values=MATRIX, name="t")),
    "Table.from_log": (None, dict(log_potential=MATRIX, name="t")),
    "Edge": (None, dict(values=MATRIX, name="t")),
    "Rules": (None, dict(shape=(2, 2), states=[[0, 0], [1, 1]], weights=[1.0, 2.0], name="r")),
    "Rules.from_log": (None, dict(shape=(2, 2), states=[[0, 0], [1, 1]], log_weights=[1.0, 2.0], name="r")),
    "Potential.with_log": (lambda: EDGE.with_log, dict(log_potential=MATRIX)),
    "Potential.with_values": (lambda: EDGE.with_values, dict(values=MATRIX)),
    "Potential.named": (lambda: EDGE.named, dict(name="e")),
    "Potential.scaled": (lambda: EDGE.scaled, dict(log_factor=1.0)),
    **channel(hgm.Soft, dtype=torch.float32, states=2),
    **channel(hgm.Clamp, states=2),
    **channel(hgm.Erasure, torch.ones(2, 2, 2, dtype=torch.bool), states=2),
    **channel(hgm.Flip, 0.1, states=2),
    **channel(hgm.Gaussian, 0.5, dtype=torch.float32, states=2),
    **channel(hgm.Missing, 0.5, dtype=torch.float32, channel=hgm.Gaussian(states=2)),
    "Gaussian.add_noise": (lambda: GAUSSIAN.add_noise, dict(x=IMAGE, sigma=0.5, alpha=1.0, generator=GENERATOR)),
    **{kind: (None, dict(values=[0.0, 1.0], states=None)) for kind in ("Soft", "Clamp", "Erasure", "Flip", "Gaussian")},
    "Missing": (None, dict(channel=hgm.Gaussian())),
    "Channel.bound": (lambda: hgm.Gaussian().bound, dict(states=2)),
    "Missing.bound": (lambda: hgm.Missing(hgm.Gaussian()).bound, dict(states=2)),
    "LabelSet": (None, dict(labels=["A", "C"], codes={"N": {"A", "C"}})),
    "study": (None, dict(name="mine")),
    "Study": (None, dict(name="mine", function=print)),
    "Study.run": (lambda: hgm.study.Study("mine", lambda out, quick: None).run, dict(out=Path(), quick=True)),
    "make": (
        None,
        dict(
            name="cnn_3",
            tree=hgm.random_ghm(1, 2, (2, 2)),
            channel=GAUSSIAN,
            parameters=3000,
            compute=None,
            seed=0,
            task="denoise",
        ),
    ),
    "make (by compute)": (
        None,
        dict(name="cnn_1", tree=hgm.random_ghm(1, 2, (2, 2)), channel=GAUSSIAN, compute=20_000),
    ),
    "describe": (None, dict(net=net())),
    "names": (None, {}),
    "baseline": (None, dict(name="mine", text="A line.")),
    "Baseline": (None, dict(name="mine", text="A line.", recipe=lambda: lambda problem, width: None)),
    "Problem": (None, dict(tree=hgm.random_ghm(1, 2, (2, 2)), channel=GAUSSIAN, task="denoise")),
    "Problem.levels": (lambda: problem().levels, dict(most=4)),
    "Framed": (
        None,
        dict(problem=problem, body=lambda: framed().body, sees="skip", multiple=1, window=3),
    ),
    "Framed.forward": (lambda: framed().forward, dict(z=IMAGE, noise=0.5)),
    "receptive_field": (None, dict(net=framed, shape=(2, 2), sigma=1.0, at=(0, 1), inputs=2, seed=0)),
    "receptive_field (at data)": (None, dict(net=framed, inputs=IMAGE)),
    "feed": (None, dict(network=net(), tree=tree(), log_evidence=torch.zeros(1, 3, 3))),
    "random_evidence": (None, dict(tree=tree(), seed=0, batch=6, decades=2.0)),
    "soft_evidence": (None, dict(tree=tree(), batch=2, scale=1.0, generator=GENERATOR)),
    "expected_counts": (None, dict(posterior=lambda: hgm.infer(tree()))),
    "Denoiser": (None, dict(tree=tree(), channel=hgm.Gaussian(), evidence={"a": 1}, task="denoise", query=None)),
    "Denoiser.forward": (lambda: denoiser().forward, dict(z=IMAGE, noise=(0.5, 1.0), outputs="mean")),
    "Denoiser.log_partition": (lambda: denoiser().log_partition, dict(z=IMAGE, noise=(0.5, 1.0))),
    "Exact": (None, dict(tree=tree(), process=FLOW, channel=hgm.Gaussian(), evidence={"a": 1})),
    **{f"Exact.{name}": (lambda name=name: getattr(exact(), name), dict(z=IMAGE, t=0.5)) for name in ANSWERS},
    "Exact.covariance_times": (lambda: exact().covariance_times, dict(z=IMAGE, t=0.5, vector=IMAGE)),
    "Exact.observe": (lambda: exact().observe, dict(x=STATES, t=0.5, generator=GENERATOR)),
    "Exact.sample": (lambda: exact().sample, dict(z=IMAGE, t=0.5, n=2, generator=GENERATOR)),
    **{f"{kind}": (None, {}) for kind in ("Masked", "Uniform", "RectifiedFlow", "StochasticLocalisation")},
    "VariancePreserving": (None, dict(kind="cosine")),
    "VarianceExploding": (None, dict(low=0.1, high=10.0)),
    "GaussianProcess.at": (lambda: FLOW.at, dict(t=0.5)),
    "GaussianProcess.rates": (lambda: FLOW.rates, dict(t=0.5)),
    "GaussianProcess.noise": (lambda: FLOW.noise, dict(t=0.5)),
    "Masked.noise": (lambda: hgm.diffusion.Masked().noise, dict(t=0.5)),
    "Uniform.noise": (lambda: hgm.diffusion.Uniform().noise, dict(t=0.5, states=2)),
    "Process.channel": (lambda: FLOW.channel, dict(given=hgm.Gaussian(), states=2)),
    "Process.noise": (lambda: FLOW.noise, dict(t=0.5)),
    "Process.observe": (lambda: FLOW.observe, dict(x=STATES, t=0.5, channel=GAUSSIAN, generator=GENERATOR)),
    "Masked.observe": (
        lambda: hgm.diffusion.Masked().observe,
        dict(x=STATES, t=0.5, channel=hgm.Erasure(states=2), generator=GENERATOR),
    ),
    "convert": (
        None,
        dict(given=IMAGE, source="x0", target="velocity", z=IMAGE, alpha=0.5, sigma=0.5, rates=(-1.0, 1.0)),
    ),
    "guided": (None, dict(denoiser=noisy, classifier=lambda: cnn, label=1, strength=2.0)),
    "flow_log_prob": (
        None,
        dict(denoiser=noisy, z=IMAGE, t=0.5, process=FLOW, trace="exact", tolerance=0.1, generator=GENERATOR),
    ),
    "scheduler": (None, dict(name="heun", process=FLOW)),
    "sample": (
        None,
        dict(
            denoiser=noisy,
            scheduler="ddim",
            n=2,
            steps=2,
            shape=(2, 2),
            channel=hgm.Gaussian([0.0, 1.0]),
            generator=GENERATOR,
            batch_size=1,
            progress=False,
            callback=print,
        ),
    ),
    "sample (of symbols)": (
        None,
        dict(denoiser=lambda: net(channel=hgm.Erasure()), scheduler="masked", n=2, steps=2, shape=(2,), channel=None),
    ),
    "schedule": (None, dict(tree=tree(), steps=2, order=["c", "b"], draws=8, seed=0)),
    "Schedule.cost": (lambda: hgm.diffusion.schedule(tree(), 2, draws=8).cost, dict(sizes=[1, 1])),
    "quality": (
        None,
        dict(
            samples=STATES[:, 0].repeat(5, 1),
            tree=tree(),
            channel=hgm.Gaussian(),
            evidence={"a": 0},
            reference=100,
            seed=0,
        ),
    ),
    "Quality.__getitem__": (
        lambda: hgm.diffusion.quality(STATES[:, 0].repeat(5, 1), tree(), reference=100).__getitem__,
        dict(name="leaves"),
    ),
    "TreeDistribution": (
        None,
        dict(
            tree=tree(),
            potentials={"step": torch.ones(2, 2)},
            log_potentials={},
            over=["b"],
            missing=True,
            engine="auto",
            validate_args=None,
        ),
    ),
    "TreeDistribution.log_prob": (lambda: hgm.TreeDistribution(tree()).log_prob, dict(value=torch.zeros(3, 2))),
    "TreeDistribution.posterior": (lambda: hgm.TreeDistribution(tree()).posterior, dict(value=torch.zeros(2).long())),
    "TreeDistribution.sample": (lambda: hgm.TreeDistribution(tree()).sample, dict(sample_shape=(3,))),
    "TreeDistribution.expand": (lambda: hgm.TreeDistribution(tree()).expand, dict(batch_shape=(3,))),
    "TreeDistribution.enumerate_support": (
        lambda: hgm.TreeDistribution(tree()).enumerate_support,
        dict(expand=True),
    ),
    "to_pyro": (None, dict(tree=tree())),
    "from_pyro": (None, dict(model=lambda: hgm.to_pyro(tree()))),
    "explore": (None, dict(tree=tree(), path="page.html", channel=hgm.Clamp(), costs=False)),
    "as_diffusers": (None, dict(net=noisy, scheduler=lambda: ddim())),
    "from_diffusers": (
        None,
        dict(model=lambda: hgm.diffusion.as_diffusers(noisy(), ddim()), scheduler=lambda: ddim(), channel=GAUSSIAN),
    ),
}

# ---------------------------------------------------------------------- what is wrong


def some():
    yield 0


#: by name, each made anew
WRONG = {
    "None": lambda: None,
    "path": lambda: Path("nowhere") / "model.yaml",
    "text": lambda: "no such thing",
    "bytes": lambda: b"model.yaml",
    "open file": lambda: open(__file__),  # noqa: SIM115 - it is closed by `attempt`
    "one": lambda: 1,
    "minus one": lambda: -1,
    "half": lambda: 2.5,
    "nan": lambda: float("nan"),
    "huge": lambda: 10**30,
    "true": lambda: True,
    "complex": lambda: 1j,
    "empty list": lambda: [],
    "list": lambda: ["b"],
    "numbers": lambda: [0, 1, 5],
    "ragged": lambda: [[0, 1], [2]],
    "tuple": lambda: ("b", 3),
    "dict": lambda: {"z": 1},
    "odd dict": lambda: {("b",): {}},
    "set": lambda: {1, 2},
    "scalar": lambda: np.array(0.5),
    "vector": lambda: np.arange(3),
    "wide": lambda: np.zeros((1, 2, 3, 4, 5)),
    "no rows": lambda: np.zeros((0, 2)),
    "objects": lambda: np.array([object(), None]),
    "words": lambda: np.array(["a", "b"]),
    "dates": lambda: np.array(["2024-01-01"], dtype="M8[D]"),
    "masked": lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
    "frame": lambda: pd.DataFrame({"z": [1, 2], 3: ["x", None]}),
    "series": lambda: pd.Series(["x", None]),
    "tensor": lambda: torch.zeros(7, 7),
    "bool tensor": lambda: torch.zeros(2, 2, dtype=torch.bool),
    "complex tensor": lambda: torch.zeros(2, 2, dtype=torch.complex64),
    "nan tensor": lambda: torch.full((2, 2, 2), torch.nan),
    "meta tensor": lambda: torch.zeros(2, 2, device="meta"),
    "sparse tensor": lambda: torch.eye(2).to_sparse(),
    "leaf tensor": lambda: torch.zeros(2, 2, requires_grad=True),
    "tree": tree,
    "network": net,
    "potential": lambda: EDGE,
    "channel": lambda: hgm.Flip(),
    "class": lambda: hgm.Gaussian,
    "function": lambda: lambda *given: given,
    "generator": some,
    "object": object,
    "dtype": lambda: torch.int32,
}

# ---------------------------------------------------------------------- the walk

ROOMS = (hgm, hgm.zoo, hgm.baselines, hgm.diffusion, hgm.testing, hgm.study, hgm.plot)
#: what an inference gives, which no name of hgm stands for
GIVEN = (Mode, Assignment, Sequences)
#: made by functions and not by hand: their methods are walked
RESULTS = {
    "Gap",
    "Measure",
    "Step",
    "Schedule",
    "Quality",
    "Tree",
    "Posterior",
    "Fit",
    "Training",
    "Difference",
    "Verification",
    "Certificate",
    "ConvNet",
    "UNet",
}
#: what hgm calls on an extension, whose author overrides it, and `Tree.build`, which is for arrays that were made so
INNER = {
    "states_first",
    "positions",
    "rearranged",
    "batch_last",
    "spread",
    "noise_at",
    "example",
    "entry",
    "from_entry",
}
INNER |= {"from_parts", "log_at", "build", "alpha_sigma", "log_density", "check", "rows"}
#: batteries of tests, and bases that are subclassed
BASES = {"Conformance", "ChannelConformance", "Potential", "Channel", "Channel.observe", "assert_close"}
SLOW = {"compile (to ReLUs)", "verify", "export", "fit", "from_pgmpy"}
#: another error: beyond the last, as in a list
OTHERS = {("Sequences.__getitem__", "huge"): IndexError}
#: these are never right, but where
NONSENSE = {"open file", "class", "function", "object", "dtype", "network", "tree", "complex", "bytes"}
FREE = {
    ("draw", "what"),
    ("ByName.get", "name"),
    ("ByName.get", "default"),
    ("Study", "function"),
    ("compare", "network"),
    ("Baseline", "recipe"),
    ("guided", "denoiser"),
    ("guided", "classifier"),
    ("from_diffusers", "model"),
    ("sample", "callback"),
}  # anything may be asked for, or given
FREE |= {("compile", name) for name in ("tol", "bound", "allocation", "construction", "floor")}  # of ReLU networks only


def callables():
    """The public functions and classes, and the public methods that take arguments, each by its owner's name."""
    found = {}
    for room in ROOMS:
        for name in room.__all__:
            own = getattr(room, name)
            if isinstance(own, type) and not issubclass(own, Exception):
                found |= methods(own)
                if name not in RESULTS | BASES:
                    found[name] = own
            elif isinstance(own, types.FunctionType) and name not in BASES:
                found[name] = own
    for kind in GIVEN:
        found |= methods(kind)
    return found


def methods(kind):
    found = {}
    for owner in kind.__mro__:
        if not owner.__module__.startswith("hgm.") or owner.__name__ in (
            "Conformance",
            "ChannelConformance",
            "Battery",
        ):
            continue
        for name, own in vars(owner).items():
            public = not name.startswith("_") or name == "__getitem__"
            if isinstance(own, functools.cached_property):
                continue
            if isinstance(own, classmethod):
                own = getattr(kind, name)
            if public and name not in INNER and inspect.isroutine(own) and takes(own):
                found[f"{owner.__name__}.{name}"] = own
    return {name: own for name, own in found.items() if name not in BASES}


def takes(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def called(key):
    return key.partition(" (")[0]


def test_every_public_callable_is_walked():
    missing = callables().keys() - set(map(called, CALLS))
    assert not missing, f"give right arguments for {sorted(missing)} in CALLS, so that wrong ones can be tried"


def test_a_new_public_name_is_found(monkeypatch):
    monkeypatch.setattr(hgm.zoo, "__all__", [*hgm.zoo.__all__, "grow"])
    monkeypatch.setattr(hgm.zoo, "grow", lambda seed: None, raising=False)
    with pytest.raises(AssertionError, match=r"\['grow'\]"):
        test_every_public_callable_is_walked()


def made(value):
    return value() if isinstance(value, types.FunctionType | functools._lru_cache_wrapper) else value


def target(key):
    """What is called, and how its arguments are given."""
    make = CALLS[key][0]
    own = callables()[called(key)] if make is None else make()
    return own, inspect.signature(own.forward if isinstance(own, torch.nn.Module) else own)


def call(own, signature, given):
    """Call with arguments by name, of which those that have no name are several."""
    args, kwargs, names = [], {}, list(signature.parameters)
    several = next((n for n, p in signature.parameters.items() if p.kind is p.VAR_POSITIONAL), None)
    before = names[: names.index(several)] if given.get(several) else []
    for name in before:
        args.append(given[name] if name in given else signature.parameters[name].default)
    args += given.get(several, ())
    kwargs = {name: value for name, value in given.items() if name not in before and name != several}
    return own(*args, **kwargs)


def attempt(key, param, wrong):
    """What a callable answers to one wrong value: ``None`` if all is well, else what is not."""
    own, signature = target(key)
    base = CALLS[key][1]
    given, value = {name: made(right) for name, right in base.items()}, WRONG[wrong]()
    several = param in signature.parameters and signature.parameters[param].kind is inspect.Parameter.VAR_POSITIONAL
    given[param] = (value, *base[param][1:]) if several else value
    what = f"{key}, {param}={wrong}"
    try:
        call(own, signature, given)
    except hgm.HgmError as error:
        text = str(error)
        return None if text and "\n" not in text and len(text) < 700 else f"{what}: not one line: {text!r}"
    except OTHERS.get((called(key), wrong), ()):
        return None
    except Exception as error:
        return f"{what}: {type(error).__name__}: {error}"
    finally:
        getattr(value, "close", lambda: None)()
    right = type(value) is type(given[param]) and isinstance(made(base[param]), type(value))  # a tree for a tree
    if wrong in NONSENSE and not right and not {(key, param), (called(key), param)} & FREE:
        return f"{what} is taken without a word"
    return None


def tried(key):
    return [(param, wrong) for param in CALLS[key][1] for wrong in WRONG]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("key", [key for key in CALLS if key not in SLOW])
def test_right_arguments_are_taken(key):
    call(*target(key), {name: made(right) for name, right in CALLS[key][1].items()})


@pytest.mark.parametrize("key", [key for key in CALLS if key not in SLOW])
def test_wrong_values_end_in_one_clear_line(key):
    cases = tried(key)
    failed = [found for case in cases[:: max(1, len(cases) // 40)] if (found := attempt(key, *case))]
    assert not failed, "\n".join(failed)


@pytest.mark.long
@pytest.mark.parametrize("key", CALLS)
def test_every_wrong_value_ends_in_one_clear_line(key):
    failed = [found for case in tried(key) if (found := attempt(key, *case))]
    assert not failed, "\n".join(failed)
