"""Event files of TensorBoard: their names, and the records in them."""

import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def new_path(folder: Path) -> Path:
    """A file after all others: TensorBoard reads them in the order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in folder.glob("events.*"))  # for fits that begin in the same second
    seconds = f"{int(time.time()):010}"
    return folder / f"events.out.tfevents.{seconds}.{socket.gethostname()}.{number:04}"


def event(**content: Any) -> bytes:
    """An event as a record of the file.

    length uint64, masked CRC of these bytes, the event, masked CRC of the event; little-endian
    """
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import masked_crc32c

    messages: Any = event_pb2  # which makes its classes when it is imported
    data = messages.Event(wall_time=time.time(), **content).SerializeToString()
    length = struct.pack("<Q", len(data))
    check = lambda part: struct.pack("<I", masked_crc32c(part))
    return length + check(length) + data + check(data)


def beginning(config: Mapping[str, Any], columns: Sequence[str]) -> list[bytes]:
    """The events by which the page HPARAMS has a run, with its hyperparameters.

    Args:
        config: their values; what is no number, switch or text is shown as text.
        columns: the tags of scalars that the page shows beside them.
    """
    from tensorboardX.summary import hparams

    plain = {
        name: x if isinstance(x, bool | int | float | str) else str(x) for name, x in config.items()
    }
    experiment, start, _ = hparams(plain, dict.fromkeys(columns, 0.0))
    return [event(summary=experiment), event(summary=start)]


def ending(well: bool) -> list[bytes]:
    """The event by which that page knows how the fit has ended."""
    from tensorboardX.proto import api_pb2, plugin_hparams_pb2
    from tensorboardX.summary import hparams

    _, _, end = hparams({}, {})
    if not well:
        api: Any = api_pb2  # which make their classes when they are imported
        plugin_data: Any = plugin_hparams_pb2
        data = plugin_data.HParamsPluginData()
        plugin = end.value[0].metadata.plugin_data
        data.ParseFromString(plugin.content)
        data.session_end_info.status = api.Status.Value("STATUS_FAILURE")
        plugin.content = data.SerializeToString()
    return [event(summary=end)]
