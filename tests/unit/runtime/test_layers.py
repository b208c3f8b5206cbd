"""Static, disk and admin layers."""

from __future__ import annotations

import pytest

from proxy.runtime.layers import (
    MAX_OVERRIDES,
    AdminLayer,
    DiskLayer,
    LayerError,
    StaticLayer,
    without_comments,
)


def test_maps_within_maps_are_keys_with_dots() -> None:
    values = {"a": {"b": {"c": 1}, "d": "x"}, "e.f": True, "share": {"numerator": 1}, "none": {}}
    entries = StaticLayer("s", values).entries()
    assert {key: entry.raw for key, entry in entries.items() if key not in ("share", "none")} == {
        "a.b.c": "1",
        "a.d": "x",
        "e.f": "true",
    }
    assert entries["share"].fraction == (1, 100)
    assert entries["none"].fraction == (0, 100)


def test_the_first_of_two_spellings_counts() -> None:
    assert StaticLayer("s", {"a.b": 1, "a": {"b": 2}}).entries()["a.b"].uint == 1


@pytest.mark.parametrize("value", [None, [1], {"b": None}, {"b": {"c": []}}])
def test_what_is_no_value_is_refused(value: object) -> None:
    with pytest.raises(LayerError, match="Invalid runtime entry value for a"):
        StaticLayer("s", {"a": value})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", "5"),
        ("# only a comment\n", ""),
        ("# c\n7\n\n", "7"),
        (" 8 \n", " 8"),
        ("l1\nl2\n", "l1\nl2"),
        ("7\n# c\n", "7\n"),
        ("7\n\n8\n", "7\n8"),
        ("x\n#y\nx\n", "xx"),
        ("a\r\n", "a"),
        ("", ""),
    ],
)
def test_comments_are_left_out_as_envoy_does(text: str, value: str) -> None:
    assert without_comments(text) == value


def test_a_disk_layer_reads_its_directory_each_time() -> None:
    files: dict[str, str] | None = {"a": "# c\n5\n", "b.c": "{numerator: 1}"}
    asked = []

    def read(path: str) -> dict[str, str] | None:
        asked.append(path)
        return files

    layer = DiskLayer("d", "/root", "/root/sub", read)
    entries = layer.entries()
    assert entries is not None
    assert (entries["a"].uint, entries["b.c"].fraction) == (5, (1, 100))
    files = {"a": "a: b: c"}
    with pytest.raises(LayerError, match=r"^a: .* at line 1, column 5$"):
        layer.entries()
    files = None
    assert layer.entries() is None
    assert asked == ["/root/sub"] * 3


@pytest.mark.parametrize(
    ("text", "uint"),
    [("100", 100), ("0x64", 100), ("0144", 100), ("+100", 100), (" 100 ", 100), ("50.9", 50), ("1e2", 100)]
    + [
        ('"100"', None),
        ("#100", None),
        ("~", None),
        ("[1]", None),
        ("true", None),
        ("1_00", None),
        ("-1", None),
    ],
)
def test_an_override_is_yaml(text: str, uint: int | None) -> None:
    layer = AdminLayer("a")
    layer.merge({"k": text})
    assert (layer.entries()["k"].raw, layer.entries()["k"].uint) == (text, uint)


def test_overrides_come_and_go() -> None:
    layer = AdminLayer("a")
    layer.merge({"a": "1", "b": "2"})
    before = layer.entries()
    layer.merge({"a": "", "c": "3", "never": ""})
    assert sorted(layer.entries()) == ["b", "c"]
    assert sorted(before) == ["a", "b"], "a snapshot keeps what it was made of"
    layer.merge({"b": "", "c": ""})
    assert not layer.is_active


def test_a_change_that_cannot_be_read_changes_nothing() -> None:
    layer = AdminLayer("a")
    layer.merge({"a": "1"})
    with pytest.raises(LayerError, match=r"^b: "):
        layer.merge({"a": "2", "b": "{"})
    assert layer.entries()["a"].uint == 1


def test_overrides_are_bounded() -> None:
    layer = AdminLayer("a")
    layer.merge({str(number): "1" for number in range(MAX_OVERRIDES)})
    with pytest.raises(LayerError, match="no more than"):
        layer.merge({"one more": "1"})
    layer.merge({"0": "", "one more": "1"})
