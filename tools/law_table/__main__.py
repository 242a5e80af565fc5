"""Try every law on the transformations of the field, and write docs/laws.md.

    python -m tools.law_table                # what is not known yet, then the page
    python -m tools.law_table --only optax.adam --fresh
    python -m tools.law_table --page         # the page alone, of what is known

What is known is in build/law_table, a file a transformation, written law by law: a run that was
stopped goes on. A package with a row that is not installed keeps what the page has of it.
"""

import argparse
import sys
from multiprocessing import get_context

from tools.law_table.worker import FOLDER, prepare, work


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools.law_table", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], help="names of transformations")
    parser.add_argument("--fresh", action="store_true", help="forget what is known of them")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    args = parser.parse_args()
    from tools.law_table.field import entries

    chosen = [x for x in entries() if not args.only or x.name in args.only]
    if not args.page:
        if args.fresh:
            for entry in chosen:
                (FOLDER / f"{entry.slug}.json").unlink(missing_ok=True)
        present = [entry for entry in chosen if entry.installed]
        # A few for each process: what JAX compiles of one is of no use to another.
        with get_context("spawn").Pool(args.jobs, prepare, maxtasksperchild=8) as pool:
            for said in pool.imap_unordered(work, [entry.name for entry in present]):
                print(said, flush=True)
    from tools.law_table.page import write_page

    write_page(FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
