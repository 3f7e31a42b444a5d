"""Raw sockets: delivery to local sockets from foreign addresses, batches, and errors that become counters."""

import socket

import pytest

from mpcore.errors import HostError
from mpcore.host.rawsock import RawSender
from tests.host.namespace import in_namespace, run, set_variable
from tests.host.packets import udp_packet

SO_RCVBUFFORCE = 33
FOREIGN = {4: "203.0.113.9", 6: "2001:db8:9::9"}
LOCAL = {4: "10.77.0.1", 6: "2001:db8:77::1"}


def local_socket(version: int) -> socket.socket:
    """A UDP socket on a local address of a device other than lo, under strict reverse-path filtering."""
    run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far")
    run("ip", "link", "set", "far", "up")
    run("ip", "link", "set", "uplink", "up")
    for device in ("all", "lo"):
        set_variable(f"net.ipv4.conf.{device}.rp_filter", 1)
    if version == 4:
        run("ip", "addr", "add", f"{LOCAL[4]}/24", "dev", "uplink")
    else:
        run("ip", "addr", "add", f"{LOCAL[6]}/64", "dev", "uplink", "nodad")
    sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    sock.bind((LOCAL[version], 4000))
    sock.settimeout(5)
    return sock


@pytest.mark.parametrize("version", [4, 6])
@in_namespace
def test_injection_delivers_large_packets_from_a_foreign_address(version: int) -> None:
    receiver = local_socket(version)
    payload = bytes(range(256)) * 128
    with RawSender(version, mark=0x10000000) as sender:
        assert sender.send(udp_packet(FOREIGN[version], 5000, LOCAL[version], 4000, payload))
        data, peer = receiver.recvfrom(65536)
        assert data == payload
        assert peer[:2] == (FOREIGN[version], 5000)
        assert sender.stats()["sent"] == 1
        assert sender.stats()["sent_bytes"] == len(payload) + (28 if version == 4 else 48)


@pytest.mark.parametrize("version", [4, 6])
@in_namespace
def test_a_batch_arrives_whole_and_in_order(version: int) -> None:
    receiver = local_socket(version)
    payloads = [bytes([n]) * (1 + 37 * n) for n in range(100)]
    with RawSender(version) as sender:
        packets = [udp_packet(FOREIGN[version], 5000, LOCAL[version], 4000, payload) for payload in payloads]
        assert sender.send_batch(packets) == 100
        assert [receiver.recv(65536) for _ in payloads] == payloads
        assert sender.stats()["calls"] == 2
        assert sender.send_batch([]) == 0


@in_namespace
def test_a_packet_that_cannot_leave_is_counted_and_the_next_one_goes() -> None:
    receiver = local_socket(4)
    run("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "4001", "-j", "DROP")
    good = udp_packet(FOREIGN[4], 5000, LOCAL[4], 4000, b"good")
    with RawSender(4) as sender:
        packets = [
            udp_packet(FOREIGN[4], 5000, "192.0.2.1", 4000, b"no route"),
            good,
            udp_packet(FOREIGN[4], 5000, LOCAL[4], 4001, b"refused"),
            b"short",
            udp_packet(FOREIGN[6], 5000, LOCAL[6], 4000, b"other family"),
            good,
        ]
        assert sender.send_batch(packets) == 2
        assert receiver.recv(100) == receiver.recv(100) == b"good"
        stats = sender.stats()
        assert (stats["sent"], stats["unreachable"], stats["refused"], stats["malformed"]) == (2, 1, 1, 2)


@in_namespace
def test_a_packet_above_the_mtu_is_counted() -> None:
    local_socket(4)
    with RawSender(4, source=socket.inet_aton(LOCAL[4])) as sender:
        assert not sender.send(udp_packet(LOCAL[4], 5000, "10.77.0.9", 4000, bytes(2000)))
        assert sender.stats()["too_big"] == 1


@in_namespace
def test_a_bound_sender_is_routed_by_its_own_address() -> None:
    local_socket(4)
    run("ip", "route", "add", "192.0.2.0/24", "dev", "uplink", "table", "77")
    run("ip", "rule", "add", "from", LOCAL[4], "lookup", "77")
    packet = udp_packet(LOCAL[4], 5000, "192.0.2.1", 4000, b"x")
    with RawSender(4) as unbound, RawSender(4, source=socket.inet_aton(LOCAL[4])) as bound:
        assert not unbound.send(packet)
        assert bound.send(packet)


@in_namespace
def test_an_explicit_destination_overrides_the_header() -> None:
    receiver = local_socket(4)
    packet = udp_packet(FOREIGN[4], 5000, LOCAL[4], 4000, b"x")
    with RawSender(4) as sender:
        assert sender.send(packet, socket.inet_aton("127.0.0.1"))
        assert receiver.recv(10) == b"x"
        with pytest.raises(ValueError, match="4 octets"):
            sender.send(packet, bytes(16))


@in_namespace
def test_a_foreign_source_address_is_a_host_error() -> None:
    with pytest.raises(HostError, match=r"from 203\.0\.113\.9"):
        RawSender(4, source=socket.inet_aton(FOREIGN[4]))


@in_namespace
def test_a_closed_sender_sends_nothing() -> None:
    sender = RawSender(6)
    sender.close()
    sender.close()
    assert sender.fileno() == -1
    assert not sender.send(udp_packet(FOREIGN[6], 1, LOCAL[6], 2, b""))
    with pytest.raises(OSError, match="Bad file descriptor"):
        sender.send_batch([b""])
