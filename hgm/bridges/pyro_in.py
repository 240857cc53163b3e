"""`from_pyro`: a model of pyro as a tree.

Run once with every latent site enumerated, a model tells its factors: the log probability of each site is a tensor
with a dimension for each plate and for each latent that it depends on (`hgm.bridges.pyro_factors`). It is then run
again with states that were chosen, and must say the same (`hgm.bridges.pyro_replay`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro
from pyro import poutine

from hgm.bridges.pyro_factors import Latents, factors_of, plates_of, tree_of
from hgm.bridges.pyro_replay import check_replayed
from hgm.errors import BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.networks.network import Network
from hgm.tree.tree import Tree

__all__ = ["from_pyro"]

Site = dict[str, Any]


def from_pyro(model: Callable[..., Any], *args: Any, **kwargs: Any) -> Tree:
    """A tree from a model of pyro, all of whose latent sites have finitely many states; its log Z is log p(observed).

        tree = hgm.from_pyro(model, data)
        hgm.log_partition(tree)  # what TraceEnum_ELBO finds, without its limits
        hgm.infer(tree)["x_3"]  # p(x_3 | data)

    A latent site is a variable, called by its name; in plates it is one for each position, called ``(name, i, j)``,
    outermost plate first. States are numbered as in ``enumerate_support``, without labels. What the model observes
    becomes factors over the latents that it depends on. A factor whose variables are all among those of a larger one is
    multiplied into it. As in pyro, `poutine.mask` hides what is observed; a latent under it keeps its distribution.

    Equal tables are tied. Tables that depend on tensors with gradients are tied only if their derivatives are the same
    too: two parameters that happen to be equal stay two. A potential is called by the first latent site that it is the
    table of.

    That the model does with states no more than tensors show is checked by running it with states that are chosen so
    that each entry of the tables comes up, in at most 64 runs. This is a check on samples, and no proof.

    Args:
        model: any callable with sites of pyro; parameters are as they are in pyro's store.
        *args: what the model is called with.
        **kwargs: the same, by name.

    Raises:
        NotATree: if the factors have a cycle (the message names one).
        BadSpec: naming the site, for a continuous or infinite latent, a branch in Python on a state, a factor that
            reaches out of a plate or across it, `poutine.scale`, a subsampled plate, a number of sites that is random,
            a state that is used other than as a tensor, no latent at all.
        BadPotential: naming the site, for a log probability that is NaN, or ``-inf`` for all states.
    """
    if not callable(model) or isinstance(model, type | Network | Channel):
        raise BadSpec(f"model must be a function with sites of pyro; got {brief(model)}")
    first, second = (_sites(poutine.trace(model).get_trace(*args, **kwargs)) for _ in range(2))
    other = next((name for name in [*first, *second] if (name in first) != (name in second)), None)
    if other is not None:
        raise BadSpec(
            f"site {other!r} is there in one run of the model and not in another; a tree has a fixed set of sites"
        )
    for name, site in first.items():
        _check(name, site)
    sites = _enumerated(model, first, args, kwargs)
    latents = Latents(sites)
    if not latents.sites:
        raise BadSpec("the model has no latent site with states: there is nothing to make a tree of")
    factors = factors_of(sites, latents)
    tree = tree_of(factors, latents)
    check_replayed(model, args, kwargs, tree, factors, latents)
    return tree


def _sites(trace: poutine.Trace) -> dict[str, Site]:
    """The sample sites of a trace but those of plates and deterministic ones."""
    sites: dict[str, Any] = {}
    nodes: Mapping[str, Any] = trace.nodes
    for name, site in nodes.items():
        if site["type"] == "sample" and not site["infer"].get("_deterministic"):
            fn = site["fn"]
            if type(fn).__name__ != "_Subsample":
                sites[name] = site
            elif fn.subsample_size is not None and fn.subsample_size < fn.size:
                raise BadSpec(f"plate {name!r} is subsampled, and a tree holds all of it: give it its whole size")
    return sites


def _check(name: str, site: Site) -> None:
    """Raises `BadSpec` for a site that no tree can hold."""
    fn = site["fn"]
    if not _is_one(site["scale"]):
        raise BadSpec(
            f"site {name!r} is under poutine.scale, which is no probability; leave it out, or use pyro.factor"
        )
    plates = {frame.dim for frame in plates_of(site)}
    for dim, size in zip(range(-len(fn.batch_shape), 0), fn.batch_shape, strict=True):
        if size > 1 and dim not in plates:
            raise BadSpec(
                f"site {name!r} has {size} positions in dimension {dim}, which is no plate; draw it in a pyro.plate"
            )
    if site["is_observed"]:
        return
    latent = f"the latent site {name!r} ({type(fn).__name__})"
    if not getattr(fn, "has_enumerate_support", False):
        inside = getattr(fn, "base_dist", None)
        if getattr(inside, "has_enumerate_support", False):
            raise BadSpec(f"{latent} is one event of several variables; draw them in a pyro.plate instead of to_event")
        what = "has no finite list of states" if getattr(fn.support, "is_discrete", False) else "is continuous"
        raise BadSpec(f"{latent} {what}; observe it, or make it a parameter")
    try:
        fn.enumerate_support(expand=False)
    except NotImplementedError as error:
        raise BadSpec(f"the states of {latent} cannot be listed: {error}") from None


def _is_one(scale: Any) -> bool:
    return bool((scale == 1.0).all()) if hasattr(scale, "all") else scale == 1.0


def _enumerated(
    model: Callable[..., Any], plain: Mapping[str, Site], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Site]:
    """The sites of a run with all states of every latent at once. Raises `BadSpec` if that fails."""
    frames = [frame for site in plain.values() for frame in site["cond_indep_stack"] if frame.vectorized]
    first_dim = -1 - max((-frame.dim for frame in frames), default=0)

    def parallel(site: Any) -> Any:
        latent = site["type"] == "sample" and not site["is_observed"] and site["name"] in plain
        return {"enumerate": "parallel", "expand": False, "num_samples": None} if latent else {}

    tracer = poutine.trace()
    try:
        with tracer, poutine.enum(first_available_dim=first_dim), poutine.infer_config(config_fn=parallel):
            model(*args, **kwargs)
        with pyro.validation_enabled(False):  # which would warn of a NaN
            tracer.trace.compute_log_prob()
        tracer.trace.symbolize_dims()
    except Exception as error:
        last = next((name for name in reversed(tracer.trace.nodes) if name in plain), None)
        where = "before its first site" if last is None else f"at or after site {last!r}"
        said = (str(error).splitlines() or [""])[0]
        raise BadSpec(
            f"the model fails {where} when all states of a site are one tensor ({type(error).__name__}: {said}); "
            "a branch in Python on a state must become torch.where or an index, and a long loop pyro.markov"
        ) from error
    sites = _sites(tracer.trace)
    extra = next((name for name in sites if name not in plain), None)
    if extra is not None:
        raise BadSpec(
            f"site {extra!r} is there only when all states are one tensor: the model branches in Python on a state"
        )
    missing = next((name for name in plain if name not in sites), None)
    if missing is not None:
        raise BadSpec(
            f"site {missing!r} is not there when all states are one tensor: the model branches in Python on a state"
        )
    return sites
