"""Events as JSON-ready values, and verdicts that agree with the compiled header."""

import json
import re
from pathlib import Path

from mpcore.actions import Direction, VerdictKind
from mpcore.events import ConnectionFellBack, SubflowClosed, to_dict
from mpcore.shim6.events import PeerUpdated


def test_event_is_named_and_its_addresses_are_text() -> None:
    event = SubflowClosed(7, bytes([10, 0, 0, 1]), bytes(15) + b"\x01", 0, 1, False, "reset", 40000, 80)
    found = to_dict(event)
    assert found["event"] == "subflow-closed"
    assert (found["local"], found["remote"]) == ("10.0.0.1", "::1")
    assert json.loads(json.dumps(found)) == found
    assert to_dict(ConnectionFellBack(None, "excluded"))["event"] == "connection-fell-back"


def test_events_of_shim6_are_ready_for_json_too() -> None:
    found = to_dict(PeerUpdated(bytes(15) + b"\x01", bytes(15) + b"\x02", 0, (bytes(15) + b"\x03",)))
    assert found == {
        "event": "peer-updated",
        "ulid_local": "::1",
        "ulid_peer": "::2",
        "fii": 0,
        "locators": ["::3"],
    }


def test_verdicts_and_directions_agree_with_the_header() -> None:
    header = Path(__file__).parents[1] / "mpcore" / "store" / "packet.pxd"
    found = {name: int(value) for name, value in re.findall(r"^    (\w+) = (\d+)", header.read_text(), re.M)}
    assert {f"VERDICT_{kind.name}": kind.value for kind in VerdictKind}.items() <= found.items()
    assert {direction.name: direction.value for direction in Direction}.items() <= found.items()
