"""What goes wrong with checkpoints."""


class CheckpointError(ValueError):
    """No checkpoint can be used; the message names what differs and the remedy."""
