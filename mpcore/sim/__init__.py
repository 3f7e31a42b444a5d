"""A deterministic simulator: hosts, links, middleboxes, virtual time; same seed, same packets to the byte."""

from mpcore.sim.apps import Close
from mpcore.sim.competition import CompetitionResult, Contender, compete, jain_index
from mpcore.sim.link import LinkSettings
from mpcore.sim.network import LinkPlan, Network, shared_bottleneck, two_hosts
from mpcore.sim.scenario import (
    EndpointFactory,
    FlowResult,
    TransferResult,
    cut,
    interface_down,
    interface_up,
    restore,
    run_transfer,
)
from mpcore.sim.tcp_settings import TcpSettings

__all__ = [
    "Close",
    "CompetitionResult",
    "Contender",
    "EndpointFactory",
    "FlowResult",
    "LinkPlan",
    "LinkSettings",
    "Network",
    "TcpSettings",
    "TransferResult",
    "compete",
    "cut",
    "interface_down",
    "interface_up",
    "jain_index",
    "restore",
    "run_transfer",
    "shared_bottleneck",
    "two_hosts",
]
