"""Tables of the study of samples from restricted denoisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hgm.study.finding import Table
from hgm.study.local_samples_found import Found, named

__all__ = ["interval", "pm", "tables_of"]


def tables_of(found: Found) -> list[Table]:
    """Of every tree what is drawn and what it costs; of the first one also by the number of steps."""
    tables: list[Table] = []
    for tree in found.trees:
        tables += [_table_of_drawn(found, tree), _table_of_levels(found, tree), _table_of_costs(found, tree)]
    first = next(iter(found.trees))
    return [*tables, _table_of_steps(found, first), _table_of_runs(found, first)]


def pm(x: Sequence[float], digits: int = 2) -> str:
    """A mean and half its interval."""
    return f"{x[0]:.{digits}f} ± {x[1]:.{digits}f}"


def _seen(found: Found, tree: str) -> list[tuple[str, dict[str, Any]]]:
    """Exact samples, and of every denoiser and sampler the run with the most steps."""
    seen = [("exact samples", found.exact[tree])]
    for f in found.denoisers(tree):
        for solver in ("ddpm", "ddim"):
            run = found.last(tree, f, solver)
            if run is not None:
                seen.append((f"{named(f, found.trees[tree])}, {solver.upper()}", run))
    return seen


def _table_of_drawn(found: Found, tree: str) -> Table:
    """Log p, correlations, and how well samples are told from exact ones."""
    model = found.trees[tree]
    heights = range(1, model.depth + 1)
    head = ["", "log p", *(f"{h} up" for h in heights), "seam", "hit", "false", "bound, nats"]
    closed = [f"{model.correlation(h):.3f}" for h in heights]
    rows = [["the tree", pm(found.exact[tree]["log_p"]), *closed, closed[-1], "", "", "0"]]
    for name, run in _seen(found, tree):
        pairs, apart = [pm(x, 3) for x in run["pairs"]], run["apart"]
        told = [f"{apart[key]:.2f}" for key in ("hit", "false", "bound")]
        rows.append([name, pm(run["log_p of samples"]), *pairs, pm(run["seams"][0], 3), *told])
    return Table(f"{tree}: samples, and correlations of leaves whose ancestor is so many levels up", head, rows)


def _table_of_levels(found: Found, tree: str) -> Table:
    """Siblings as decoded, and total variations of `hgm.diffusion.quality`."""
    model = found.trees[tree]
    parts = ("symbols", "pairs", "blocks", "root", "inner")
    head = ["", *(f"level {k}" for k in range(1, model.depth + 1)), *parts]
    rows = []
    for name, run in _seen(found, tree):
        held = {row["name"]: row for row in run["quality"]}
        off = [f"{held[part]['estimate']:.3f} ({held[part]['expected']:.3f})" for part in parts]
        rows.append([name, *(pm(x, 3) for x in run["siblings"]), *off])
    title = "correlations of siblings, decoded from the leaves below each; total variations (and of exact samples)"
    return Table(f"{tree}: {title}", head, rows)


def _table_of_costs(found: Found, tree: str) -> Table:
    """Nats at most and at least."""
    model = found.trees[tree]
    head = ["", "at least", "flow", "nats", "entropies", "restriction", "steps"]
    rows = []
    for f in found.denoisers(tree):
        cost, flow, run = found.costs[tree, f], found.flows.get((tree, f)), found.last(tree, f)
        along = found.along(tree, f, len(cost["noise"]))
        rows.append(
            [
                named(f, model),
                "" if run is None else f"{run['apart']['bound']:.2f}",
                "" if flow is None else pm(flow["kl"]),
                interval(cost["nats"]) if "nats" in cost else "0",
                pm(cost["entropies"]) if "entropies" in cost else "",
                f"{along['restriction'][-1]:.2f}",
                f"{along['steps'][-1]:.2f}",
            ]
        )
    return Table(f"{tree}: KL(tree || samples) in nats, {len(cost['noise'])} steps", head, rows)


def interval(x: Sequence[float]) -> str:
    """A value and the ends of its interval."""
    return f"{x[0]:.2f} ({x[1]:.2f} to {x[2]:.2f})"


def _table_of_steps(found: Found, tree: str) -> Table:
    """The two parts of the cost by number of steps."""
    model, numbers = found.trees[tree], found.steps(tree)
    exact = [f"{found.along(tree, 'exact', n)['steps'][-1]:.2f}" for n in numbers]
    rows = [["steps themselves (exact denoiser)", *exact, "0"]]
    for f in found.denoisers(tree):
        if f != "exact":
            adds = [f"{found.along(tree, f, n)['restriction'][-1]:.2f}" for n in numbers]
            rows.append([f"restriction: {named(f, model)}", *adds, f"{found.costs[tree, f]['nats'][0]:.2f}"])
    return Table(f"{tree}: nats by number of steps of DDPM", ["", *map(str, numbers), "limit"], rows)


def _table_of_runs(found: Found, tree: str) -> Table:
    """Log p of samples by number of steps."""
    model = found.trees[tree]
    numbers = sorted({key[3] for key in found.runs if key[0] == tree and key[2] == "ddpm"})
    rows = []
    for f in found.denoisers(tree):
        runs = [found.runs[tree, f, "ddpm", n] for n in numbers]
        rows.append([named(f, model), *(f"{pm(run['log_p of samples'], 1)}" for run in runs)])
    title = f"{tree}: mean log p of samples (exact ones: {pm(found.exact[tree]['log_p'])}), by number of steps"
    return Table(title, ["", *map(str, numbers)], rows)
