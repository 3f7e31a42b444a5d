"""README.md says what is: keys of the configuration with their defaults, commands, options, exit statuses."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
import msgspec
import pytest

from mpcore.cli.main import COMMANDS, ExitCode, cli
from mpcore.config import Config, load_config
from tests.helpers.sources import ROOT

TEXT = (ROOT / "README.md").read_text()


def part(heading: str) -> str:
    """Return what stands below a heading, up to the next of the same rank or a higher one."""
    _, _, below = f"\n{TEXT}".partition(f"\n{heading}\n")
    assert below, f"README.md has no heading {heading!r}"
    rank = len(heading.split()[0])
    return re.split(rf"^#{{1,{rank}}} ", below, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the tables in `text`, without their heads."""
    for line in re.findall(r"^\| (?!---)(.*) \|$", text, re.MULTILINE):
        yield [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)]


def documented_defaults() -> dict[str, dict[str, object]]:
    """Return what the README says of each section, read as the configuration file would be."""
    sections = re.findall(r"^### `\[(\w+)\]`$", TEXT, re.MULTILINE)
    return {name: dict(defaults(part(f"### `[{name}]`"))) for name in sections}


def defaults(text: str) -> Iterator[tuple[str, object]]:
    for key, default, _ in list(rows(text))[1:]:
        yield key.strip("`"), tomllib.loads(f"value = {default.strip('`')}")["value"]


def test_every_key_is_documented_with_its_default() -> None:
    assert documented_defaults() == json.loads(msgspec.json.encode(Config()))


def test_keys_stand_in_the_order_of_the_code() -> None:
    documented = [(section, list(keys)) for section, keys in documented_defaults().items()]
    actual = [(section, list(keys)) for section, keys in msgspec.to_builtins(Config()).items()]
    assert documented == actual


def test_the_words_that_a_key_may_be_are_all_named() -> None:
    cells = {key.strip("`"): meaning for key, _, meaning in rows(part("## Configuration"))}
    for section in msgspec.structs.fields(Config):
        for field in msgspec.structs.fields(section.type):
            words = get_args(field.type) if get_origin(field.type) is Literal else ()
            assert [word for word in words if f"`{word}`" not in cells[field.name]] == []


def test_the_example_is_a_legal_file(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "mpcore.toml"
    file.write_text(example)
    assert load_config(file) != Config()


def test_every_exit_status_is_documented() -> None:
    documented = [int(status) for status, *_ in rows(part("## Commands")) if status.isdecimal()]
    assert documented == [int(code) for code in ExitCode]


def synopses() -> list[str]:
    cells = [cell for cell, *_ in rows(part("## Commands"))]
    return [synopsis for cell in cells for synopsis in re.findall(r"`mpcore ([^`]*)`", cell)]


def test_every_command_is_documented() -> None:
    assert {synopsis.split()[0] for synopsis in synopses()} == set(COMMANDS)


@pytest.mark.parametrize("synopsis", synopses())
def test_options_and_only_they_are_documented(synopsis: str) -> None:
    command: click.Command = cli
    for word in synopsis.split():
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"there is no command {word}"
        command = found
    long_or_only = [param.opts[:1] if "-j" in param.opts else param.opts[-1:] for param in command.params]
    options = {name for names in long_or_only for name in names if name.startswith("-")}
    assert set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9]*(?:-[a-z]+)*", synopsis)) == options
