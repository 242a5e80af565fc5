"""Taking records to a logger in a thread of its own, so that no failure there ends a training."""

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Condition, Thread

from gradtx.observers.logger import End, Logger, Opening, Record
from gradtx.output import counted
from gradtx.sealed import write_json

PATIENCE = 30.0  # seconds that a fit waits for a logger when it begins, saves or ends
MOST = 100_000  # records that wait for a logger; of more the oldest are lost
AT_ONCE = 100  # records; so many may come twice after a process was killed
SLOWEST = 60.0  # seconds between two tries


class Courier:
    """Feeds one logger during one fit.

        open, log what is there, log what is there, ..., close        in a thread

    What fails is said once, kept, and tried again after 1, 2, 4, ... and at most 60 seconds, from
    the opening of the run on; that it works again is said too. At the end of the fit there is a
    last try. The fit goes on meanwhile: it waits for a logger only when it begins, before a
    checkpoint and at its end, and never for more than 30 seconds.

    Args:
        logger: which.
        name: what messages call it.
        opening: the run.
        path: where the note of that is kept.
        say: is given lines for people, in the fit's own thread.
    """

    def __init__(  # noqa: D107
        self,
        logger: Logger,
        name: str,
        opening: Opening,
        path: Path,
        say: Callable[[str], None],
    ) -> None:
        self.logger, self.name, self.opening, self.path = logger, name, opening, path
        self._say = say
        self.note = dict(opening.note or {})
        self.held = self.note  # up to which step there were records when the run was opened
        self.waiting: deque[Record] = deque()
        self.lost = 0
        self.how: End | None = None
        self.is_open = self.is_done = self.is_slow = False
        self.tries = 0  # that have failed since one was well
        self.words: list[str] = []
        self.changed = Condition()
        self.thread = Thread(target=self._work, name=f"gradtx {name}", daemon=True)

    def begin(self) -> None:
        """Open the run."""
        self.thread.start()
        self.wait()

    def take(self, records: Iterable[Record]) -> None:
        """Have these logged; does not wait."""
        with self.changed:
            self.waiting.extend(records)
            while len(self.waiting) > MOST:
                self.waiting.popleft()
                self.lost += 1
            self.changed.notify_all()
        self._speak()

    def wait(self) -> None:
        """Wait until all is logged, or fails, or takes too long."""
        self._wait_for(lambda: self.tries > 0 or (self.is_open and not self.waiting))

    def end(self, how: End) -> None:
        """Log what is left, and close the run."""
        with self.changed:
            self.how = how
            self.is_slow = False
            self.changed.notify_all()
        self._wait_for(lambda: self.is_done)
        if left := len(self.waiting) + self.lost:
            self._say(f"Warning: {self.name} lacks {counted(left, 'record')} of steps and epochs.")

    def _wait_for(self, ready: Callable[[], bool]) -> None:
        with self.changed:
            # One that was too slow is not waited for until it has caught up.
            in_time = self.changed.wait_for(ready, 0.0 if self.is_slow else PATIENCE)
            if not in_time and not self.is_slow:
                self.words.append(
                    f"Warning: {self.name} takes more than {PATIENCE:.0f} seconds; the training"
                    " does not wait for it."
                )
            self.is_slow = not in_time
        self._speak()

    def _speak(self) -> None:
        with self.changed:
            words, self.words = self.words, []
        for line in words:
            self._say(line)

    def _work(self) -> None:
        while not self.is_done:
            try:
                self._try()
            except BaseException as error:  # also what ends a thread: nobody else would say so
                self._failed(error)

    def _try(self) -> None:
        """One step of the work: open the run, log some records, or close it."""
        if not self.is_open:
            step = max(self.opening.step, self.note.get("step", 0))
            note = self.note or None
            self.note = self.logger.open(self.opening._replace(step=step, note=note)) | {}
            self.held = dict(self.note)
            self._keep()
        with self.changed:
            self.is_open = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.waiting or self.how)
            some = [self.waiting[i] for i in range(min(AT_ONCE, len(self.waiting)))]
            how = self.how
        if some:
            if new := [r for r in some if r.step > self.held.get(r.kind, -1)]:
                self.logger.log(new)
                self.note |= {r.kind: r.step for r in new}
                self._keep()
        elif how:
            self.logger.close(how)
        with self.changed:
            for record in some:
                if self.waiting and self.waiting[0] is record:  # else it has become too old
                    self.waiting.popleft()
            if self.tries:
                self.words.append(f"{self.name} works again; what was kept is logged.")
            self.tries, self.is_done = 0, not some
            self.changed.notify_all()

    def _keep(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.note)

    def _failed(self, error: BaseException) -> None:
        """Say it once, and wait; at the end of the fit try once more, and give up."""
        with self.changed:
            self.is_open = False
            self.tries += 1
            if self.tries == 1:
                said = " ".join(str(error).split())[:300].rstrip(".")
                kind = f"{type(error).__name__}: {said}" if said else type(error).__name__
                self.words.append(
                    f"Warning: {self.name} can't log ({kind}); the training"
                    " goes on, and what it lacks is tried again."
                )
            self.is_done = self.how is not None and self.tries > 1
            self.changed.notify_all()
            pause = min(2.0 ** (self.tries - 1), SLOWEST)
            self.changed.wait_for(lambda: self.how is not None, pause)
