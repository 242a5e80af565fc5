"""The command `gradtx`, or `python -m gradtx`: what can be done without a script of one's own.

gradtx train [OPTIONS]          a model on images or text: what train.py is in the repository
gradtx report RUN [RUN...]      the page of a run, or one that compares several
gradtx predict RUN IMAGE...     the classes of image files, by a run of `gradtx train`
gradtx export RUN [--out DIR]   its model as a program and arrays that need no gradtx
gradtx check MODULE:FACTORY     the laws that a gradient transformation breaks
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import gradtx
from gradtx.config import Parser
from gradtx.output import say_on_stderr

COMMANDS = ("train", "report", "predict", "export", "check")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        argv: its words; by default those of the process.
    """
    own, argv = argv is None, sys.argv[1:] if argv is None else argv
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = Parser(prog="gradtx", usage=f"gradtx COMMAND ...\n\n{about}\n\n{examples}")
    parser.add_argument("--version", action="version", version=f"gradtx {gradtx.__version__}")
    parser.add_argument("command", choices=COMMANDS, help="COMMAND --help says more of it")
    command = parser.parse_args(argv[:1]).command
    if own and command == "train":
        start_again()
    try:
        return run(command, argv[1:])
    except ModuleNotFoundError as error:
        # Of a package, not of a module of ours: the user's to install.
        if str(error.name).split(".")[0] == "gradtx":
            raise
        say_on_stderr(f"error: {said(command, error)}")
        return 2


def start_again() -> None:
    """Start this process again for memory in huge pages, as train.py does; see there."""
    wanted = sys.platform == "linux" and os.environ.get("GRADTX_HUGE_PAGES", "1") == "1"
    if wanted and "GLIBC_TUNABLES" not in os.environ and not (sys.gettrace() or sys.getprofile()):
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        with contextlib.suppress(OSError):
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def run(command: str, argv: Sequence[str]) -> int:
    """Hand the words to what the command names.

    Each loads what it needs alone: the report needs no model.

    Args:
        command: one of `COMMANDS`.
        argv: the words after it.
    """
    match command:
        case "train":
            return script().end(argv, options("gradtx train"))  # which ends the process
        case "report":
            from gradtx.report.__main__ import main as report

            return report(argv)
        case "export":
            from gradtx.run.export import main as export

            return export(argv)
        case "check":
            from gradtx.testing.__main__ import main as check

            return check(argv)
    from gradtx.models import IMAGE_MODELS
    from gradtx.run import predict

    return predict(options("gradtx"), IMAGE_MODELS, argv)


def options(prog: str) -> Any:
    """The options of train.py, in whose messages the command stands.

    Args:
        prog: the command.
    """
    from gradtx.run import TrainOptions

    return type("Options", (TrainOptions,), {"PROG": prog})


def script() -> Any:
    """train.py as a module: in a wheel it is beside this file, in a checkout above the package."""
    here = Path(__file__).parent
    (path, *_) = (p for p in (here / "train.py", here.parent / "train.py") if p.exists())
    spec: Any = spec_from_file_location("gradtx.train", path)
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def said(command: str, error: ModuleNotFoundError) -> str:
    """What there is to install, where the error does not say it.

    Args:
        command: what was to be run.
        error: what Python, or a module of ours, said.
    """
    text = str(error)
    if "pip install" in text:
        return text
    return (
        f"gradtx {command}: an extra must be installed; got {text}. Install it:"
        " pip install 'gradtx[train,data,plot,export]'."
    )


if __name__ == "__main__":
    sys.exit(main())
