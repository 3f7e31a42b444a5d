"""`[shim6]` of the configuration: what it means to the control core, and what is refused."""

from ipaddress import IPv6Network

import pytest

from mpcore.config import ExcludeRule, ForkRule, Shim6Config, load_config
from mpcore.errors import ConfigError
from mpcore.shim6.configured import form_prefixes_of, forming_of, heuristic_of, policy_of, settings_of
from mpcore.shim6.forming import FormSettings, Kind
from mpcore.shim6.heuristic import FlowKey, Heuristic
from mpcore.shim6.policy import PairPolicy
from mpcore.shim6.prefixes import parse_prefix
from mpcore.shim6.settings import SECOND, Shim6Settings


class EveryPacket(Heuristic):
    pass


class AnyOrder(PairPolicy):
    pass


def configured(*overrides: str) -> Shim6Config:
    return load_config(None, [f"shim6.{text}" for text in overrides]).shim6


def test_shim6_is_off_unless_asked_for() -> None:
    assert not Shim6Config().enabled


def test_the_defaults_are_those_of_the_rfcs() -> None:
    assert settings_of(Shim6Config()) == Shim6Settings()


def test_values_reach_the_settings() -> None:
    settings = settings_of(
        configured(
            "send_timeout_s=3",
            "probe_burst=4",
            "initial_probe_timeout_s=0.25",
            "no_answer_holddown_s=7",
            "max_contexts=9",
            "respond=false",
        )
    )
    assert settings.send_timeout_ns == 3 * SECOND
    assert settings.probe_burst == 4
    assert settings.initial_probe_timeout_ns == SECOND // 4
    assert settings.no_r1_holddown_ns == 7 * SECOND
    assert settings.max_contexts == 9
    assert not settings.respond


