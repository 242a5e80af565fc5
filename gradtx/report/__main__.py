"""Write the report of a run, or one page that compares several.

gradtx report RUN
gradtx report RUN RUN... [--out comparison.html]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from gradtx.config import Parser
from gradtx.files import as_path
from gradtx.output import say_on_stderr, say_on_stdout
from gradtx.report import write_comparison, write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        argv: its words; by default those of the process.
    """
    parser = Parser(
        prog="gradtx report",
        description=(__doc__ or "").splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", type=as_path, metavar="RUN", help="a run's directory")
    parser.add_argument("--out", type=as_path, help="of a comparison (default: comparison.html)")
    args = parser.parse_args(argv)
    try:
        if len(args.runs) == 1 and args.out is None:
            path = write_report(args.runs[0])
        else:
            path = write_comparison(args.runs, args.out or Path("comparison.html"))
    except (ValueError, OSError) as error:
        say_on_stderr(f"error: {error}")
        return 2
    say_on_stdout(f"Written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
