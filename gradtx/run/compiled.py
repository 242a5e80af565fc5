"""Where JAX keeps what it has compiled."""

import os
from contextlib import suppress

import jax

from gradtx.files import CACHE, as_path


def keep_compiled() -> None:
    """Have JAX keep programs that took a second to compile, in ~/.cache/gradtx/compiled.

    What the environment says instead (`JAX_COMPILATION_CACHE_DIR`,
    `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`), or the configuration of JAX, holds. Without a
    home directory nothing is kept.
    """
    variable = "JAX_COMPILATION_CACHE_DIR"
    if variable not in os.environ and not jax.config.values[variable.lower()]:
        with suppress(ValueError):
            jax.config.update(variable.lower(), str(as_path(CACHE / "compiled")))
    variable = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
    if variable not in os.environ:
        jax.config.update(variable.lower(), 1.0)
