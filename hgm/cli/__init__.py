"""The command line `hgm`. A command of your own: `from hgm.cli import app`, and `@app.command()` over a function."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

# What takes time to import, even `typing`, is imported in the functions, so that Ctrl-C is answered while it is.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["app", "main"]

EXTRAS = {"diffusers": "diffusion", "accelerate": "diffusion"}
EXTRAS |= {"matplotlib": "demo", "sklearn": "demo", "jinja2": "demo"}
EXTRAS |= {"onnx": "export", "onnxscript": "export", "onnxruntime": "export"}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code.

    0: done; 1: `hgm check` found differences; 2: bad input, or output that cannot be written, told in one line on
    standard error; 130: interrupted; 141: the reader of the output has left.

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


def _program() -> Any:
    from hgm.cli import begin, compare, diffusion, model, network, run  # noqa: F401  each of these adds its commands
    from hgm.cli.options import app

    return app


def __getattr__(name: str) -> Any:
    if name == "app":
        return _program()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _run(args: Sequence[str] | None) -> int:
    import typer

    from hgm.errors import HgmError

    app = _program()
    if sys.stdout is None:
        return _refuse("cannot write the output: standard output is closed")
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that the terminal lacks is shown by its code
            sys.stdout.reconfigure(errors="backslashreplace")
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
    except SystemExit as stop:  # so typer ends when the reader leaves while much is written
        raise stop.__context__ if isinstance(stop.__context__, BrokenPipeError) else stop from None
    except BrokenPipeError:
        raise
    except OSError as error:
        return _refuse(f"cannot write {error.filename or 'the output'}: {error.strerror or error}")
    except MemoryError:
        return _refuse("there is not enough memory for this")
    except Exception as error:
        # The errors of usage are click's, which typer takes from elsewhere in some versions: all have format_message.
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        context = getattr(error, "ctx", None)
        command = "hgm" if context is None else context.command_path
        return _refuse(f"{describe().replace(': Value error, ', ': ')} (see {command} --help)")


def _refuse(problem: str) -> int:
    if sys.stderr is not None:  # without one, `print` would take standard output
        from hgm.cli.terminal import red

        print(f"{red('hgm:', sys.stderr)} {' '.join(problem.split())}", file=sys.stderr)
    return 2
