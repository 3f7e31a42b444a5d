"""One status document of several endpoints."""

from mpcore.snapshot import merge


def test_documents_of_two_endpoints_become_one() -> None:
    """A path that both name is told by the first, which knows more of it."""
    transport = {
        "connections": [{"token": "1"}],
        "contexts": [],
        "paths": [{"local": "10.0.0.1", "backup": True}, {"local": "::1", "backup": True}],
        "counters": {"MPTcpExtMPCapableSYNTX": 1},
    }
    network = {
        "connections": [],
        "contexts": [{"tag_local": "2"}],
        "paths": [{"local": "::1", "backup": False}, {"local": "::2", "backup": False}],
        "counters": {"Shim6ExtI1TX": 2},
    }
    merged = merge(transport, network)
    assert merged["connections"] == [{"token": "1"}]
    assert merged["contexts"] == [{"tag_local": "2"}]
    assert {path["local"]: path["backup"] for path in merged["paths"]} == {
        "10.0.0.1": True,
        "::1": True,
        "::2": False,
    }
    assert merged["counters"] == {"MPTcpExtMPCapableSYNTX": 1, "Shim6ExtI1TX": 2}
