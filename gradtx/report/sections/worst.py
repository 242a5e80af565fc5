"""The images that the model gets most wrong."""

import numpy as np

from gradtx.drawing.markup import Markup, element, image
from gradtx.report.png import png
from gradtx.report.sections.classes import names_of
from gradtx.report.validation import Validation


def worst(validation: Validation, classes: tuple[str, ...]) -> Markup:
    """The images of least probability for their class, with what they are taken for.

    Args:
        validation: what the model says of the validation images.
        classes: the names of the classes, by label.
    """
    names = names_of(classes, validation.probabilities.shape[1])
    tiles = []
    for index, pixels in zip(validation.worst, validation.images, strict=True):
        label, p = validation.labels[index], validation.probabilities[index]
        said = [element("b", element("bdi", names[label])), f" {p[label]:.1%}: "]
        for place, j in enumerate(np.argsort(-p, kind="stable")[:3]):
            said += [", " * (place > 0), element("bdi", names[j]), f" {p[j]:.1%}"]
        alt = f"validation image {index}, {names[label]}"
        shown = image(png(pixels), kind="image/png", alt=alt)
        tiles.append(element("figure", shown, element("figcaption", *said)))
    return element("div", *tiles, class_="tiles")
