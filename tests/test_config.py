"""The configuration: defaults, every way to write a value, and for all else an error with its place."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.config import Config, ExcludeRule, MptcpConfig, load_config
from mpcore.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mpcore.toml"
    path.write_text(text)
    return path


def refusal(overrides: list[str], path: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_no_file_means_all_defaults() -> None:
    assert load_config(None) == Config()


def test_default_durations_in_nanoseconds() -> None:
    mptcp = Config().mptcp
    assert (mptcp.close_timeout_ns, mptcp.add_addr_timeout_ns) == (60_000_000_000, 1_000_000_000)


def test_marks_of_the_default_differ() -> None:
    routing = Config().routing
    assert routing.mark_seen & routing.mark_leave == 0


def test_file_values_reach_their_section(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[mptcp]\nscheduler = "round-robin"\nclose_timeout_s = 2.5\n'
        "[queue]\ngso = false\n[limits]\nmax_half_open = 7\n",
    )
    config = load_config(path)
    assert config.mptcp.scheduler == "round-robin"
    assert config.mptcp.close_timeout_ns == 2_500_000_000
    assert config.queue.gso is False
    assert config.limits.max_half_open == 7


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[mptcp]\nscheduler = "round-robin"\ncongestion = "reno"\n')
    config = load_config(path, ["mptcp.scheduler=lowest-rtt"])
    assert (config.mptcp.scheduler, config.mptcp.congestion) == ("lowest-rtt", "reno")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("control.path=/run/other.sock", "/run/other.sock"),
        ('control.path="/run/a b.sock"', "/run/a b.sock"),
        ("control.path = @abstract", "@abstract"),
    ],
)
def test_a_string_may_be_bare_or_quoted(override: str, value: str) -> None:
    assert load_config(None, [override]).control.path == value


def test_overrides_that_are_legal_only_together_are_accepted_in_any_order() -> None:
    pair = ["mptcp.join_port_max=2000", "mptcp.join_port_min=1000"]
    for overrides in (pair, pair[::-1]):
        assert load_config(None, overrides).mptcp.join_port_min == 1000


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("mptcp.path_manager", "fullmesh, backup, ndiffports, none"),
        ("mptcp.scheduler", "lowest-rtt, round-robin"),
        ("mptcp.congestion", "lia, reno, cubic"),
        ("mptcp.reorder", "runs, regular, tree, shortcuts, allshortcuts"),
        ("queue.backend", "netlink, netfilterqueue"),
        ("log.level", "debug, info, warning, error"),
    ],
)
def test_an_unknown_word_is_refused_with_the_known_ones(key: str, words: str) -> None:
    message = refusal([f"{key}=other"])
    assert f"--set {key}=other: {key}: " in message
    assert words in message
    assert load_config(None, [f"{key}={word}" for word in words.split(", ")])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("mptcp.enabled=3", "mptcp.enabled: Expected `bool`, got `int`"),
        ("mptcp.max_subflows=16", "mptcp.max_subflows: Expected `int` <= 15"),
        ("mptcp.max_subflows=many", "mptcp.max_subflows: Expected `int`, got `str`"),
        ("mptcp.close_timeout_s=0", "mptcp.close_timeout_s: Expected `float` >="),
        ("mptcp.close_timeout_s=inf", "mptcp.close_timeout_s: Expected `float` <="),
        ("mptcp.close_timeout_s=nan", "mptcp.close_timeout_s: Expected `float` >="),
        ("mptcp.join_port_max=0", "mptcp.join_port_max: Expected `int` >= 1"),
        ("mptcp.join_port_max=500", "mptcp: join_port_min 61000 is above join_port_max"),
        ("mptcp.exclude=22", "mptcp.exclude: Expected `array`, got `int`"),
        ("mptcp.exclude=[1.5]", "mptcp.exclude: Expected a string"),
        ("mptcp.exclude=[true]", "mptcp.exclude: Expected a string"),
        ("routing.mark_seen=0x20000000", "routing: mark_seen and mark_leave share a bit"),
        ("routing.mark_taken=0x30000000", "routing: mark_seen and mark_taken share a bit"),
        ("routing.table_base=254", "routing.table_base: Expected `int` >= 256"),
        ("queue.number=70000", "queue.number: Expected `int` <= 65535"),
        ("limits.max_connections=0", "limits.max_connections: Expected `int` >= 1"),
        ("limits.memory_bytes=1048576", "limits: memory_bytes is less"),
        ("control.path=" + "x" * 108, "control.path: Expected `str` of length <= 107"),
    ],
)
def test_an_illegal_value_is_refused_with_its_key(override: str, expected: str) -> None:
    message = refusal([override])
    assert message.startswith(f"--set {override}: ")
    assert expected in message


@pytest.mark.parametrize("override", ["scheduler", "mptcp.scheduler", "mptcp=3", "=3", ".x=3", "mptcp.=3"])
def test_an_override_of_another_form_is_refused_with_an_example(override: str) -> None:
    assert "expected SECTION.KEY=VALUE, like " in refusal([override])


def test_an_override_with_broken_toml_is_refused() -> None:
    assert "--set mptcp.exclude=[22: the value is no TOML" in refusal(["mptcp.exclude=[22"])


def test_an_override_holds_one_value() -> None:
    assert "expected one value" in refusal(["mptcp.checksum=true\nother = 3"])


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    assert "mptcp.schduler: unknown key; did you mean scheduler?" in refusal(["mptcp.schduler=reno"])


def test_an_unknown_key_like_no_other_is_refused_with_all() -> None:
    assert refusal(["log.zzz=1"]).endswith("log.zzz: unknown key; expected one of level")


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "[shimsix]\n")
    message = refusal([], path)
    assert message.startswith(f"{path}: shimsix: unknown key")


def test_an_error_of_the_file_is_not_blamed_on_an_override(tmp_path: Path) -> None:
    path = write(tmp_path, "[mptcp]\nmax_subflows = -1\n")
    assert refusal(["mptcp.checksum=true"], path).startswith(f"{path}: mptcp.max_subflows: ")


def test_an_absent_file_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert refusal([], path) == f"{path}: cannot be read: No such file or directory"


@pytest.mark.parametrize("content", [b"[mptcp\n", b'[log]\nlevel = "\xff"\n'])
def test_a_file_that_is_no_toml_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mpcore.toml"
    path.write_bytes(content)
    assert refusal([], path).startswith(f"{path}: not valid TOML: ")


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


@pytest.mark.parametrize(
    ("rule", "remote", "ports", "matches"),
    [
        ("22", "10.0.0.1", (40000, 22), True),
        ("22", "10.0.0.1", (22, 40000), True),
        ("22", "10.0.0.1", (40000, 2222), False),
        ("10.0.0.0/8", "10.255.0.1", (1, 2), True),
        ("10.0.0.0/8", "11.0.0.1", (1, 2), False),
        ("10.0.0.0/8", "2001:db8::1", (1, 2), False),
        ("10.0.0.1", "10.0.0.1", (1, 2), True),
        ("2001:db8::/32", "2001:db8:1::1", (1, 2), True),
        ("2001:db8::1", "2001:db8::2", (1, 2), False),
        ("10.0.0.1:22", "10.0.0.1", (40000, 22), True),
        ("10.0.0.1:22", "10.0.0.1", (22, 40000), False),
        ("10.0.0.1:22", "10.0.0.2", (40000, 22), False),
        ("[2001:db8::1]:443", "2001:db8::1", (40000, 443), True),
        ("[2001:db8::1]:443", "2001:db8::1", (40000, 80), False),
        ("[2001:db8::1]", "2001:db8::1", (40000, 80), True),
    ],
)
def test_an_exclude_rule_matches(rule: str, remote: str, ports: tuple[int, int], matches: bool) -> None:
    config = load_config(None, [f'mptcp.exclude=["{rule}"]']).mptcp
    assert config.excludes(packed(remote), *ports) is matches


@pytest.mark.parametrize(
    "rule",
    ["", "0", "65536", "10.0.0.0/33", "10.0.0.1/8", "example.org", "10.0.0.1:0", "[::1]:x", "[10.0.0", "²"],
)
def test_a_malformed_exclude_rule_is_refused_with_its_text(rule: str) -> None:
    message = refusal([f'mptcp.exclude=["{rule}"]'])
    assert f"mptcp.exclude: {rule!r} is no port, address, network or address:port" in message


def test_an_exclude_rule_may_be_a_bare_number() -> None:
    assert load_config(None, ["mptcp.exclude=[22]"]).mptcp.exclude == (ExcludeRule(port=22),)


def test_an_exclude_rule_needs_something_to_match() -> None:
    with pytest.raises(ValueError, match="needs a network or a port"):
        ExcludeRule()


@given(
    st.one_of(st.none(), st.ip_addresses()),
    st.one_of(st.none(), st.integers(1, 65535)),
)
def test_an_exclude_rule_survives_its_text(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int | None
) -> None:
    if address is None and port is None:
        return
    rule = ExcludeRule(None if address is None else ipaddress.ip_network(address), port)
    assert ExcludeRule.parse(str(rule)) == rule
    assert hash(ExcludeRule.parse(str(rule))) == hash(rule)


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_a_value_error(text: str) -> None:
    try:
        rule = ExcludeRule.parse(text)
    except ValueError:
        return
    assert ExcludeRule.parse(str(rule)) == rule


def test_the_configuration_is_immutable() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        MptcpConfig().checksum = True  # type: ignore[misc]
