"""What is asked of Orbax, in one place: write a dict of arrays, and read it."""

import logging
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = re.compile(r"(?!/gcs/)[\w./ -]+", re.ASCII)


def begin_write(path: Path, arrays: Mapping[str, Any]) -> Callable[[], None]:
    """Begin to write `arrays`; the function returned waits for the end and raises what went wrong.

    Orbax has no trees without arrays: nothing is written of them. The arrays must stay as they are
    until the end. With several processes all of them must call both functions, each with its part
    of the same arrays.
    """
    if not arrays:
        return lambda: None
    checkpointer, link = _orbax().StandardCheckpointer(), ExitStack()

    def finish() -> None:
        with link, _silent(), checkpointer:
            checkpointer.wait_until_finished()

    with ExitStack() as undo, _silent():
        undo.push(link)
        checkpointer.save(link.enter_context(plain(path)), dict(arrays))
        undo.pop_all()
    return finish


def read(path: Path, targets: Mapping[str, Any]) -> dict[str, Any]:
    """Read the arrays that `targets` names, with its shapes, dtypes and shardings."""
    if not targets:
        return {}
    ocp, targets = _orbax(), dict(targets)
    how = ocp.checkpoint_utils.construct_restore_args(targets)
    args = ocp.args.PyTreeRestore(item=targets, restore_args=how, partial_restore=True)
    with plain(path) as where, _silent(), ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore(where, args=args)


@contextmanager
def plain(path: Path) -> Iterator[Path]:
    """Within it an absolute path of the same file whose letters mean nothing to any library.

    Orbax looks for files by patterns that begin with the path, takes `gs:` for Google's storage and
    a backslash for a slash, and TensorStore's paths are UTF-8: a path with other than plain letters
    is reached by a link in a directory for temporary files.
    """
    path = path.absolute()
    if PLAIN.fullmatch(str(path)):
        yield path
        return
    usual = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(
        prefix="gradtx-", dir=usual if PLAIN.fullmatch(usual) else "/tmp"
    ) as folder:
        link = Path(folder) / "parent"
        link.symlink_to(path.parent, target_is_directory=True)
        yield link / path.name


def can_write(dtype: Any) -> bool:
    """Whether Orbax, which means TensorStore, has a dtype."""
    _orbax()
    import tensorstore

    if isinstance(dtype, np.dtypes.VoidDType | np.dtypes.BytesDType):  # would lose its size
        return False
    try:
        tensorstore.dtype(dtype)
    except (TypeError, ValueError):
        return False
    return True


def orbax_version() -> str:
    """The version of Orbax."""
    return version("orbax-checkpoint")


def require_orbax() -> None:
    """Require that Orbax is installed; it is imported only where it is used, since that takes long.

    Raises:
        ImportError: if it is not, with the remedy.
    """
    # The package `orbax` alone may belong to another distribution.
    if find_spec("orbax") is None or find_spec("orbax.checkpoint") is None:
        raise ImportError(
            "gradtx.checkpoint needs Orbax. Install it with `pip install gradtx[train]`."
        )


def _orbax() -> Any:
    require_orbax()
    import orbax.checkpoint as ocp

    return ocp


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Orbax from logging what is raised anyway, stack and all."""
    # asyncio reports tasks that nobody has asked for their error, some time later.
    logging.getLogger("asyncio").addFilter(_foreign)
    if not isinstance(sys.unraisablehook, _Unraised):
        sys.unraisablehook = _Unraised(sys.unraisablehook)
    logger = logging.getLogger("absl")
    logger.addFilter(_foreign)
    try:
        yield
    finally:
        logger.removeFilter(_foreign)


class _Unraised:
    """`sys.unraisablehook` without what TensorStore has to say after a failed write.

    Orbax closes the loop of events that its other writes still report to, from threads of their
    own, some time later. The failure itself is raised, and said in one line.
    """

    def __init__(self, before: Callable[[Any], Any]) -> None:
        self.before = before

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self.before(unraisable)


def _foreign(record: logging.LogRecord) -> bool:
    """Whether a line of a log has nothing to do with Orbax."""
    return "orbax" not in record.pathname and "orbax" not in record.getMessage()
