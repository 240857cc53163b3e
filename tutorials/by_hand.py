# %% [markdown]
# # Belief propagation by hand
#
# After this page you can do belief propagation with a pencil: five variables, eight messages, each a line of arithmetic
# and each printed with its formula. Then they are drawn, and held against the library and against brute force.
#
# Somebody may have a *cold*. A cold brings *cough* and *fever*. There are two instruments for fever, a *thermometer*
# and a hand on the *forehead*.

# %%
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import torch

import hgm
from hgm.viz.style import GREY, INK, PALETTE

states = ["no", "yes"]
prior = np.array([0.8, 0.2])  # of a cold
psi = {  # row: the parent's state, column: the child's
    "cough": np.array([[0.9, 0.1], [0.3, 0.7]]),
    "fever": np.array([[0.95, 0.05], [0.4, 0.6]]),
    "thermometer": np.array([[0.9, 0.1], [0.2, 0.8]]),
    "forehead": np.array([[0.7, 0.3], [0.3, 0.7]]),
}
parent = {"cough": "cold", "fever": "cold", "thermometer": "fever", "forehead": "fever"}

# %% alt="The tree: cold above cough and fever, fever above thermometer and forehead"
tree = hgm.Tree.from_edges(
    [(parent[child], child, table) for child, table in psi.items()],
    {"cold": prior},
    {name: states for name in ("cold", *psi)},
)
hgm.draw(tree)

# %% [markdown]
# ## What was seen
#
# Evidence is a *likelihood* for each state: how likely is what we saw, if this is the state? The thermometer reads
# high: $(0, 1)$. The forehead feels warm, but the hand is cold, so that speaks for *yes* only three to one: $(1, 3)$.
# Nobody listened for a cough: $(1, 1)$, which is no evidence.

# %%
evidence = {
    "cold": np.ones(2),
    "fever": np.ones(2),
    "cough": np.ones(2),
    "thermometer": np.array([0.0, 1.0]),
    "forehead": np.array([1.0, 3.0]),
}


def show(what, message, formula):
    """A message as a line: what it is, its two numbers, and where they come from."""
    print(f"{what:27} = ({message[0]:.4f}, {message[1]:.4f})   {formula}")


# %% [markdown]
# ## Up: collect
#
# A variable $v$ knows $h_v$: its own evidence times what its children said,
#
# $$h_v(a) = e_v(a) \prod_{u \text{ child of } v} q_u(a).$$
#
# It tells its parent, for each state $s$ that the parent may be in, how likely all evidence below is:
#
# $$q_v(s) = \sum_a \psi_v(s, a)\, h_v(a).$$
#
# The leaves come first, for they wait for nobody.

# %%
h, q = {}, {}
for leaf in ("thermometer", "forehead", "cough"):
    h[leaf] = evidence[leaf]
    q[leaf] = psi[leaf] @ h[leaf]
    show(f"h of {leaf}", h[leaf], "its evidence")
    (a, b), (c, d), (x, y) = *psi[leaf], h[leaf]
    show(
        f"q {leaf} -> {parent[leaf]}",
        q[leaf],
        f"({a}*{x:g} + {b}*{y:g}, {c}*{x:g} + {d}*{y:g})",
    )

# %% [markdown]
# A cough of which nothing is known says $(1, 1)$: a message of ones changes no product. Now *fever* has heard both its
# children, multiplies, and speaks to *cold*.

# %%
h["fever"] = evidence["fever"] * q["thermometer"] * q["forehead"]
(a, b), (c, d) = q["thermometer"], q["forehead"]
show("h of fever", h["fever"], f"({a:g}*{c:g}, {b:g}*{d:g})")
q["fever"] = psi["fever"] @ h["fever"]
(a, b), (c, d), (x, y) = *psi["fever"], h["fever"]
show(
    "q fever -> cold",
    q["fever"],
    f"({a}*{x:.2f} + {b}*{y:.2f}, {c}*{x:.2f} + {d}*{y:.2f})",
)

# %% [markdown]
# At the root everything is known. The belief is prior times messages; its sum is the probability of all evidence
# together, $Z$, and divided by it the belief is the posterior.

