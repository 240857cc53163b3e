"""The command line `hgm`. A command of your own: `from hgm.cli import app`, and `@app.command()` over a function."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from hgm.cli import model as model  # each of these three adds its commands to the program
from hgm.cli import network as network
from hgm.cli import run as run
from hgm.cli.options import app

__all__ = ["app", "main"]

EXTRAS = {"matplotlib": "demo", "sklearn": "demo", "jinja2": "demo", "onnx": "export", "onnxscript": "export"}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code.

    0: done; 1: `hgm check` found differences; 2: bad input, told in one line on standard error; 130: interrupted.

    Args:
        args: the words after `hgm`; default those of the process.
    """
    try:
        return _run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(args: Sequence[str] | None) -> int:
    import typer

    from hgm.errors import HgmError

    try:
        code = app(args=None if args is None else list(args), prog_name="hgm", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return 130
    except HgmError as error:
        return _refuse(str(error))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _refuse(f"this needs {error.name}; install it: pip install 'hgm[{extra}]'")
    except BrokenPipeError:
        raise
    except OSError as error:
        return _refuse(f"cannot write the output: {error.strerror or error}")
    except MemoryError:
        return _refuse("there is not enough memory for this")
    except Exception as error:
        # The errors of usage are click's, which typer takes from elsewhere in some versions: all have format_message.
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        return _refuse(f"{describe()} (see hgm --help)")


def _refuse(problem: str) -> int:
    print(f"hgm: {' '.join(problem.split())}", file=sys.stderr)
    return 2
