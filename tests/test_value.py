"""Values compare, hash and match by their fields, and are cheap to make."""

import dataclasses

import pytest

from mpcore.value import value


@value
class Point:
    x: int
    y: int = 0


@value(kw_only=True)
class Named:
    name: str


def test_equal_fields_make_equal_values() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(1, 3)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_a_changed_copy_leaves_the_value_alone() -> None:
    point = Point(1, 2)
    assert dataclasses.replace(point, y=5) == Point(1, 5)
    assert point == Point(1, 2)


def test_values_match_by_position() -> None:
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)


def test_fields_by_name_only() -> None:
    assert Named(name="a").name == "a"
    with pytest.raises(TypeError):
        Named("a")  # type: ignore[misc]


def test_values_have_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 1  # type: ignore[attr-defined]
