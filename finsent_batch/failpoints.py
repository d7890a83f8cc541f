"""Named places at which tests end, stop or fail a run; nothing happens unless asked for.

`FINSENT_FAILPOINT=in_commit:kill` ends the process with SIGKILL when it comes to the
place named `in_commit`, `batch:term:3` asks it to stop at the third `batch`, and
`:trace` writes the name of each place to stderr as it is passed. Several are put
together by commas, `:trace` first. For tests alone.
"""

import errno
import os
import signal
import threading

VARIABLE = "FINSENT_FAILPOINT"
PLACES = (
    "plan",
    "load_model",
    "batch",
    "before_commit",
    "in_commit",
    "committed",
    "publish",
    "before_rename",
    "renamed",
    "in_table",
    "before_table_commit",
    "table_committed",
    "day_renamed",
    "before_upload",
    "before_complete",
    "uploaded",
)
"""In the order in which a run comes to them; those from `in_table` on are of a DuckDB output, of a
folder by days, and of an object in a bucket."""
SNAPSHOT_PLACES = ("snapshot", "before_snapshot", "snapshot_renamed", "snapshot_noted")
"""Those of every command that writes to the store, at its end."""

_SIGNALS = {
    "kill": signal.SIGKILL,
    "term": signal.SIGTERM,
    "int": signal.SIGINT,
    "stop": signal.SIGSTOP,
}


class Failpoint:
    """One place, what is to happen there, and at which time of passing it."""

    def __init__(self, text: str) -> None:
        self.place, self.action, count = (*text.split(":"), "1")[:3]
        self.left = int(count)

    def reach(self, place: str) -> None:
        """Do what was asked for if this is the place and the time."""
        if self.action == "trace":
            os.write(2, f"{VARIABLE} {place}\n".encode())
        if place != self.place:
            return
        self.left -= 1
        if self.left == 0:
            if self.action == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.action in ("kill", "stop"):
                # To this thread, which goes no further; the process's might take another first.
                signal.pthread_kill(threading.get_ident(), _SIGNALS[self.action])
            else:  # Python answers these in the main thread
                os.kill(os.getpid(), _SIGNALS[self.action])


armed = [Failpoint(text) for text in os.environ.get(VARIABLE, "").split(",") if text]


def failpoint(place: str) -> None:
    """Pass one of `PLACES` or `SNAPSHOT_PLACES`."""
    for point in armed:
        point.reach(place)
