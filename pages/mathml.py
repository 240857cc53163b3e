r"""Formulas become MathML when the site is built, so that no page needs a script, or the network, to show them.

A Markdown extension that comes after `pymdownx.arithmatex`, which finds the formulas: it leaves each as an element
of class ``arithmatex`` that holds ``\(...\)`` or ``\[...\]``. Any builder of sites that runs
Markdown extensions can use it.
"""

from __future__ import annotations

from html import unescape
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from math_core import LatexToMathML

LATE = -10  # a priority after all that Markdown does to text by itself


class MathML(Treeprocessor):
    """Puts MathML in the place of every formula; what is no formula ends the build, and names it."""

    def run(self, root: Element) -> None:
        convert = LatexToMathML(unicode_substitution="conventional")
        for place in root.iter():
            if place.get("class") == "arithmatex" and place.text:
                text = unescape(place.text)  # arithmatex has escaped < and &
                opening, formula, closing = text[:2], text[2:-2], text[-2:]
                block = (opening, closing) == (r"\[", r"\]")
                if not block and (opening, closing) != (r"\(", r"\)"):
                    raise ValueError(f"no formula of pymdownx.arithmatex with generic: true: {text!r}")
                mathml = convert.convert_with_local_state(formula, displaystyle=block)
                place.text = self.md.htmlStash.store(mathml)  # with entities of HTML, which are none of XML


class MathMLExtension(Extension):
    """Adds the treeprocessor; the names of both functions are Markdown's."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(MathML(md), "mathml", LATE)


def makeExtension(**settings: object) -> MathMLExtension:
    """The extension, as ``markdown_extensions: [pages.mathml]`` asks for it."""
    return MathMLExtension(**settings)
