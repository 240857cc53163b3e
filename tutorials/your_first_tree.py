# %% [markdown]
# # Your first tree
#
# After this page you can write a *generative hierarchical model* (GHM) down in five ways, in Python, as a YAML file,
# with pgmpy, with networkx and with pyro, tell whether two models are the same, and ask one of them a question.
#
# The model: it is night or day; the left and the right half of an image are dark, mixed or bright; each half has two
# pixels. What is above decides what is likely below, by a table: row $s$ holds the probabilities of the child's
# states if its parent is in state $s$. In hgm such a table is a *potential*, and the place where it stands, on an edge
# or as the *prior* of the root, is a *factor*.

# %%
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx
import pyro
import pyro.distributions as dist
import torch
from pgmpy.factors.discrete import TabularCPD
from pgmpy.models import DiscreteBayesianNetwork

import hgm
from hgm.viz.style import PALETTE

torch.set_default_dtype(torch.float64)  # double precision
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

prior = [0.4, 0.6]  # p(night), p(day)
half = [[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]  # p(dark, mixed, bright | night), and by day
pixel = [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]  # p(black, white | dark), and so on

# %% [markdown]
# ## In Python
#
# A `Level` says how many children each node of the level above has, their states, and the table. All edges of a level
# share it: they are *tied*.

# %% alt="The tree: label above, two halves below it, four pixels at the bottom; one colour for each table"
in_python = hgm.ghm(
    [
        hgm.Level(
            arity=2, states=["dark", "mixed", "bright"], potential=half, name="half"
        ),
        hgm.Level(arity=2, states=["black", "white"], potential=pixel),
    ],
    root=["night", "day"],
    prior=prior,
)
print(in_python)
hgm.draw(in_python)

# %% [markdown]
# ## As a file
#
# The same words, in YAML. A model in a file can be used from the shell too: `hgm draw image.yaml -o tree.svg`, or
# `hgm infer image.yaml --evidence x0=white`. [File format](../files.md) has all of it.

# %%
Path("image.yaml").write_text("""
root: {states: [night, day], prior: [0.4, 0.6]}
levels:
  - arity: 2
    states: [dark, mixed, bright]
    name: half
    potential: {table: [[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]}
  - arity: 2
    states: [black, white]
    potential: {table: [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]}
""")
in_yaml = hgm.load("image.yaml")
assert in_yaml == in_python

# %% [markdown]
# ## From pgmpy
#
# You may have a Bayesian network in [pgmpy](https://pgmpy.org). Its tables are the other way round: a column for each
# state of the parent. `hgm.from_pgmpy` turns them.

# %%
edges = [("label", "half0"), ("label", "half1")]
edges += [(f"half{i // 2}", f"x{i}") for i in range(4)]
states = {"label": ["night", "day"]}
states |= {f"half{i}": ["dark", "mixed", "bright"] for i in range(2)}
states |= {f"x{i}": ["black", "white"] for i in range(4)}

network = DiscreteBayesianNetwork(edges)
network.add_cpds(
    TabularCPD("label", 2, [[p] for p in prior], state_names={"label": states["label"]})
)
for parent, child in edges:
    table = torch.tensor(half if parent == "label" else pixel)
    names = {name: states[name] for name in (parent, child)}
    rows, columns = table.T.shape
    network.add_cpds(
        TabularCPD(child, rows, table.T.numpy(), [parent], [columns], state_names=names)
    )
in_pgmpy = hgm.from_pgmpy(network)

# %% [markdown]
# ## From networkx
#
# A tree is a graph: a `networkx.DiGraph` with a table on each edge, from parent to child. The same object on
# several edges ties them.

# %%
graph = nx.DiGraph()
graph.add_node("label", prior=prior)
for parent, child in edges:
    graph.add_edge(parent, child, potential=half if parent == "label" else pixel)
nx.set_node_attributes(graph, states, "states")
in_networkx = hgm.from_networkx(graph)

# %% [markdown]
# ## From pyro
#
# A program that draws an image is a model as well. [pyro](https://pyro.ai) runs it, and `hgm.from_pyro` reads off what
# it does: each `sample` is a variable, and each distribution a table. [With pyro](../pyro.md) has the other direction.


# %%


def image():
    """Draws an image from the top down."""
    label = pyro.sample("label", dist.Categorical(torch.tensor(prior)))
    for i in range(2):
        shade = pyro.sample(f"half{i}", dist.Categorical(torch.tensor(half)[label]))
        for j in (2 * i, 2 * i + 1):
            pyro.sample(f"x{j}", dist.Categorical(torch.tensor(pixel)[shade]))


in_pyro = hgm.from_pyro(image)

# %% [markdown]
# ## Are they the same?
#
# Two models are the same if they give every image, hidden variables included, the same probability. There are
# $2 \cdot 3^2 \cdot 2^4 = 288$ assignments of states, so we ask for all of them, by name.

# %%
trees = {
    "Python": in_python,
    "YAML": in_yaml,
    "pgmpy": in_pgmpy,
    "networkx": in_networkx,
    "pyro": in_pyro,
}
every = torch.tensor(list(product(range(2), *[range(3)] * 2, *[range(2)] * 4)))
columns = dict(
    zip(["label", "half0", "half1", "x0", "x1", "x2", "x3"], every.T, strict=True)
)


def log_probabilities(tree):
    """Of all assignments; columns are states by number."""
    return hgm.log_likelihood(
        tree, torch.stack([columns[name] for name in tree.names], 1)
    )


p = {name: log_probabilities(tree).exp() for name, tree in trees.items()}
print(
    f"{'':10}{'assignments':>12}{'sum':>8}{'largest difference':>20}"
    f"{'tables':>8}{'labels':>8}"
)
for name, tree in trees.items():
    different = float((p[name] - p["Python"]).abs().max())
    labels = "yes" if tree.labels(0) else "no"
    sizes = f"{len(p[name]):12}{float(p[name].sum()):8.3f}{different:20.0e}"
    print(f"{name:10}{sizes}{len(tree.potentials):8}{labels:>8}")
    assert different < 1e-12

# %% [markdown]
# All five are one distribution. `==` asks for more: names, labels, and which tables are tied. pgmpy has no word for
# "the same table", so its tree has seven tables in place of three; pyro's states are numbers. Both matter later: tied
# tables are learned together, and make a network convolutional.
#
# ## Ask it
#
# The first pixel is white, the second too. What is known now of the time of day, of the half they are in, and of a
# pixel in the other half? What was seen is the *evidence*, and what is believed after it the *posterior*: `hgm.infer`
# gives it exactly, for any evidence by name.

# %% alt="Bars of what is believed before and after two white pixels were seen: it is more likely day, and brighter"
seen = {"x0": "white", "x1": "white"}
before, after = hgm.infer(in_python), hgm.infer(in_python, seen)
for name in ("label", "half0", "x2"):
    words = [
        f"{label} {q:.2f}" for label, q in zip(states[name], after[name], strict=True)
    ]
    print(f"{name:6}", ", ".join(words))
assert after["label"][1] > before["label"][1] and after["x2"][1] > before["x2"][1]

figure, axes = plt.subplots(1, 3, figsize=(8, 2.4), layout="constrained", sharey=True)
for axis, name in zip(axes, ("label", "half0", "x2"), strict=True):
    at = torch.arange(len(states[name]))
    axis.bar(at - 0.2, before[name], 0.38, color=PALETTE[5], label="before")
    axis.bar(at + 0.2, after[name], 0.38, color=PALETTE[0], label="after")
    axis.set_xticks(at, states[name])
    axis.set(title=name, ylim=(0, 1))
axes[0].set_ylabel("probability")
_ = axes[0].legend(frameon=False, loc="upper left")

# %% [markdown]
# How these numbers come about, message by message, is the next page: [Belief propagation by hand](by_hand.md).
#
# ## Exercises
#
# 1. Tie nothing: give every edge of the lower level a table of its own, all equal. Is it the same distribution? Is
#    it `==`?
# 2. Make `x0` the root. Which of the three tables change?
# 3. Add an edge from `x0` to `x2` to the networkx graph. What happens, and why must it?
#
# ## Answers
#
# **1.** The same distribution, and another model: it has six tables, and `hgm.fit` would learn six.
# (`hgm.Edge` makes a table an object of its own.)

# %%
own = hgm.ghm(
    [
        hgm.Level(2, ["dark", "mixed", "bright"], potential=half, name="half"),
        hgm.Level(2, ["black", "white"], potential=[hgm.Edge(pixel) for _ in range(4)]),
    ],
    root=["night", "day"],
    prior=prior,
)
assert torch.allclose(log_probabilities(own), log_probabilities(in_python))
assert own != in_python
print(len(own.potentials), "tables")

# %% [markdown]
# **2.** None: a factor joins two variables, whichever is above. The same three tables are used, one of them upwards
# now.

# %%
turned = in_python.reroot("x0")
assert turned.potentials == in_python.potentials
assert torch.allclose(hgm.infer(turned, seen)["label"], after["label"])

# %% [markdown]
# **3.** `x2` would have two parents, and the graph a cycle. Messages would go round it and count evidence twice, so
# this is an error and not an approximation.

# %%
graph.add_edge("x0", "x2", potential=[[0.9, 0.1], [0.1, 0.9]])
try:
    hgm.from_networkx(graph)
except hgm.NotATree as error:
    print(error)