# %%
h["cold"] = evidence["cold"] * q["cough"] * q["fever"]
belief = {"cold": prior * h["cold"]}
show("h of cold", h["cold"], "q of cough times q of fever")
show(
    "belief of cold",
    belief["cold"],
    f"(0.8*{h['cold'][0]:.4f}, 0.2*{h['cold'][1]:.4f})",
)
Z = belief["cold"].sum()
print(
    f"Z = {Z:.4f}, so p(cold) = "
    f"{belief['cold'][1]:.4f} / {Z:.4f} = {belief['cold'][1] / Z:.3f}"
)

# %% [markdown]
# ## Down: distribute
#
# What does a child need to hear? All that its parent knows, *but for what the child itself said*: it would count its
# own evidence twice. So the parent's belief is divided by $q_v$, and goes down by the same table, transposed:
#
# $$u_v(s) = \frac{b_{\text{parent}}(s)}{q_v(s)}, \qquad r_v(a) = \sum_s \psi_v(s, a)\, u_v(s), \qquad
# b_v(a) = r_v(a)\, h_v(a).$$

# %%
r = {}
for child in ("cough", "fever", "thermometer", "forehead"):
    above = parent[child]
    u = belief[above] / q[child]
    r[child] = u @ psi[child]
    belief[child] = r[child] * h[child]
    (a, b), (c, d), (x, y) = *psi[child], u
    show(f"u {above} without {child}", u, f"belief of {above} / q of {child}")
    show(
        f"r {above} -> {child}",
        r[child],
        f"({x:.3f}*{a} + {y:.3f}*{c}, {x:.3f}*{b} + {y:.3f}*{d})",
    )
    show(f"belief of {child}", belief[child], f"r * h; sum {belief[child].sum():.4f}")

# %% [markdown]
# Look at the sums: each belief adds up to the same $Z$. Every node tells the probability of all evidence, from where
# it stands. That is a good check of pencil work, and belief divided by $Z$ is the posterior.

# %%
posterior = {name: b / Z for name, b in belief.items()}
for name, b in belief.items():
    assert np.isclose(b.sum(), Z)
    print(f"p({name} | evidence) = {posterior[name][1]:.3f}")

# %% [markdown]
# Before anything was seen, a cold had 0.2. The instruments speak of fever only; *cold* and *cough* hear of it by
# messages.
#
# ## The picture
#
# Up in blue, down in orange, each message divided by its sum. Bars are the posteriors: no on the left, yes on the
# right.

# %% alt="The five variables with bars for their posteriors; beside each edge the message up and the message down"
place = {
    "cold": (2.2, 2),
    "cough": (0, 1),
    "fever": (4.4, 1),
    "thermometer": (2.5, 0),
    "forehead": (6.3, 0),
}
figure, axis = plt.subplots(figsize=(8, 5.6), layout="constrained")
for name, (x, y) in place.items():
    axis.text(x, y - 0.27, name, ha="center", va="top", color=INK)
    axis.plot([x - 0.32, x + 0.32], [y - 0.22, y - 0.22], color=INK, linewidth=1)
    for i, p in enumerate(posterior[name]):
        axis.bar(
            x - 0.14 + 0.28 * i,
            0.4 * p,
            0.24,
            bottom=y - 0.22,
            color=[GREY, PALETTE[2]][i],
        )
        axis.text(
            x - 0.14 + 0.28 * i, y - 0.2 + 0.4 * p, f"{p:.2f}", ha="center", fontsize=9
        )
for child, above in parent.items():
    start, end = np.array(place[child], float), np.array(place[above], float)
    start[1] += 0.34
    end[1] -= 0.42
    for message, color, side, way in (
        (q, PALETTE[0], -1, "up"),
        (r, PALETTE[1], 1, "down"),
    ):
        tail, head = (start, end) if way == "up" else (end, start)
        above_or_below = -0.025 * side * np.sign(end[0] - start[0])
        shift = np.array([0, above_or_below])
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.6}
        axis.annotate("", head + shift, tail + shift, arrowprops=style)
        share = message[child] / message[child].sum()
        at = (start + end) / 2 + np.array([0.2 * side, 0]) + 3 * shift
        text = f"({share[0]:.2f}, {share[1]:.2f})"
        ha = "right" if side < 0 else "left"
        axis.text(*at, text, color=color, ha=ha, va="center", fontsize=9)
