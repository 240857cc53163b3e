# %% [markdown]
# # Segmentation: the label of every pixel is an inner node
#
# After this page you can declare a tree whose labels sit one level above of what is seen, learn it from clean label
# maps, and compile it to a U-Net that turns a noisy label map into a clean one. You can ask it how sure it is of each
# pixel, and give it maps with holes. Runs in half a minute.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import ndimage
from skimage import data, filters, segmentation

import hgm


def show(pictures, columns, width=8):
    """Pictures by title, in rows."""
    rows = -(-len(pictures) // columns)
    _, axes = plt.subplots(
        rows, columns, figsize=(width, 1.12 * width / columns * rows)
    )
    for ax, (title, picture) in zip(np.ravel(axes), pictures.items(), strict=True):
        ax.imshow(picture, cmap="gray")
        ax.set(xticks=[], yticks=[], title=title)
    plt.tight_layout()
    plt.show()


# %% [markdown]
# ## Coins
#
# The photograph of coins from Pompeii comes with scikit-image. Coins and table are told apart as in scikit-image's
# own guide: a watershed from what is certainly dark and what is certainly bright. The upper two rows of coins are for
# learning, the lower two to be judged by.

# %% alt="A photograph of 24 old coins in four rows, and the map of what is coin and what is table"
photo = data.coins()
certain = np.select([photo < 30, photo > 150], [1, 2])
coin = ndimage.binary_fill_holes(
    segmentation.watershed(filters.sobel(photo), certain) == 2
)
coin = coin[:302].reshape(151, 2, 192, 2).mean((1, 3)) > 0.5  # half as large
labels = ndimage.binary_opening(coin).astype(int)
show({"photograph": photo, "labels": labels}, 2)

# %% [markdown]
# We cut squares of 64 x 64 pixels out of both halves. A quarter of the labels that are to be judged are wrong:
# somebody was in a hurry, or a classifier looked at each pixel alone.

# %%
rng = np.random.default_rng(0)
SIDE, WRONG = 64, 0.25


def squares(area, count):
    """(count, 64, 64) squares from anywhere in an area."""
    rows = rng.integers(0, area.shape[0] - SIDE + 1, count)
    columns = rng.integers(0, area.shape[1] - SIDE + 1, count)
    return np.stack(
        [area[r : r + SIDE, c : c + SIDE] for r, c in zip(rows, columns, strict=True)]
    )


examples, truth = squares(labels[:76], 300), squares(labels[76:], 40)
noisy = np.where(rng.random(truth.shape) < WRONG, 1 - truth, truth)


def wrong(guess):
    """The share of pixels with a wrong label."""
    return (guess != truth).mean()


print(f"wrong labels: {wrong(noisy):.1%}")

# %% [markdown]
# ## The tree
#
# A quad-tree goes down to the labels $y$, and below each label there is one leaf $x$: what was seen of it. The states
# above the labels have no names. They are the kinds of patches that there are: all coin, all table, an edge that runs
# this way or that. Each of the four children has a table of its own, so that an edge can have a direction. Here is a
# small one.

# %% alt="A quad-tree of three levels, and below each of its sixteen labels one leaf"
LABELS = ["table", "coin"]


def quadtree(depth, states, seen):
    """Patches, 2^depth x 2^depth labels, and a leaf for each, by the table `seen`."""
    patches = [hgm.Level((2, 2), states)] * (depth - 1)
    below = [
        hgm.Level((2, 2), LABELS, name="y"),
        hgm.Level((1, 1), LABELS, seen, name="x"),
    ]
    prior = np.random.default_rng(0).dirichlet(np.ones(states))
    return hgm.ghm([*patches, *below], states, prior=prior, root_name="square")


hgm.draw(quadtree(2, 3, np.eye(2)), style="nodes")

# %% [markdown]
# ## Learning shapes from clean maps
#
# In a clean map a leaf shows its label as it is: the table `seen` is the identity. Its zeros are structure, so `fit`
# keeps them. All else is learned, from random tables on.

# %%
start = quadtree(6, 16, np.eye(2))
fit = hgm.fit(
    start, torch.tensor(examples), iterations=40, smoothing=0.1, dtype=torch.float32
)
print(fit.tree)
bits = -fit.log_likelihood[-1] / len(examples) / SIDE**2 / np.log(2)
share = examples.mean()
alone = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
print(
    f"{bits:.3f} bits for a pixel; by the share of coin alone it would be {alone:.3f}"
)

# %% [markdown]
# ## From a noisy map to a clean one
#
# For noisy maps only the last table changes. The network is asked for the labels, `query=`, and sees the leaves.

# %%
flips = [[1 - WRONG, WRONG], [WRONG, 1 - WRONG]]
*shapes, _ = fit.tree.potentials
tree = fit.tree.with_potentials([*shapes, hgm.Edge(flips)])
pixels = [f"y{r}_{c}" for r in range(SIDE) for c in range(SIDE)]
net = hgm.compile(tree, query=pixels).float()
print(net.plan)


def coins(net, maps):
    """(n, 64, 64) the probability that a pixel is of a coin."""
    return (
        net(torch.tensor(maps))[:, LABELS.index("coin")]
        .unflatten(1, (SIDE, SIDE))
        .numpy()
    )


p = coins(net, noisy)
exact = hgm.infer(tree, torch.tensor(noisy[:1]))
assert np.allclose(p[0, 20, 30], exact["y20_30"][0, 1], atol=1e-4)

# %% [markdown]
# A quad-tree has seams: two pixels side by side may have nothing in common but the root. Where the seams are is
# arbitrary, so we shift the map a little and average the answers. Beside it is what is done without a model: the
# median of a window, and a blur, each at the width that is best for these very maps.

# %% alt="A map of two coins: the truth, the noisy map, by the median, by the tree, and averaged over shifts"
shifts = rng.integers(-8, 8, (16, 2))
averaged = np.mean(
    [np.roll(coins(net, np.roll(noisy, s, (1, 2))), -s, (1, 2)) for s in shifts], 0
)
medians = {w: ndimage.median_filter(noisy, (1, w, w)) for w in (3, 5, 7, 9)}
blurs = {
    w: ndimage.gaussian_filter(noisy.astype(float), (0, w, w)) > 0.5
    for w in (1, 1.5, 2, 2.5)
}
found = {
    "noisy": noisy,
    "best median": min(medians.values(), key=wrong),
    "best blur": min(blurs.values(), key=wrong),
    "tree": p > 0.5,
    "tree, averaged": averaged > 0.5,
}
for method, guess in found.items():
    print(f"{method:15} {wrong(guess):6.1%} wrong")
assert wrong(found["tree"]) < wrong(found["best median"])
assert wrong(found["tree, averaged"]) < wrong(found["best blur"]) < wrong(found["tree"])

shown = {"truth": truth, **found, "p(coin), averaged": averaged}
del shown["best blur"]
show({title: maps[0] for title, maps in shown.items()}, 3)

# %% [markdown]
# A blur does well here, because coins are round and smooth, and it has no seams. But it was told the truth to find
# its width, and it gives no probability. The tree does, and takes other questions, as the exercises show.
#
# ## Exercises
#
# 1. *Is it as sure as it should be?* Among all pixels with a probability of about 80%, how many are of a coin?
# 2. *Holes.* Nothing at all is known of three pixels out of four; -1 says so. How many of all labels are wrong then?
# 3. *Two kinds of patches.* Learn the tree with 2 states instead of 16. What do coins look like?
#
# ## Answers
#
# **1.** About as many as it says. The tree without averaging is a posterior of its model, so it can be held to its
# word.

# %% alt="Share of coins against the probability that the tree gives: close to the diagonal"
edges = np.linspace(0, 1, 11)
bins = np.digitize(p.ravel(), edges[1:-1])
said, true = (
    np.array([x.ravel()[bins == b].mean() for b in range(10)]) for x in (p, truth)
)
_, ax = plt.subplots(figsize=(3.6, 3.4))
ax.plot([0, 1], [0, 1], ":", color="gray")
ax.plot(said, true, "o-")
ax.set(xlabel="p(coin), as the tree says", ylabel="share that is coin")
plt.show()
print("largest difference:", f"{np.abs(said - true).max():.2f}")
assert np.abs(said - true).max() < 0.15

# %% [markdown]
# **2.** About twice as many, with a quarter of what was known: holes are filled in from what is around them. Nothing
# had to be changed, since a leaf that was not seen says nothing.

# %%
holes = np.where(rng.random(noisy.shape) < 0.75, -1, noisy)
filled = np.mean(
    [np.roll(coins(net, np.roll(holes, s, (1, 2))), -s, (1, 2)) for s in shifts], 0
)
print(
    f"{wrong(filled > 0.5):.1%} wrong, beside {wrong(averaged > 0.5):.1%} without holes"
)
assert wrong(filled > 0.5) < 0.15

# %% [markdown]
# **3.** Boxy: two kinds of patches can say *coin* and *table*, but nothing of how an edge runs through a patch.

# %% alt="The same coin by a tree of 2 states, with ragged corners, and by one of 16"
small = hgm.fit(
    quadtree(6, 2, np.eye(2)), torch.tensor(examples), iterations=40, smoothing=0.1
)
*shapes, _ = small.tree.potentials
boxy = small.tree.with_potentials([*shapes, hgm.Edge(flips)])
two = coins(hgm.compile(boxy, query=pixels), noisy)
print(f"2 states: {wrong(two > 0.5):.1%} wrong; 16 states: {wrong(p > 0.5):.1%}")
show({"2 states": two[0], "16 states": p[0]}, 2, width=5)
assert wrong(two > 0.5) > wrong(p > 0.5) + 0.01
