"""Many devices and many processes: a state and its batches on a mesh, and the job around it."""

from gradtx.parallel.mesh import (
    leaf_spec,
    make_mesh,
    own_rows,
    parse_mesh,
    place_batches,
    shard_state,
    state_shardings,
)
from gradtx.parallel.processes import (
    ending_together,
    first_before_others,
    is_first,
    join,
    leave,
    say,
)

__all__ = [
    "ending_together",
    "first_before_others",
    "is_first",
    "join",
    "leaf_spec",
    "leave",
    "make_mesh",
    "own_rows",
    "parse_mesh",
    "place_batches",
    "say",
    "shard_state",
    "state_shardings",
]
