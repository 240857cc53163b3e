"""Runs the tutorials and writes their pages: what `make docs` does before it builds the site.

A tutorial is a script in `tutorials/`, in jupytext's percent format. Its cells are run in order in a fresh kernel of
the Python that runs this, and what they print, return and draw goes to `docs/tutorials`: the page NAME.md, its pictures
in NAME_files, the notebook NAME.ipynb, and the script itself. A tutorial is run again only if the stamp in its notebook
is old: a digest of the script, of hgm, and of what is installed.

    python tutorials/_build.py [tutorials/NAME.py ...] [--out docs/tutorials]
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from hgm.files.whole import write_whole

ROOT = Path(__file__).resolve().parent.parent
INDEX = ROOT / "docs" / "tutorials" / "README.md"
RICHEST_FIRST = (
    "image/svg+xml",
    "image/png",
    "text/markdown",
    "text/html",
    "text/plain",
)
KERNEL = [
    "--log-level=ERROR",
    "--matplotlib=inline",  # a figure is shown, whether pyplot made it or not
    "--InlineBackend.figure_formats={'svg'}",
    "--InlineBackend.rc={'svg.hashsalt': 'hgm'}",
    "--InlineBackend.print_figure_kwargs={'bbox_inches': 'tight', 'metadata': {'Date': None}}",
]


class Broken(Exception):
    """A tutorial that cannot become a page, in one line."""


def stamp(script: Path) -> str:
    """The digest of everything that the outputs of a tutorial may depend on."""
    digest = hashlib.sha256(sys.version.encode())
    digest.update(
        repr(
            sorted({f"{found.name} {found.version}" for found in distributions()})
        ).encode()
    )
    for path in (script, Path(__file__), *sorted((ROOT / "hgm").rglob("*.py"))):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def executed(script: Path) -> NotebookNode:
    """The notebook of a tutorial, with its outputs, which depend on nothing of the machine that they can do without."""
    notebook = jupytext.read(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws them at random
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        env = (
            os.environ
            | {
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
                ),
                "PYTHONHASHSEED": "0",
                "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm, without widgets
                "TQDM_DISABLE": "1",
                "OMP_NUM_THREADS": "1",
                "COLUMNS": "100",
                "IPYTHONDIR": f"{folder}/.ipython",  # nobody's own settings; a home may be read-only
                "MPLCONFIGDIR": f"{folder}/.matplotlib",
            }
        )
        client = NotebookClient(
            notebook, extra_arguments=KERNEL, coalesce_streams=True, record_timing=False
        )
        # No directories to look for kernels in: what is left is the Python that runs this.
        client.km = AsyncKernelManager(
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
        )
        try:
            client.execute(env=env, cwd=str(folder))
        except CellExecutionError as error:
            failed = next(
                cell for cell in reversed(notebook.cells) if cell.get("execution_count")
            )
            raise Broken(
                f"{place(failed)}: {first_line(f'{error.ename}: {error.evalue}')}"
            ) from None
        except DeadKernelError:
            raise Broken("its Python died") from None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                cleaned(output, folder)
                for output in cell.outputs
                if not on_stderr(output)
            ]
    notebook.metadata = {
        "kernelspec": {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        },
        "language_info": {"name": "python"},
        "hgm": {"stamp": stamp(script)},
    }
    return notebook


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def place(cell: NotebookNode) -> str:
    """Which cell it is, in words."""
    return f"cell {cell.execution_count} (`{first_line(cell.source)}`)"


def on_stderr(output: NotebookNode) -> bool:
    """Warnings and progress bars are no part of a page; warnings are shown to whoever builds it."""
    if output.output_type != "stream" or output.name != "stderr":
        return False
    for line in output.text.splitlines():
        if line.strip() and not re.search(r"\d%\||it/s|s/it", line):
            print(line, file=sys.stderr)
    return True


def cleaned(output: NotebookNode, folder: Path) -> NotebookNode:
    """An output without colours of the terminal, addresses in memory, and directories of this machine."""

    def clean(text: str) -> str:
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]| at 0x[0-9a-fA-F]+", "", text)
        for directory in (folder, sys.prefix, ROOT):
            text = text.replace(f"{directory}{os.sep}", "").replace(str(directory), ".")
        return text

    if output.output_type == "stream":
        output.text = clean(output.text)
    else:
        output.data = {
            kind: clean(it) if kind.startswith("text/") else it
            for kind, it in output.data.items()
        }
    return output


def page(notebook: NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by file name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        parts.append(
            fenced(cell.source, "python") if cell.cell_type == "code" else cell.source
        )
        for output in cell.get("outputs", []):
            data = (
                {"text/plain": output.text}
                if output.output_type == "stream"
                else output.data
            )
            kind = next(kind for kind in RICHEST_FIRST if kind in data)
            if kind == "text/plain":
                parts.append(fenced(data[kind], "text"))
            elif kind.startswith("text/"):
                parts.append(data[kind].strip())
            elif not cell.metadata.get("alt"):
                raise Broken(
                    f'{place(cell)} draws a picture: say what it shows, as # %% alt="..."'
                )
            else:
                svg = kind == "image/svg+xml"
                file = f"{len(pictures) + 1}.{'svg' if svg else 'png'}"
                pictures[file] = (
                    data[kind].encode() if svg else base64.b64decode(data[kind])
                )
                parts.append(f"![{cell.metadata.alt}]({name}_files/{file})")
    title, _, rest = parts[0].partition("\n")
    if not re.match("# .", title):
        raise Broken(
            "the first cell must be Markdown, and its first line the title: # # ..."
        )
    number = number_of(name)
    links = f"This page is what [{name}.py]({name}.py) gives when it is run; it is also a [notebook]({name}.ipynb)."
    links = f"*Tutorial {number}. {links}*" if number else f"*{links}*"
    return "\n\n".join(
        filter(None, [title, links, rest.strip(), *parts[1:]])
    ) + "\n", pictures


def number_of(name: str) -> str | None:
    """Which tutorial it is, by the table of the index page; ``None`` if it is not in it."""
    found = re.search(
        rf"^\| (\d+) \| \[.*\]\({re.escape(name)}\.md\)", INDEX.read_text(), re.M
    )
    return found[1] if found else None


def fenced(text: str, language: str) -> str:
    """A block of code or output; the fence is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return "\n".join([fence + language, text.strip("\n").rstrip(), fence])


