"""Interfaces for tests in a namespace of their own: pairs whose other end plays the network."""

from tests.host.namespace import run


def add_uplink(number: int, *, addresses: bool = True, gateway: bool = False) -> str:
    """Bring up `up<number>` with 10.<number>.0.2/24 and 2001:db8:<number>::2/64; return its name."""
    name = f"up{number}"
    run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far{number}")
    for end in (name, f"far{number}"):
        run("ip", "link", "set", end, "up")
    if addresses:
        run("ip", "addr", "add", f"10.{number}.0.2/24", "dev", name)
        run("ip", "addr", "add", f"2001:db8:{number}::2/64", "dev", name, "nodad")
    if gateway:
        metric = ("metric", str(100 + number))
        run("ip", "route", "add", "default", "via", f"10.{number}.0.1", *metric)
        run("ip", "-6", "route", "add", "default", "via", f"2001:db8:{number}::1", *metric)
    return name
