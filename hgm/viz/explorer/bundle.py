"""One HTML file out of many: the style, the facts and the modules of the folder `page`, put where its markers stand.

Modules import each other by their files' names, ``import { a } from "./b.js";``. In the one file they share a scope, so
they are laid one after the other, each behind those that it imports, without the words `import` and `export`. A name
that two modules declare is an error that the browser shows at once.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

__all__ = ["bundled", "modules"]

IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.M)
PAGE = files("hgm.viz.explorer").joinpath("page")


def bundled(facts: dict[str, Any]) -> str:
    """The whole page, with what it shows."""
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    parts = {
        "/* style */": _read("style.css"),
        "/* facts */": text.replace("<", "\\u003c"),  # no name can end the element
        "/* modules */": "\n".join(f"// ---- {name}\n{code}" for name, code in modules().items()),
    }
    return re.sub(r"/\* \w+ \*/", lambda marker: parts[marker[0]], _read("page.html"))


def modules() -> dict[str, str]:
    """The modules by their names, in the order in which they can run."""
    found: dict[str, str] = {}

    def add(name: str) -> None:
        code = _read(name)
        for other in IMPORT.findall(code):
            if other not in found:
                add(other)
        found[name] = re.sub(r"^export ", "", IMPORT.sub("", code), flags=re.M).strip() + "\n"

    add("main.js")
    return found


def _read(name: str) -> str:
    return PAGE.joinpath(name).read_text(encoding="utf-8")
