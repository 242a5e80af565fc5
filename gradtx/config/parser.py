"""What every command line of ours has of its own: errors of one line, and help that fits."""

import argparse
import difflib
import re
import textwrap
from collections.abc import Iterable
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser of `argparse` whose errors are one line.

    error: PROG: what is wrong. See --help.

    It takes the arguments of `argparse.ArgumentParser`.
    """

    def error(self, message: str) -> NoReturn:
        """End the process with status 2; a name that there is not is told its nearest.

        Args:
            message: what is wrong, without a full stop.
        """
        given = re.findall(r"(?<![^ ])--?[A-Za-z][\w-]*", message)
        if message.startswith("unrecognized") and given:
            message += nearest(
                given[0], [word for word in self._option_string_actions if word[1] == "-"]
            )
        elif chosen := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message):
            message += nearest(chosen[1], re.findall(r"[\w-]+", chosen[2]))
        else:
            message += "."
        self.exit(2, f"error: {self.prog}: {message} See --help.\n")


class Help(argparse.RawDescriptionHelpFormatter):
    """Lines of a description as they are, but for those that the terminal has no room for.

    It takes the arguments of `argparse.HelpFormatter`.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        def fill(line: str) -> str:
            # A command goes on further in; a sentence does not.
            more = indent if line.endswith(".") else indent + "    "
            how: Any = {"break_long_words": False, "break_on_hyphens": False}
            return textwrap.fill(line, width, initial_indent=indent, subsequent_indent=more, **how)

        return "\n".join(map(fill, text.splitlines()))


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about a word that is not known: the nearest one, if any is near.

    Initials are near too, since other programs have `--learning-rate`, or `--wd`.

    >>> nearest("--epoch", ["--epochs", "--lr"]), nearest("--learning_rate", ["--length", "--lr"])
    (': did you mean --epochs?', ': did you mean --lr?')
    >>> nearest("--x", ["--lr"])
    '.'

    Args:
        word: what was given.
        known: what there is.
    """
    plain = lambda name: name.lower().strip("-").replace("_", "-")
    initials = lambda name: "".join(part[:1] for part in name.split("-"))
    given, there = plain(word), {plain(name): name for name in known}
    near = difflib.get_close_matches(given, there, n=1)
    if len(given) > 1:
        near += [name for name in there if given == initials(name) or initials(given) == name]
    return f": did you mean {there[near[0]]}?" if near else "."
