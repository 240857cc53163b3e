"""Tables of docstrings, set in columns, are tables of the site."""

from html import unescape

import pytest

markdown = pytest.importorskip("markdown", reason="needs the docs extra: pip install 'hgm[docs]'")

TABLE = """\
before

{head}======  =======
`Edge`  p(a|b), `a|b`
`Rules` some
        more
======  =======

after"""


def shown(text):
    return markdown.markdown(text, extensions=["tables", "pymdownx.superfences", "pages.columns"])


def cells(html):
    return [unescape(line[4:-5]) for line in html.splitlines() if line.startswith(("<td>", "<th>"))]


@pytest.mark.parametrize(
    ("head", "names"),
    [("", ["", ""]), ("======  =======\nkind    for\n", ["kind", "for"])],
    ids=["no head", "head"],
)
def test_rows_cells_and_what_goes_on_in_the_next_line(head, names):
    html = shown(TABLE.format(head=head))
    assert cells(html) == [*names, "<code>Edge</code>", "p(a|b), <code>a|b</code>", "<code>Rules</code>", "some more"]
    assert "<p>before</p>" in html and "<p>after</p>" in html and "=" not in html


def test_code_and_what_is_no_table_stay():
    assert "====  ====" in shown("```\n====  ====\na     b\n====  ====\n```")
    assert shown("====  ====\nopen") == "<p>====  ====\nopen</p>"
    assert shown("====  ====") == "<p>====  ====</p>"
