"""How often to look: observers must not make the host wait for the device at every step."""

import math
from dataclasses import dataclass
from time import monotonic


@dataclass
class Throttle:
    """Says yes at most once in `seconds`."""

    seconds: float
    last: float = -math.inf

    def restart(self) -> None:
        """Count the seconds from now."""
        self.last = monotonic()

    def due(self) -> bool:
        """Whether it is time again; if so, the seconds count from now."""
        if monotonic() - self.last < self.seconds:
            return False
        self.restart()
        return True
