"""The same bits in each run, on a GPU too."""

import os

FLAG = "--xla_gpu_deterministic_ops=true"


def be_deterministic() -> None:
    """Have XLA use, on a GPU, only operations that give the same bits each time.

    Elsewhere they do so anyway, and nothing changes. XLA reads its flags when JAX first uses a
    device: call this before. Processes that this one starts inherit it.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    name = FLAG.split("=")[0]
    others = [flag for flag in flags if flag.split("=")[0] != name]
    os.environ["XLA_FLAGS"] = " ".join([*others, FLAG])
