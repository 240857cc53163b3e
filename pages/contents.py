"""Which pages the reference has, in the order in which users need them. What stands on them is read off the code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page: the name of its file, its title, and what it is about.

    `parts` says by headings which modules stand on it: by how their names begin after ``hgm.``. Where several
    fit a module, also on different pages, the longest decides.
    """

    name: str
    title: str
    text: str
    parts: dict[str, str]


PAGES = [
    Page(
        "declare",
        "Declaring a model",
        "The ways to the same `Tree`: level by level, by name from an ensemble, from a file.",
        {"": "zoo.hierarchy", "Named ensembles": "zoo", "Files": "files.model"},
    ),
    Page(
        "tree",
        "Trees and potentials",
        "The frozen model: variables, factors and their tables.",
        {"": "tree.tree tree.potential tree.rules tree"},
    ),
    Page(
        "infer",
        "Inference",
        "What is known of every variable, exactly. [Concepts](../concepts.md) has the two passes.",
        {"": "bp"},
    ),
    Page(
        "evidence",
        "Evidence and channels",
        "What was seen, and through which noise. [Evidence](../evidence.md) has every way to say it.",
        {"Channels": "evidence.channel", "Evidence": "evidence"},
    ),
    Page(
        "compile",
        "Compiling",
        "A tree becomes a network. [From a tree to a network](../compiler.md) says how.",
        {"": "networks"},
    ),
    Page(
        "viz",
        "Pictures",
        "Drawings of trees, networks and posteriors, charts of results, and the explorer.",
        {"": "viz.draw viz.plot viz.explorer viz"},
    ),
    Page(
        "verify",
        "Verifying",
        "A network is held against the reference inference.",
        {"": "measure.exactness"},
    ),
    Page(
        "convert",
        "Converters",
        "Models of other libraries become trees, and trees their models.",
        {"": "bridges"},
    ),
    Page(
        "pyro", "With pyro", "A tree in a model of pyro. [Work with pyro](../pyro.md) shows it.", {"": "bridges.pyro"}
    ),
    Page(
        "store",
        "Files and exports",
        "Networks on disk, programs for other runtimes, and how every file is read and written. "
        "[File format](../files.md) has the format of models.",
        {"": "files.network files.program files"},
    ),
    Page(
        "learn",
        "Learning",
        "Potentials from data. [Learning](../learning.md) explains how, and on which trees.",
        {"": "learn.em learn.expect learn.objective learn.digest learn.observations"},
    ),
    Page(
        "diffusion",
        "Diffusion",
        "Everything here is handed on by `hgm.diffusion`. [Diffusion](../diffusion.md) says how it fits together.",
        {
            "": "diffusion",
            "Processes and predictions": "diffusion.process diffusion.prediction",
            "Exact": "diffusion.denoiser diffusion.exact diffusion.flow diffusion.guidance",
            "Sampling": "diffusion.sampler diffusion.step diffusion.schedulers diffusion.values diffusion.symbols",
            "Discrete diffusion": "diffusion.unmasking diffusion.ancestral diffusion.tokens",
            "Quality": "measure.quality measure.pearson measure.nearest",
            "diffusers": "diffusion.bridge diffusion.model diffusion.scale",
        },
    ),
    Page(
        "compare",
        "Comparing",
        "How far any network is from the optimum. [Comparing](../compare.md) shows it.",
        {"": "measure.gap measure.report measure"},
    ),
    Page(
        "baselines",
        "Networks to compare with",
        "Everything in `hgm.baselines` is handed on by it; `hgm.receptive_field` says what a network's outputs see.",
        {
            "": "baselines",
            "Making one": "baselines.registry baselines.sized baselines.problem baselines.framed",
            "Networks": "baselines.free baselines.widened baselines.unet baselines.convolution baselines.standard "
            "baselines.transformer baselines.layers",
            "What an output sees": "measure.support",
        },
    ),
    Page(
        "train",
        "Training networks",
        "One loop for every network: data fresh from the tree or a fixed sample, every noise level, towards "
        "the optimum.",
        {"": "learn"},
    ),
    Page(
        "ablate",
        "Ablating",
        "The best that is possible with one thing missing. [Ablating](../ablate.md) shows it.",
        {"": "ablation measure.threshold"},
    ),
    Page(
        "relu",
        "ReLU networks",
        "The same networks of linear maps and ReLUs, with a proof. [ReLU networks](../relu.md) has the bound.",
        {"": "relu", "Constructions": "relu.constructions", "Functions of one variable": "relu.pieces"},
    ),
    Page("errors", "Errors", "What is raised, and when.", {"": "errors"}),
    Page(
        "testing",
        "Testing",
        "A potential kind or layer of one's own inherits the tests that those of hgm pass, by saying how to make a "
        "tree that uses it. The battery compares networks with the reference inference, checks gradients against "
        "marginals and expected counts, and tries zeros, single precision, batches, state dicts and export. A channel "
        "of one's own inherits those of channels: how its log evidence lies in memory, that it is the likelihood "
        "of what the channel observes, batches, files and export.",
        {"": "testing measure.feed measure.samples"},
    ),
    Page(
        "plan",
        "Plans and stages",
        "What is between a tree and its network. [Handbook of the compiler](../handbook.md) shows it in pictures.",
        {
            "From a tree to a plan": "compiler.schedule compiler.plan compiler.ops compiler.levels compiler.path "
            "compiler.fold compiler.ranges compiler.rule_table compiler.parts",
            "From a plan to stages": "compiler",
        },
    ),
    Page(
        "study",
        "Studies",
        "A study is a function under a name. [Studies](../studies.md) has what they found.",
        {"": "study"},
    ),
    Page(
        "demo",
        "The demonstration",
        "[Handwritten digits](../digits.md) says what it does and what it finds.",
        {"": "demo.run demo"},
    ),
    Page(
        "cli",
        "The code of the command line",
        "[Command line](../cli.md) has the commands; this is for one of your own.",
        {"": "cli"},
    ),
]

INDEX = """# Reference

Generated from the docstrings. Shapes are written with these letters:

| letter | meaning |
|---|---|
| `B` | batch |
| `S` | states (cardinality); the channels of a network |
| `n`, or `H`, `W` | nodes of a level, in one or two dimensions; the positions of a network |
| `V`, `F` | variables, factors of a tree |
| `L` | levels |
| `m` | arity: children of one node |

Every public name, in the order in which they are needed.
"""
