"""The one exception of `gradtx.data`."""


class DataError(ValueError):
    """Bad or missing data; the message names the file and the remedy, so it can be shown as is."""
