"""What a pod says of its sidecar, and which word counts."""

from __future__ import annotations

import pytest

from proxy.sidecar.settings import BadSettings, Settings, gather, parse_downward

LABELS = 'app="shop"\napp.kubernetes.io/name="cart"\nversion="v2"\n'


def test_labels_name_the_service_and_the_downward_environment_the_pod():
    found = gather({}, {"POD_NAME": "cart-7", "POD_NAMESPACE": "prod"}, "", LABELS)
    assert (found.service, found.version, found.namespace, found.pod) == ("cart", "v2", "prod", "cart-7")
    assert gather({}, {}) == Settings()


def test_flags_before_environment_before_annotations_before_labels():
    noted = 'sidecar.outrider/service="noted"\nsidecar.outrider/sampling="1.5"\nsidecar.outrider/drain-time="7s"\n'
    environ = {"OUTRIDER_SIDECAR_SERVICE": "set", "OUTRIDER_SIDECAR_ACCESS_LOG": "true"}
    assert gather({}, {}, noted, LABELS).service == "noted"
    found = gather({}, environ, noted, LABELS)
    assert (found.service, found.sampling, found.drain_time_s, found.access_log) == ("set", 1.5, 7.0, True)
    assert gather({"service": "flag"}, environ, noted, LABELS).service == "flag"


@pytest.mark.parametrize(
    ("flags", "annotations", "problem"),
    [
        ({"inbound_port": 0}, "", "inbound_port 0 is not a port"),
        ({"inbound_port": 15001}, "", "port 15001 cannot be of inbound_port and outbound_port"),
        ({"sampling": 101.0}, "", "sampling 101 is not a percentage"),
        ({"sampling": float("nan")}, "", "sampling nan is not a percentage"),
        ({"zipkin": "z:9411"}, "", "zipkin: 'z:9411' is not a URL"),
        ({"otlp": "https://o"}, "", "otlp: 'https://o' is not a URL"),
        ({"otlp": "http://o:x"}, "", "is not a URL"),
        ({"otlp": "http://o", "zipkin": "http://z"}, "", "one collector"),
        ({"tls_cert": "a"}, "", "tls_cert, tls_key and tls_ca go together"),
        ({"tls_strict": True}, "", "tls_ranges and tls_strict need tls_cert"),
        ({"tls_ranges": "10.0.0.0/8,x"}, "", "tls_ranges: 'x' is not a network"),
        ({"tcp_ports": "25,smtp"}, "", "tcp_ports: 'smtp' is not a port"),
        ({"retries": -1}, "", "retries -1 is not possible"),
        (
            {},
            'sidecar.outrider/retries="two"',
            "annotation sidecar.outrider/retries: 'two' is not a whole number",
        ),
        ({}, 'sidecar.outrider/ipv6="1"', "is not true or false"),
        ({}, 'sidecar.outrider/retry="2"', "annotation sidecar.outrider/retry is not known"),
    ],
)
def test_what_is_wrong_is_said(flags, annotations, problem):
    with pytest.raises(BadSettings) as found:
        gather(flags, {}, annotations)
    assert any(problem in each for each in found.value.problems)


def test_the_downward_api_escapes_like_go():
    text = 'a="x\\"y\\\\z\\n"\nb=unquoted\nc=""\nd="\\u00e9\\U0001F600 é"\nsidecar.outrider/inject="true"\n'
    assert parse_downward(text) == {"a": 'x"y\\z\n', "c": "", "d": "é😀 é", "sidecar.outrider/inject": "true"}
    assert gather({}, {}, 'sidecar.outrider/inject="true"') == Settings()


def test_istios_variable_for_the_end():
    assert gather({}, {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true"}).exit_on_zero
    assert not gather({}, {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "false"}).exit_on_zero


def test_listening_while_draining_is_a_part_of_the_drain_time():
    assert gather({"drain_time_s": 4.0}, {}).drain_listen_s == 3.0
    assert gather({"drain_time_s": 40.0}, {}).drain_listen_s == 5.0
    assert gather({"drain_time_s": 4.0, "drain_listen_s": 4.0}, {}).drain_listen_s == 4.0
