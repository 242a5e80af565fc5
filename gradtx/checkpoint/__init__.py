"""Checkpoints: the whole of a training state, saved by Orbax, with digests and exact resume.

Nothing is pickled, and reading a checkpoint runs and writes nothing. Needs the extra `train`.
The observer that saves in a fit is `gradtx.observers.checkpoint`; `resume` is for
`fit(..., resume=...)`.
"""

from gradtx.checkpoint.errors import CheckpointError
from gradtx.checkpoint.layout import Entry, clean, entries
from gradtx.checkpoint.meta import Meta
from gradtx.checkpoint.restoring import Restored, newest_intact, restore
from gradtx.checkpoint.resuming import resume
from gradtx.checkpoint.saving import save, start_save

__all__ = [
    "CheckpointError",
    "Entry",
    "Meta",
    "Restored",
    "clean",
    "entries",
    "newest_intact",
    "restore",
    "resume",
    "save",
    "start_save",
]
