"""Where a retry goes rather not, and how long a host asked to be left alone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from proxy.api.reader import unread
from proxy.base.headers import ResponseHeaders
from proxy.router.retry_hosts import RateLimitedBackOff, ResetHeader, has_labels, is_canary, was_tried
from proxy.router.retry_policy import RetryPolicy, compile_retry_policy
from proxy.upstream.host import Host, HostConfig
from tests.unit.router.tables import ROUTES, Config, reader_of

TYPES = "type.googleapis.com/envoy.extensions.retry.host."


def host(**labels: Any) -> Host:
    return Host(cast(Any, None), "127.0.0.1", 80, HostConfig(metadata={"envoy.lb": labels} if labels else {}))


def policy_of(*predicates: Config, **more: Any) -> RetryPolicy:
    config = {"retry_on": "5xx", "retry_host_predicate": list(predicates), **more}
    reader = reader_of(f"{ROUTES}.RetryPolicy", config)
    policy = compile_retry_policy(reader)
    assert not reader.errors.findings and not unread(reader)
    return policy


def predicate(kind: str, **config: Any) -> Config:
    return {"name": "any", "typed_config": {"@type": TYPES + kind, **config}}


def test_previous_hosts():
    one, other = host(), host()
    assert was_tried(one, [one]) and not was_tried(other, [one])


def test_canary_hosts():
    assert is_canary(host(canary=True), [])
    assert not is_canary(host(canary=False), []) and not is_canary(host(), [])


@pytest.mark.parametrize(
    ("labels", "found", "rejected"),
    [
        ({"v": 1}, {"v": 1, "w": 2}, True),
        ({"v": 1}, {"v": 2}, False),
        ({"v": 1}, {}, False),
        ({"v": 1, "w": 2}, {"v": 1}, False),
        ({}, {"v": 1}, False),
        ({}, {}, False),
    ],
)
def test_host_metadata(labels, found, rejected):
    assert has_labels(labels)(host(**found), []) is rejected


def test_predicates_compile():
    policy = policy_of(
        predicate("previous_hosts.v3.PreviousHostsPredicate"),
        predicate("omit_canary_hosts.v3.OmitCanaryHostsPredicate"),
        predicate(
            "omit_host_metadata.v3.OmitHostMetadataConfig",
            metadata_match={"filter_metadata": {"envoy.lb": {"v": "1"}}},
        ),
        host_selection_retry_max_attempts=4,
    )
    assert policy.host_predicates[:2] == (was_tried, is_canary) and policy.host_attempts == 4
    assert policy.host_predicates[2](host(v="1"), []) and not policy.host_predicates[2](host(v="2"), [])
    assert policy_of().host_attempts == 1


def test_a_predicate_without_its_type_is_refused():
    reader = reader_of(f"{ROUTES}.RetryPolicy", {"retry_host_predicate": [{"name": "previous_hosts"}]})
    compile_retry_policy(reader)
    assert [finding.path for finding in reader.errors.findings] == ["retry_host_predicate[0].typed_config"]


BACK_OFF = RateLimitedBackOff((ResetHeader(b"retry-after", False), ResetHeader(b"x-at", True)), 300.0)


@pytest.mark.parametrize(
    ("fields", "interval_s"),
    [
        ([], None),
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"0")], None),
        ([(b"retry-after", b"-7")], None),
        ([(b"retry-after", b"Wed, 21 Oct")], None),
        ([(b"retry-after", b"301")], None),
        ([(b"retry-after", b"301"), (b"x-at", b"1012")], 12.0),
        ([(b"x-at", b"999")], None),
        ([(b"x-at", b"9999")], None),
    ],
)
def test_reset_headers(fields, interval_s):
    assert BACK_OFF.interval_s(ResponseHeaders(503, fields), 1000.5) == interval_s
