"""How many steps a host starts before it looks at how they ended."""

import math
from dataclasses import dataclass
from time import perf_counter

# Two groups of steps are under way at a time, so a fit answers within half a second.
SECONDS = 0.25
MOST = 256


@dataclass
class Pace:
    """The number of steps in a group, so that a group takes about `SECONDS`.

        steps = clip(SECONDS / time of a step, 1, most)

    The first group holds the compilation; the time of a step is known after the second.
    """

    most: int = MOST
    steps: int = 1
    looked: float = math.nan

    def look(self, done: int) -> None:
        """A group of `done` steps has just ended."""
        now = perf_counter()
        took, self.looked = (now - self.looked) / done, now
        if math.isfinite(took):
            self.steps = max(1, min(self.most, int(SECONDS / max(took, 1e-9))))

    def forget(self) -> None:
        """What follows is not a step: the time till the next look says nothing."""
        self.looked = math.nan
