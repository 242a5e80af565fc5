"""How docstrings become pages: formulas and doctests are shown as code."""

import re

import griffe

DOCTEST = re.compile(r"^( *)(>>> .*(?:\n\1\S.*)*)", re.M)
# A list under a line with a colon, other than the sections that griffe shall read as such.
LIST = re.compile(r"^(?!Args:|Attributes:|Raises:|Source:)(\w[\w ,]*:)\n(?=    )", re.M)

# A placeholder in a sentence, such as <class>: HTML, to Markdown.
PLACEHOLDER = re.compile(r"<(?=[A-Za-z])")
CODE = re.compile(r"(`[^`]*`|^(?: {4}.*|>>>.*(?:\n\S.*)*)$)", re.M)
WORD = re.compile(r"(`[^`]*`)")  # in sentences that are indented
SECTION = re.compile(r"\A(?:Args|Attributes|Raises):\n")

# What a second paragraph begins with that is no formula, or is indented as one already.
OPENINGS = (" ", "Args:", "Raises:", "Source:", ">>>", "-", "|")


def is_formula(paragraph: str) -> bool:
    """Whether a paragraph states an equation, not a sentence.

    ruff takes the indentation away from the formula of a docstring that has nothing after it.
    """
    return bool(re.search(r"=|->|: ", paragraph)) and not paragraph.rstrip().endswith(".")


def escaped(paragraph: str) -> str:
    """`paragraph` without the placeholders that HTML would take for its own, but in code."""
    parts = (WORD if SECTION.match(paragraph) else CODE).split(paragraph)
    return "".join(
        part if number % 2 else PLACEHOLDER.sub("&lt;", part) for number, part in enumerate(parts)
    )


def marked_up(docstring: str) -> str:
    """`docstring` as Markdown."""
    summary, *rest = docstring.split("\n\n")
    if rest and is_formula(rest[0]) and not rest[0].startswith(OPENINGS):
        rest[0] = "\n".join("    " + line for line in rest[0].splitlines())
    text = LIST.sub(r"\1\n\n", "\n\n".join(map(escaped, [summary, *rest])))
    return DOCTEST.sub(r"\1```pycon\n\1\2\n\1```", text)


def is_option(value: object) -> bool:
    """Whether a field is made by `gradtx.config.option`, whose first argument is its default."""
    return isinstance(value, griffe.ExprCall) and str(value.function) == "option"


class Docstrings(griffe.Extension):
    """Applies `marked_up` to all docstrings, and makes tables of the fields of classes."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Called by griffe for every module, class, function and attribute that it has read."""
        if obj.docstring:
            obj.docstring.value = marked_up(obj.docstring.value)

    def on_class_members(self, *, cls: griffe.Class, **kwargs: object) -> None:
        """Called by griffe when it has read all of a class.

        The arguments of a NamedTuple are its fields: griffe finds their types, which it knows of a
        dataclass's, when the section is named after them.
        """
        for field in cls.attributes.values():
            if is_option(field.value):
                field.value = field.value.arguments[0]
        own = "__init__" in cls.members
        known = own or any(d.callable_path == "dataclasses.dataclass" for d in cls.decorators)
        if cls.docstring and not known:
            cls.docstring.value = re.sub("^Args:$", "Attributes:", cls.docstring.value, flags=re.M)
