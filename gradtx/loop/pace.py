"""How many steps a host starts before it looks at how they ended."""

import math
from dataclasses import dataclass
from time import perf_counter

import jax

from gradtx.parallel.processes import from_first

# Two groups of steps are under way at a time, so a fit answers within half a second.
SECONDS = 0.25
MOST = 256


@dataclass
class Pace:
    """The number of steps in a group, so that a group takes about `SECONDS`.

        steps = clip(SECONDS / time of a step, 1, MOST)

    The clock runs from when the first steps have been started, and so been compiled. Of several
    processes all must start the same programs, so there the first one's time holds for all, once.
    """

    steps: int = 1
    looked: float = math.nan
    is_fixed: bool = False

    def start(self) -> None:
        """Note that steps are under way; the first time, the clock runs from here."""
        if math.isnan(self.looked):
            self.looked = perf_counter()

    def look(self, done: int) -> None:
        """Note that `done` more steps have ended just now.

        Args:
            done: their number, since the look before.
        """
        now = perf_counter()
        took, self.looked = (now - self.looked) / done, now
        if self.is_fixed:
            return
        self.steps = max(1, min(MOST, int(SECONDS / max(took, 1e-9))))
        if jax.process_count() > 1:
            self.steps, self.is_fixed = from_first(self.steps), True

    def rest(self) -> None:
        """Note that something else than steps comes now."""
        self.looked = math.nan
