"""Errors by whose fault they are."""

from __future__ import annotations

from proxy.base import errors
from proxy.base.errors import ConfigError, ConfigRefused, ResetReason, ResponseFlag


def test_a_finding_names_its_place():
    assert str(ConfigError("a.b", "is wrong", "f.yaml", 3, 7)) == "f.yaml:3:7: a.b: is wrong"
    assert str(ConfigError("", "is wrong", "f.yaml", 3)) == "f.yaml:3: is wrong"
    assert str(ConfigError("a.b", "is wrong")) == "a.b: is wrong"


def test_a_refusal_lists_every_finding():
    findings = [ConfigError("a", "one"), ConfigError("b", "two")]
    refused = ConfigRefused(findings)
    assert str(refused) == "a: one\nb: two"
    assert refused.findings == findings


def test_every_flag_is_a_bit_of_its_own():
    bits = [value for name, value in vars(ResponseFlag).items() if name.isupper()]
    assert len(bits) == 31
    assert len({bit.bit_length() for bit in bits}) == 31
    assert all(bit & (bit - 1) == 0 for bit in bits)


def test_reset_reasons_say_envoys_words():
    reasons = [each for each in vars(errors).values() if isinstance(each, ResetReason)]
    downstream = [errors.DOWNSTREAM_REMOTE_RESET, errors.DOWNSTREAM_PROTOCOL_ERROR]
    upstream = [each for each in reasons if each not in downstream]
    assert len(upstream) == 13
    assert len({each.text for each in upstream}) == 12  # two kinds of overflow
    assert [each.flag for each in downstream] == [errors.ResponseFlag.DR, errors.ResponseFlag.DPE]
    assert repr(errors.OVERFLOW) == "ResetReason('overflow')"
