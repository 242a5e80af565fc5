"""The colors of a page, light and dark, as CSS variables, and which of them a line has.

The five colors of lines keep apart for the color-blind too (deuteranopia, protanopia, tritanopia)
and stand out from the page by 3 to 1 at least; more lines than five differ by their dashes.
"""

LINES = 5
DASHES = ("", "7 3", "2 3", "9 3 2 3")  # lengths in pixels, drawn and left out

LIGHT = {
    "page": "#ffffff",
    "panel": "#f5f6f8",
    "text": "#1b1f24",
    "muted": "#59626e",
    "rule": "#d8dce2",
    "accent": "#0067b0",
    "bad": "#a11212",
    "right": "46 125 50",
    "wrong": "198 40 40",
    "line-0": "#0067b0",
    "line-1": "#d25500",
    "line-2": "#a31df0",
    "line-3": "#3d2c0c",
    "line-4": "#00a389",
}
DARK = {
    "page": "#14171c",
    "panel": "#1c2129",
    "text": "#e7eaee",
    "muted": "#a3acb8",
    "rule": "#353c47",
    "accent": "#5fb0f5",
    "bad": "#ff8080",
    "right": "72 170 90",
    "wrong": "225 75 75",
    "line-0": "#4aa3f0",
    "line-1": "#ff8a3d",
    "line-2": "#a95cff",
    "line-3": "#f6efc8",
    "line-4": "#14d98f",
}


def variables() -> str:
    """The CSS that sets the colors: those of the reader's system, or those chosen on the page."""
    light, dark = (" ".join(f"--{name}: {x};" for name, x in c.items()) for c in (LIGHT, DARK))
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}\n"
        "@media (prefers-color-scheme: dark) {"
        f" :root:not([data-theme=light]) {{ color-scheme: dark; {dark} }} }}\n"
    )


def line_class(number: int) -> str:
    """The classes of the line with a number: its color and its dashes.

    >>> line_class(1), line_class(6)
    ('c1 d0', 'c1 d1')

    Args:
        number: from 0 on.
    """
    return f"c{number % LINES} d{number // LINES % len(DASHES)}"


def line_rules() -> str:
    """The CSS of these classes."""
    colors = [f".c{i} {{ --own: var(--line-{i}); }}" for i in range(LINES)]
    dashes = [f".d{i} {{ stroke-dasharray: {dash}; }}" for i, dash in enumerate(DASHES) if dash]
    return "\n".join((*colors, *dashes)) + "\n"
