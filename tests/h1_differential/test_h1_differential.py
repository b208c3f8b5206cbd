"""329 raw HTTP/1.1 cases through the real process, against what Envoy 1.40.0 made of them."""

from __future__ import annotations

import re

import pytest

from tests.h1_differential.lanes import FOLDER, Lanes, corpus
from tests.support.outrider import Outrider

#: Cases that must be refused although Envoy takes them, each with its reason.
STRICTER = set(re.findall(r"^\| `([A-Za-z0-9.-]+)`", (FOLDER / "STRICTER.md").read_text(), re.MULTILINE))


#: Cases whose outcome is another one, by profile, at most five of each: their reasons stand in STRICTER.md.
ALTERED = {"edge": frozenset({"trailer.transfer-encoding"})}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("profile", "over_tls"),
    [
        pytest.param("plain", False, id="plain"),
        pytest.param("plain", True, marks=pytest.mark.slow, id="tls"),
        pytest.param("edge", False, marks=pytest.mark.slow, id="edge"),
    ],
)
def test_no_case_is_broken_or_a_smuggling_risk(
    capsys: pytest.CaptureFixture[str], profile: str, over_tls: bool
) -> None:
    lanes = Lanes(Outrider, corpus(), over_tls=over_tls, profile=profile)
    counts = lanes.run()
    with capsys.disabled():
        print("\n" + lanes.summary())
    of = {name: {case for case, (verdict, _) in lanes.verdicts.items() if verdict == name} for name in counts}
    assert len(lanes.verdicts) == len(corpus())
    assert not of.get("broken"), "see above"
    assert not of.get("smuggling-risk"), "see above"
    assert not of.get("laxer"), "see above"
    altered = of.get("altered", set()) - ALTERED.get(profile, frozenset())
    if over_tls:
        altered = {
            case for case in altered if "x-forwarded-proto 'http' / 'https'" not in lanes.verdicts[case][1]
        }
    assert not altered, "see above"
    assert of.get("stricter", set()) <= STRICTER, "a refusal that STRICTER.md does not explain"


def test_every_choice_to_be_stricter_names_a_case() -> None:
    assert {case["id"] for case in corpus()} >= STRICTER
