"""Try the laws on a gradient transformation, from the shell.

gradtx check optax:adam --hyperparam learning_rate=1e-3 --claim scale_invariant
gradtx check path/to/file.py:factory --arg nesterov=true
python -m gradtx.testing module:transformation

The exit status is 0 if all laws hold; 1 if one does not, with a counterexample for each; and 2 for
bad input.
"""

import dataclasses
import inspect
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from gradtx.config import Parser
from gradtx.testing.check import Subject, make_subject, run_laws
from gradtx.testing.report import Report
from gradtx.testing.target import Target, find
from gradtx.testing.words import fit, numbers, pairs, plain, shapes

WHERE = "gradtx check"


def make_parser() -> Parser:
    """The parser of the command line."""
    about, _, rest = (__doc__ or "").partition("\n\n")
    parser = Parser(
        prog=WHERE,
        usage=f"{WHERE} [options] TARGET\n\n{about}\n\n{rest.strip()}",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("target", metavar="TARGET", help="module:name or path/to/file.py:name of a transformation"
        " or of a function that makes one")  # fmt: skip
    add("--arg", action="append", default=[], metavar="NAME=VALUE", help="an argument of the"
        " factory: a value of Python, or module:name (may be repeated)")  # fmt: skip
    add("--hyperparam", action="append", default=[], metavar="NAME=NUMBER", help="an argument of"
        " the factory that may also be a traced scalar and a schedule, which is tried")  # fmt: skip
    add("--claim", action="append", default=[], metavar="NAME[=VALUE]", help="what it claims to"
        " be, such as scale_invariant or decoupled_weight_decay=1e-3 (repeatable)")  # fmt: skip
    add("--extra-arg", action="append", default=[], metavar="NAME=NUMBER", help="an argument of"
        " every update, such as value=1.0")  # fmt: skip
    add("--shapes", help="shapes of the parameters to try, such as 4x6,3,scalar")
    add("--only", action="append", default=[], metavar="LAW", help="a law to try (may be repeated;"
        " default: all that apply)")  # fmt: skip
    add("--profile", choices=["quick", "thorough"], default="quick", help="how long to search"
        " (default: quick)")  # fmt: skip
    add("--seed", type=seed, default=0, help="of the search; none: new examples every time"
        " (default: 0)")  # fmt: skip
    add("--promotion", choices=["standard", "strict"], help="JAX's rules for mixed dtypes"
        " (default: those that are set)")  # fmt: skip
    add("--scripts", type=Path, metavar="DIR", help="where to write the counterexamples, a file"
        " LAW.py each")  # fmt: skip
    return parser


def seed(text: str) -> int | None:
    """The seed that a word stands for."""
    return None if text == "none" else int(text)


def subject_of(args: Any) -> Subject:
    """What the command line wants to be checked, with its claims.

    Raises:
        ValueError, TypeError: for bad input.
    """
    target = find(WHERE, args.target)
    given = pairs(WHERE, "--arg", args.arg)
    hyperparams = numbers(WHERE, "--hyperparam", args.hyperparam)
    extra = {k: jnp.float32(v) for k, v in numbers(WHERE, "--extra-arg", args.extra_arg).items()}
    claims = pairs(WHERE, "--claim", args.claim, alone=True)
    made: Any = target.value
    if given:
        if not callable(made):
            raise ValueError(
                f"{WHERE}: --arg needs a factory; got {args.target}, a transformation. Leave it"
                " out, or name the function that makes it."
            )
        fit(WHERE, made, given)
    _require_arguments(args.target, made, given | hyperparams)
    if given:
        made = partial(made, **{name: plain(value) for name, value in given.items()})
    if isinstance(claims.get("scheduled"), str):
        claims["scheduled"] = claims["scheduled"].split(",")
    plainly = {name: plain(value) for name, value in claims.items()}
    if hyperparams:
        plainly["hyperparams"] = hyperparams
    subject = make_subject(made, extra or None, plainly)
    named = claims | {f"--arg {name}": x for name, x in given.items()}
    code = {name: x for name, x in named.items() if isinstance(x, Target)}
    return dataclasses.replace(subject, code=code | {"subject": target})


def _require_arguments(name: str, made: Any, given: dict[str, Any]) -> None:
    """Require that a factory is given what it needs, and nothing else."""
    if hasattr(made, "init") or not callable(made):
        return
    try:
        inspect.signature(made).bind(**given)
    except TypeError as error:
        raise ValueError(
            f"{WHERE}: {name} must be callable with what it is given; got: {error}. Give its"
            " arguments by --arg NAME=VALUE or --hyperparam NAME=NUMBER."
        ) from None
    except ValueError:  # it has no signature to look at
        pass


def write_scripts(report: Report, folder: Path) -> None:
    """Write the counterexamples of a report, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for failure in report.failures:
        (folder / f"{failure.law}.py").write_text(failure.code + "\n")


def refuse(error: Exception) -> int:
    """Say in one line what is wrong; returns the exit status."""
    said = " ".join(str(error).split())
    if not said.startswith((WHERE, "check_transformation", "Claims")):
        said = f"{WHERE}: what is checked must be made without an error; got" + (
            f" {type(error).__name__}: {said}. Try it in Python."
        )
    print(f"error: {said}", file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        argv: its words; by default those of the process.
    """
    args = make_parser().parse_args(argv)
    try:
        subject = subject_of(args)
    except Exception as error:  # the user's factory may raise anything
        return refuse(error)
    try:
        report = run_laws(
            subject,
            profile=args.profile,
            seed=args.seed,
            promotion=args.promotion,
            templates=[shapes(WHERE, args.shapes)] if args.shapes else None,
            only=args.only or None,
        )
        if args.scripts:
            write_scripts(report, args.scripts)
    except (TypeError, ValueError, OSError) as error:
        return refuse(error)
    print(report)
    if report.unsupported:
        print(
            f"Not tried for want of a second device: {', '.join(report.unsupported)}. On a CPU, set"
            " XLA_FLAGS=--xla_force_host_platform_device_count=2."
        )
    return 0 if report else 1


if __name__ == "__main__":
    sys.exit(main())
