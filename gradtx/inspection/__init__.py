"""Looks at data and at what a model makes of them, as figures.

    show_batch(source)                        what the model is trained on
    show_results(loop, state, source)         its predictions beside the labels
    top_losses(loop, state, source)           the images that it gets most wrong
    confusion(loop, state, source)            which classes it takes for which

`source` is batches as `gradtx.loop.fit` takes them, a data set of `gradtx.data`, or what
`gradtx.run.image_source` returns; the latter two know the names of the classes and how images were
normalized. A figure is a value: a notebook shows it, and `figure.savefig("x.png")` writes it. Needs
matplotlib, from the extra `plot`.
"""

from gradtx.inspection.batch import show_batch
from gradtx.inspection.confusion import confusion
from gradtx.inspection.results import show_results, top_losses

__all__ = ["confusion", "show_batch", "show_results", "top_losses"]