def build(script: Path, out: Path) -> None:
    """Write the page of a tutorial and what belongs to it; run it first if its notebook is old."""
    name, file = script.stem, out / f"{script.stem}.ipynb"
    notebook = nbformat.read(file, nbformat.NO_CONVERT) if file.exists() else None
    if notebook is None or notebook.metadata.get("hgm", {}).get("stamp") != stamp(
        script
    ):
        print(f"running {script.name}", flush=True)
        notebook = executed(script)
    text, pictures = page(notebook, name)
    folder = out / f"{name}_files"
    folder.mkdir(parents=True, exist_ok=True)
    for picture, data in pictures.items():
        write_whole(folder / picture, data)
    for old in {path.name for path in folder.glob("[!.]*")} - set(pictures):
        (folder / old).unlink(missing_ok=True)
    write_whole(out / script.name, script.read_bytes())
    write_whole(out / f"{name}.md", text.encode())
    write_whole(file, nbformat.writes(notebook).encode())


def remove(name: str, out: Path) -> None:
    """Remove what `build` wrote for a tutorial that is no more."""
    for ending in (".md", ".py", ".ipynb"):
        (out / f"{name}{ending}").unlink(missing_ok=True)
    shutil.rmtree(out / f"{name}_files", ignore_errors=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Run the tutorials and write their pages."
    )
    parser.add_argument(
        "scripts", nargs="*", type=Path, help="tutorials; all of them if none is named"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "docs" / "tutorials",
        help="where the pages go",
    )
    args = parser.parse_args()
    scripts = args.scripts or sorted((ROOT / "tutorials").glob("[!_]*.py"))
    for script in scripts:
        try:
            build(script, args.out)
        except Broken as error:
            sys.exit(f"{script.name}: {error}")
    if not args.scripts:
        for name in {path.stem for path in args.out.glob("*.ipynb")} - {
            script.stem for script in scripts
        }:
            remove(name, args.out)


if __name__ == "__main__":
    main()
