"""What goes wrong with checkpoints."""


class CheckpointError(ValueError):
    """No checkpoint can be used; the message names what differs and the remedy."""


class Damaged(Exception):
    """A checkpoint is not as it was saved; the message says what of it, in a few words."""
