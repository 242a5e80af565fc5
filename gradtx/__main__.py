"""The command `gradtx`, or `python -m gradtx`: what can be done without a script.

gradtx report RUN [RUN...]      the page of a run, or one that compares several
gradtx predict RUN IMAGE...     the classes of image files, by a run of train.py
gradtx export RUN [--out DIR]   its model as a program and arrays that need no gradtx
gradtx check MODULE:FACTORY     the laws that a gradient transformation breaks
"""

import sys
from collections.abc import Sequence

from gradtx.config import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        argv: its words; by default those of the process.
    """
    argv = sys.argv[1:] if argv is None else argv
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = Parser(prog="gradtx", usage=f"gradtx COMMAND ...\n\n{about}\n\n{examples}")
    parser.add_argument("command", choices=["report", "predict", "export", "check"])
    match parser.parse_args(argv[:1]).command:
        # Each loads what it needs alone: the report needs no model, and no JAX.
        case "report":
            from gradtx.report.__main__ import main as report

            return report(argv[1:])
        case "export":
            from gradtx.run.export import main as export

            return export(argv[1:])
        case "check":
            try:
                from gradtx.testing.__main__ import main as check
            except ModuleNotFoundError as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
            return check(argv[1:])
        case _:
            from gradtx.models import IMAGE_MODELS
            from gradtx.run import TrainOptions, predict

            return predict(TrainOptions, IMAGE_MODELS, argv[1:])


if __name__ == "__main__":
    sys.exit(main())