def test_the_heuristic_gets_its_thresholds_and_rules() -> None:
    def application_of(key: FlowKey) -> str:
        return "ssh"

    heuristic = heuristic_of(
        configured(
            "min_bytes=1",
            "min_age_s=2.5",
            "exclude_ports=[9]",
            'exclude=["2001:db8::/32"]',
            "always=[22]",
            'applications={ssh="never"}',
        ),
        application_of,
    )
    assert (heuristic.min_bytes, heuristic.min_age_ns) == (1, 5 * SECOND // 2)
    assert heuristic.excluded_ports == {9}
    assert heuristic.excluded == (ExcludeRule.parse("2001:db8::/32"),)
    assert heuristic.always == (ExcludeRule(port=22),)
    assert heuristic.applications == {"ssh": "never"}
    assert heuristic.application_of is application_of


def test_classes_of_others_are_taken_by_their_place() -> None:
    assert type(heuristic_of(configured(f"heuristic={__name__}:EveryPacket"))) is EveryPacket
    assert type(policy_of(configured(f"policy={__name__}:AnyOrder"))) is AnyOrder


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("no.such.module:Class", "cannot be loaded: No module named"),
        (f"{__name__}:NoSuchClass", "cannot be loaded: module"),
        (f"{__name__}:AnyOrder", "is no subclass of mpcore.shim6.heuristic.Heuristic"),
        (f"{__name__}:configured", "is no subclass of mpcore.shim6.heuristic.Heuristic"),
    ],
)
def test_a_place_without_such_a_class_is_refused(place: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        heuristic_of(configured(f"heuristic={place}"))
    assert str(caught.value).startswith(f"shim6.heuristic: {place} {problem}")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("enabled=3", "shim6.enabled: Expected `bool`, got `int`"),
        ("send_timeout_s=0.5", "shim6.send_timeout_s: Expected `float` >= 1"),
        ("probe_burst=0", "shim6.probe_burst: Expected `int` >= 1"),
        ("policy=PairPolicy", "shim6.policy: Expected `str` matching regex"),
        ('applications={ssh="maybe"}', "shim6.applications: Invalid enum value 'maybe'"),
        ("exclude=[1.5]", "shim6.exclude: Expected a string"),
        ("initial_probe_timeout_s=61", "shim6: initial_probe_timeout_s is above max_probe_timeout_s"),
        ("forks=[{fii=1}]", "shim6.forks: a fork needs dscp, mark or both"),
        ("forks=[{fii=0, dscp=1}]", "shim6.forks.fii: Expected `int` >= 1"),
        ("forks=[{fii=1, dscp=64}]", "shim6.forks.dscp: Expected `int` <= 63"),
        ("forks=[{fii=1, mark=1}]", "shim6.forks: a mark needs a mark_mask"),
        ("forks=[{fii=1, mark=3, mark_mask=1}]", "shim6.forks: a mark needs a mark_mask"),
        ("forks=[{fii=1, dscp=1, mark_mask=1}]", "shim6.forks: mark_mask without mark"),
        ("forks=[{fii=1, dscp=1}, {fii=1, dscp=2}]", "shim6: two forks have the same fii"),
        ("forks=[{fii=1, dscp=1, local_prefixes=[3]}]", "shim6.forks.local_prefixes: Expected a string"),
        ("forks=[{fii=1, dscp=1, peer_prefixes=['a']}]", "shim6.forks.peer_prefixes: 'a' is no IPv6 prefix"),
        ("forks=[{fii=1, dcsp=1}]", "shim6.forks.dcsp: unknown key; did you mean dscp?"),
        ("sendtimeout=3", "shim6.sendtimeout: unknown key; did you mean send_timeout_s?"),
    ],
)
def test_an_illegal_value_is_refused_with_its_key(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(override)
    assert str(caught.value).startswith(f"--set shim6.{override}: {expected}")


def test_forks_are_told_by_dscp_and_mark() -> None:
    (first, second) = settings_of(
        configured(
            'forks=[{fii=1, dscp=46, local_prefixes=["2001:db8:2::/48"]}, {fii=2, mark=0x10, mark_mask=0xff}]'
        )
    ).forks
    assert first == ForkRule(fii=1, dscp=46, local_prefixes=(IPv6Network("2001:db8:2::/48"),))
    assert (second.fii, second.dscp, second.mark, second.mark_mask) == (2, None, 0x10, 0xFF)


def test_a_fork_may_not_be_told_by_bits_that_mpcore_sets() -> None:
    with pytest.raises(ConfigError, match="mark_mask of fii 1 has a bit of routing's marks"):
        configured("forks=[{fii=1, mark=0, mark_mask=0xffffffff}]")


def test_addresses_are_formed_only_when_asked_for() -> None:
    assert forming_of(Shim6Config()) is None
    settings = forming_of(
        configured("form=hba+cga", "form_sec=1", "form_settle_s=0.5", "form_max_prefixes=3")
    )
    assert settings == FormSettings(kind=Kind.BOTH, sec=1, settle_ns=SECOND // 2, limit=3)
    assert form_prefixes_of(configured('form_prefixes=["2001:db8:1::/64@eth0"]')) == [
        (parse_prefix("2001:db8:1::/64"), "eth0")
    ]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ('form_prefixes=["fe80::/64@eth0"]', "no prefix of global"),
        ('form_prefixes=["2001:db8:1:2:3::/64@eth0"]', "no IPv6 prefix"),
        ('form_prefixes=["2001:db8:1::/64@a", "2001:db8:1::/64@b"]', "twice"),
    ],
)
def test_prefixes_that_cannot_be_formed_in_are_refused(value: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        form_prefixes_of(configured(value))


@pytest.mark.parametrize("value", ["form=on", "form_sec=3", 'form_prefixes=["2001:db8::/48@eth0"]'])
def test_forms_that_there_are_not(value: str) -> None:
    with pytest.raises(ConfigError, match=f"shim6.{value.partition('=')[0]}"):
        configured(value)
