import pytest

from mpcore.lab.topology import Lab
from tests.helpers.netns import converse, make_lab, nstat_delta

pytestmark = pytest.mark.kernel

SIZE = 3_000_000


@pytest.mark.parametrize("version", [4, 6])
def test_kernel_mptcp_uses_both_links_and_every_byte_arrives(lab: Lab, version: int) -> None:
    moved = nstat_delta(lab.b)
    at_client, at_server = converse(
        lab, version=version, client_mptcp=True, server_mptcp=True, upload=SIZE, download=SIZE
    )
    # Over IPv6 the announced IPv4 address may add a third one.
    assert at_client.subflows >= 2
    assert at_server.subflows >= 2
    assert moved()["MPTcpExtMPJoinAckRx"] >= 1


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("client", "server"), [(True, False), (False, True), (False, False)])
def test_one_end_without_mptcp_makes_it_plain_tcp(
    lab: Lab,
    version: int,
    client: bool,
    server: bool,
) -> None:
    at_client, at_server = converse(lab, version=version, client_mptcp=client, server_mptcp=server)
    assert at_client.subflows == at_server.subflows == 0


def test_the_direction_can_be_turned(lab: Lab) -> None:
    moved = nstat_delta(lab.a)
    converse(lab, client_mptcp=False, server_mptcp=False, to_a=True)
    assert moved()["IpExtInOctets"] > 1 << 20


def test_source_routing_sends_each_address_by_its_own_link() -> None:
    with make_lab(100, 100, announce=False, source_routing=True) as lab:
        second = lab.links[1]
        lab.a.mptcp_endpoint(second.address(lab.a), second.interface, "subflow")
        at_client, _ = converse(lab, client_mptcp=True, server_mptcp=True, upload=SIZE, download=SIZE)
        assert at_client.subflows == 2
        sent = int(lab.a.run(["cat", f"/sys/class/net/{second.interface}/statistics/tx_bytes"]).stdout)
        assert sent > SIZE // 10
