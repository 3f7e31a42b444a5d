"""The rule that queues, in a chain of nf_tables: by nft's own statement, or by the target of iptables.

Not every kernel has the statement, and nft has no words for targets; the kernel takes them in any chain
(CONFIG_NFT_COMPAT), as iptables-nft makes use of.
"""

import struct

from mpcore.errors import HostError
from mpcore.host.command import succeeds
from mpcore.host.nftables import LIST_ELEMENT, NftSets, nested
from mpcore.host.rtnetlink import attribute

FAMILIES = {4: ("ip", 2), 6: ("ip6", 10)}
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
TARGET_NAME, TARGET_REVISION, TARGET_INFO = 1, 2, 3
REVISION = 3
INFO = struct.Struct("=HHH2x")  # struct xt_NFQ_info_v3: queue, number of queues, flags; aligned to 8
BYPASS = 1


def add_queue_rule(version: int, table: str, chain: str, queue: int, *, bypass: bool) -> None:
    """Append a rule that queues everything, and lets it go with `bypass` when nobody reads the queue.

    `table` is one of IP version 4 or 6. Raises HostError.
    """
    name, family = FAMILIES[version]
    words = f"add rule {name} {table} {chain} queue num {queue}{' bypass' if bypass else ''}\n"
    if succeeds(["nft", "-f", "-"], words):
        return
    try:
        with NftSets(table, family) as tables:
            tables.append_rule(chain, queue_target(queue, bypass=bypass))
    except OSError as error:
        raise HostError(f"the kernel takes no rule that queues ({error.strerror})") from error


def queue_target(queue: int, *, bypass: bool) -> bytes:
    """Return the expression of iptables' target NFQUEUE."""
    target = attribute(TARGET_NAME, b"NFQUEUE\0")
    target += attribute(TARGET_REVISION, struct.pack("!I", REVISION))
    target += attribute(TARGET_INFO, INFO.pack(queue, 1, BYPASS if bypass else 0))
    return nested(LIST_ELEMENT, attribute(EXPRESSION_NAME, b"target\0") + nested(EXPRESSION_DATA, target))
