"""Writes the pages of the reference from the code: what `make docs` does before it builds the site.

`pages/contents.py` says which pages there are, and which rooms and modules stand on each. The rest is read off the
code, which is not run: on a page first the modules of the names that `hgm` and the rooms that hand names on give to
users, in the order of their `__all__`, then how it is done; of each module what its `__all__` lists. A module with an
`__all__` stands on exactly one page; one without a page ends the script.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import griffe

import hgm
from hgm.files.whole import write_whole
from pages.contents import INDEX, PAGES, Page


@dataclass(frozen=True)
class Place:
    """Where a module stands: on which page, under which heading of it, by which beginning; all counted."""

    page: int
    part: int
    beginning: int


def places(names: Iterable[str], pages: list[Page] = PAGES) -> dict[str, Place]:
    """The place of each module, by its name.

    Raises:
        SystemExit: a module has no page; a beginning of names stands on two pages, or is of no module.
    """
    begun: dict[str, Place] = {}
    for i, page in enumerate(pages):
        for j, beginnings in enumerate(page.parts.values()):
            for k, beginning in enumerate(beginnings.split()):
                if beginning in begun:
                    raise SystemExit(f"pages/contents.py: {beginning!r} stands twice there: once is enough")
                begun[beginning] = Place(i, j, k)
    found, used = {}, set()
    for name in names:
        fitting = [beginning for beginning in begun if name.removeprefix("hgm.").startswith(beginning)]
        if not fitting:
            raise SystemExit(f"pages/contents.py: {name} has no page: add it, or its room, to a page")
        used.add(longest := max(fitting, key=len))
        found[name] = begun[longest]
    if unused := begun.keys() - used:
        raise SystemExit(f"pages/contents.py: no module's page is decided by {min(unused)!r}; remove it")
    return found


def _below(module: griffe.Module) -> Iterator[griffe.Module]:
    """The rooms and modules that have a place in the reference."""
    for name, below in sorted(module.modules.items()):
        if not below.is_alias and not name.startswith("_"):
            if below.is_init_module or below.exports is not None:
                yield below
            yield from _below(below)


def _target(found: griffe.Object | griffe.Alias) -> griffe.Object:
    return found.final_target if isinstance(found, griffe.Alias) else found


class Code:
    """What the pages tell of the package, which is read and not run."""

    def __init__(self) -> None:
        package = griffe.load("hgm", search_paths=[Path(hgm.__file__).parents[1]])
        assert isinstance(package, griffe.Module)
        self.modules = {module.path: module for module in _below(package)}
        self.public = {f"hgm.{name}": _target(package[name]) for name in dir(hgm)}
        open_ = {name: target for name, target in self.public.items() if isinstance(target, griffe.Module)}
        open_ |= {name: module for name, module in self.modules.items() if module.is_init_module}
        for room, module in open_.items():
            for name in listed(module):  # by the shortest way
                if (target := _target(module[name])) not in self.public.values():
                    self.public[f"{room}.{name}"] = target

    def order(self) -> dict[str, int]:
        """The modules that give users a name, and which is the first of them."""
        found: dict[str, int] = {}
        for i, target in enumerate(self.public.values()):
            found.setdefault(home(target), i)
        return found

    def directive(self, module: str) -> str:
        """What mkdocstrings is asked for: the module's docstring and what its `__all__` lists and it defines itself."""
        code = self.modules[module]
        own = [name for name in listed(code) if not code[name].is_alias and code[name].has_docstring]
        return f"::: {module}\n    options:\n      members: [{', '.join(own)}]\n"


def home(of: griffe.Object) -> str:
    """The module in which it is defined; a module is at home in itself."""
    return of.path if of.is_module else of.module.path


def listed(module: griffe.Module) -> list[str]:
    """The names in the `__all__` of a module that can be read off its code."""
    return [str(name) for name in module.exports or [] if str(name) in module.members]


def summary(of: griffe.Object) -> str:
    """The first paragraph of a docstring, as a cell of a table."""
    if of.docstring is None:
        raise SystemExit(f"pages/reference.py: {of.path} is public and says nothing of itself: give it a docstring")
    return " ".join(of.docstring.value.strip().partition("\n\n")[0].split()).replace("|", "\\|")


def body(page: Page, code: Code, here: dict[str, Place], order: dict[str, int]) -> str:
    """A page: under its headings what users call, or all if that is nothing; then how it is done. Rooms come first."""
    rooms = {name for name in here if code.modules[name].is_init_module}
    public = order.keys() & here.keys()

    def need(name: str) -> tuple[Any, ...]:
        inside = () if name in rooms else (here[name].beginning, order.get(name, len(code.public)))
        return here[name].part, name not in rooms, *inside, name

    parts = [[f"# {page.title}\n", f"{page.text}\n"]]
    shown = sorted(public | rooms if public else here, key=need)
    for i, heading in enumerate(page.parts):
        under = [code.directive(name) for name in shown if here[name].part == i]
        parts.append([f"## {heading}\n"] * bool(heading and under) + under)
    inner = [code.directive(name) for name in sorted(here.keys() - set(shown), key=need)]
    parts.append(["## How it is done\n"] * bool(inner) + inner)
    return "\n".join(line for part in parts for line in part)


def table(page: Page, code: Code, here: dict[str, Place]) -> str:
    """The part of the overview that is about a page: every public name, what it is, and a link."""
    rows = [
        f"| [`{spelled}`]({page.name}.md#{target.path}) | {summary(target)} |\n"
        for spelled, target in code.public.items()
        if home(target) in here
    ]
    head = ["\n| name | what it is |\n", "|---|---|\n"] * bool(rows)
    return "".join([f"\n## [{page.title}]({page.name}.md)\n\n{page.text}\n", *head, *rows])


def written() -> dict[str, str]:
    """Every page of the reference, by the name of its file."""
    code = Code()
    stands, order = places(code.modules), code.order()
    here = [{name: place for name, place in stands.items() if place.page == i} for i in range(len(PAGES))]
    index = INDEX + "".join(table(page, code, mine) for page, mine in zip(PAGES, here, strict=True))
    return {"index.md": index} | {
        f"{page.name}.md": body(page, code, mine, order) for page, mine in zip(PAGES, here, strict=True)
    }


def main() -> None:
    """Writes the pages, and removes those that are no longer written."""
    parser = argparse.ArgumentParser(description="Writes the pages of the reference.")
    parser.add_argument("--out", type=Path, default=Path("docs/reference"))
    out = parser.parse_args().out
    pages = written()
    out.mkdir(parents=True, exist_ok=True)
    for left in {path.name for path in out.glob("*.md")} - pages.keys():
        (out / left).unlink()
    for name, text in pages.items():
        write_whole(out / name, text.encode())


if __name__ == "__main__":
    main()
