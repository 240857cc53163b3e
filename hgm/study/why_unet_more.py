"""What the study of U-Nets finds of further networks: one thing changed each, or another kind altogether.

All have half of the compute, and so has the U-Net beside them.
"""

from __future__ import annotations

from hgm.study.why_unet_figures import name_of
from hgm.study.why_unet_results import Results
from hgm.study.why_unet_tables import SHOWN, in_a_row, listed, sigmas

__all__ = ["bottleneck", "cuts", "free", "others", "stride", "time"]


def cuts(results: Results) -> str:
    """Skips cut one at a time, and added ones."""
    said = []
    reference = results.get(results.base, "unet", 0.5)
    for name in ("unet_cut_0", "unet_cut_1", "unet_cut_2", "unet_added"):
        runs = results.get(results.base, name, 0.5)
        if runs is not None:
            said.append(f"{name_of(name)} {listed(runs)}")
    if reference is None or not said:
        return ""
    silent = results.limit(results.base, "skips", level=3)
    beside = f" Silent below 2x2 blocks, the exact beliefs give {in_a_row(silent)}." if silent else ""
    return (
        f"**Which skip?** With half of the compute, at sigma {sigmas()}: the U-Net {listed(reference)}; "
        f"{'; '.join(said)}.{beside}"
    )


def time(results: Results) -> str:
    """Told the noise everywhere, at the input, or nowhere."""
    unet = results.get(results.base, "unet", 0.5)
    said = [
        f"{name_of(name)} {listed(runs)}"
        for name in ("unet_told_once", "unet_blind")
        if (runs := results.get(results.base, name, 0.5))
    ]
    if unet is None or not said:
        return ""
    blind = results.limit(results.base, "blind")
    exact = (
        f" The exact optimum of one that is not told, whose prior is the noise of training, has {in_a_row(blind)}. (It "
        "is the least on average over that prior; at a single level another blind network may have less.)"
        if blind
        else ""
    )
    return (
        "**Where does the time enter?** The exact network needs the noise at its input only, where it makes evidence "
        f"of data. With half of the compute, at sigma {sigmas()}: told in every block {listed(unet)}; "
        f"{'; '.join(said)}.{exact}"
    )


def bottleneck(results: Results) -> str:
    """Channels of the middle, and the bits that a node's leaves have about it."""
    unet, bits = results.get(results.base, "unet", 0.5), results.limit(results.base, "bits", level=1)
    said = [
        f"{text} {listed(runs)}"
        for name, text in (("unet_narrow", "four"), ("unet_narrow_2", "two"), ("unet_narrow_1", "one"))
        if (runs := results.get(results.base, name, 0.5))
    ]
    if unet is None or not said:
        return ""
    told = ", ".join(f"{row['bits']:.2f}" for row in bits or () if row["noise"] in SHOWN)
    known = f"; what the leaves below say about the node is {told} bits" if told else ""
    return (
        "**What is the bottleneck for?** At each place of the coarsest resolution the exact network passes a belief of "
        f"four numbers, of which three are free{known}. Channels that pass, with half of the compute, at sigma "
        f"{sigmas()}: all {listed(unet)}; {'; '.join(said)}. The other skips stay open: what one channel cannot "
        "carry may be lost, or go past it."
    )


def stride(results: Results) -> str:
    """Two against an arity of three."""
    said = [f"{name_of(r.key.network)} {listed(r)}" for r in results.of_tree("thirds")]
    if not said:
        return ""
    return (
        f"**The wrong stride.** On a tree of arity 3, with half of the compute, at sigma {sigmas()}: "
        f"{'; '.join(said)}. The stride decides which leaves meet at which resolution; a skip at every resolution "
        "lets a network with the wrong one make good for much of it, which is why this is no limit."
    )


def others(results: Results) -> str:
    """Networks of another kind."""
    unet = results.get(results.base, "unet", 0.5)
    said = [
        f"{name_of(name)} {listed(runs)}"
        for name in ("unet_haar", "standard", "standard_convolutional", "transformer")
        if (runs := results.get(results.base, name, 0.5))
    ]
    if unet is None or not said:
        return ""
    return (
        f"**Other networks.** With half of the compute, at sigma {sigmas()}: the U-Net {listed(unet)}; "
        f"{'; '.join(said)}. All of these see the whole image, so no limit is known but 0; settings are those of the "
        "U-Net, not their own."
    )


def free(results: Results) -> str:
    """The compiled network, whose weights are free."""
    exact, drawn = results.get(results.base, "compiled"), results.get(results.base, "compiled_random", 0.5)
    if exact is None:
        return ""
    random = f" From a random start, with half of the steps, it comes to {listed(drawn)}." if drawn else ""
    return (
        f"**The right network with free weights** has {exact.of('parameters'):.0f} of them and starts as the optimum. "
        f"After as many steps as the U-Net takes, at sigma {sigmas()}: {listed(exact)}; so much is the noise of "
        f"training itself.{random}"
    )
