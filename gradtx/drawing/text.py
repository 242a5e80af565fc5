"""Text of users, in figures."""


def plain(text: str) -> str:
    """A text as it is: Matplotlib would take what is between two dollars for a formula.

    What cannot be printed becomes an escape: half a character has no glyph, and ends a drawing.

    Args:
        text: the text.
    """
    return printed(text).replace("$", r"\$")


def printed(text: str) -> str:
    r"""A text that one can see: what cannot be printed, or turns the letters around, is escaped.

    >>> print(printed("two\nlines"))
    two\nlines

    Args:
        text: the text.
    """
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return "".join(shown)


def short(text: str, most: int) -> str:
    """A text of at most so many letters, the last of which says that some are left out.

    >>> short("a-long-name", 7), short("name", 7)
    ('a-long…', 'name')

    Args:
        text: the text.
        most: letters, at least 1.
    """
    return text if len(text) <= most else text[: most - 1] + "…"
