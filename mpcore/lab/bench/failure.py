"""What a receiver notices when a link is lost in the middle of a transfer."""

import time
from collections.abc import Callable
from enum import Enum
from functools import partial

from mpcore.lab.bench.bulk import Way, bulk
from mpcore.lab.bench.model import Measure, Sample
from mpcore.lab.bench.stage import Meter, Pair, Stack, Stage
from mpcore.lab.host import Host
from mpcore.lab.link import Link
from mpcore.lab.wait import wait_until

BEFORE_S = 1.0
AFTER_S = 2.0


class Loss(Enum):
    """How a link is lost. All but the first happen on a host that runs mpcore, and that its kernel knows."""

    CUT = "cut"
    DOWN = "set down"
    ADDRESS = "address removed"


_LOSE: dict[Loss, Callable[[Link, Host], None]] = {
    Loss.CUT: lambda link, host: link.cut(),
    Loss.DOWN: Link.down,
    Loss.ADDRESS: Link.remove_address,
}
_MEND: dict[Loss, Callable[[Link, Host], None]] = {
    Loss.CUT: lambda link, host: link.restore(),
    Loss.DOWN: Link.up,
    Loss.ADDRESS: Link.add_address,
}


def stall(pair: Pair, way: Way, loss: Loss, link: int) -> Measure:
    """Return the measurement of the longest gap, in milliseconds, after the link of index `link` is lost."""
    return partial(_stall, pair=pair, way=way, loss=loss, index=link)


def _stall(stage: Stage, *, pair: Pair, way: Way, loss: Loss, index: int) -> Sample:
    link = stage.lab.links[index]
    host = stage.lab.a if pair.client is Stack.MPCORE else stage.lab.b
    with stage.playing(pair):
        meter = Meter(stage)
        with bulk(stage, pair, way, BEFORE_S + AFTER_S) as transfer:
            wait_until(lambda: stage.joins() > meter.joins, "the second subflow")
            time.sleep(BEFORE_S)
            lost_s = time.monotonic()
            _LOSE[loss](link, host)
            try:
                received = transfer.result(AFTER_S)
            finally:
                _MEND[loss](link, host)
                wait_for_link(link)
    details = {"bytes": received.bytes} | ({"error": received.error} if received.error else {})
    return Sample(received.stall_ms(lost_s), received.intact and not received.error, details)


def wait_for_link(link: Link) -> None:
    """Wait until both ends have their carrier again, so that the next run finds the link whole."""
    for host in (link.a, link.b):
        wait_until(partial(_has_carrier, link, host), "the link to come back")


def _has_carrier(link: Link, host: Host) -> bool:
    return "LOWER_UP" in host.ip("link", "show", link.interface)