axis.set(xlim=(-0.6, 6.9), ylim=(-0.5, 2.4))
axis.set_axis_off()

# %% [markdown]
# ## Is it right?
#
# Five variables have 32 assignments: brute force is possible, and shares nothing with messages. And `hgm.infer` does
# what was done here, in logs, for any tree.

# %%
variables = list(place)
joint = np.zeros([2] * 5)
for x in product(range(2), repeat=5):
    at = dict(zip(variables, x, strict=True))
    joint[x] = prior[at["cold"]] * np.prod(
        [evidence[name][at[name]] for name in variables]
    )
    joint[x] *= np.prod(
        [psi[child][at[above], at[child]] for child, above in parent.items()]
    )
assert np.isclose(joint.sum(), Z)

found = hgm.infer(tree, {"thermometer": "yes", "forehead": {"no": 1, "yes": 3}})
assert np.isclose(float(found.log_partition), np.log(Z))
for i, name in enumerate(variables):
    brute = joint.sum(tuple(k for k in range(5) if k != i)) / joint.sum()
    assert np.allclose(posterior[name], brute)
    assert np.allclose(posterior[name], found[name])
print(
    "32 products, 8 messages and hgm.infer agree: "
    f"log Z = {float(found.log_partition):.4f}"
)

# %% [markdown]
# For 5 variables there are 32 products, for 300 more than there are atoms. Messages are two for each edge. All messages
# of a level can be computed at once, and then they are the layers of a network: [From a tree to a
# ConvNet](to_a_convnet.md).
#
# ## Exercises
#
# 1. Somebody coughs after all: the evidence of *cough* is $(0, 1)$. Which messages change? What becomes of p(cold)?
# 2. What does $r$ say of the thermometer before it is read, that is, what would you bet on its reading, knowing only
#    the forehead? (You have computed it already.)
# 3. Put `max` in the place of every sum on the way up. What is the number at the root now?
#
# ## Answers
#
# **1.** A message changes if the new evidence lies behind it: on the way up $q$ of *cough*, on the way down all but the
# one to *cough*.

# %%
q_cough = psi["cough"] @ np.array([0.0, 1.0])
again = prior * q_cough * q["fever"]
print(f"p(cold) = {again[1] / again.sum():.3f} instead of {posterior['cold'][1]:.3f}")
coughing = {"cough": "yes", "thermometer": "yes", "forehead": {"no": 1, "yes": 3}}
assert np.allclose(again / again.sum(), hgm.infer(tree, coughing)["cold"])

# %% [markdown]
# **2.** $r$ of a leaf is all that the others say of it: its *leave-one-out* posterior, when divided by its sum. It does
# not contain the leaf's own evidence, which comes last, in $b = r h$.

# %%
bet = r["thermometer"] / r["thermometer"].sum()
without = hgm.infer(tree, {"forehead": {"no": 1, "yes": 3}})["thermometer"]
assert np.allclose(bet, without)
print(f"p(thermometer high | forehead) = {bet[1]:.3f}")

# %% [markdown]
# **3.** The weight of the single most likely assignment, all five variables together: the *mode*. Going down with arg
# max finds it.

# %%
m = evidence["fever"].copy()
for leaf in ("thermometer", "forehead"):
    m *= (psi[leaf] * evidence[leaf]).max(1)
top = prior * (psi["cough"] * evidence["cough"]).max(1) * (psi["fever"] * m).max(1)
assert np.isclose(top.max(), joint.max())
mode = found.mode()
print(
    {name: mode[name] for name in variables},
    f"has {top.max() / Z:.3f} of the probability",
)
assert torch.isclose(mode.log_prob, torch.tensor(np.log(top.max() / Z)))
