"""The bootstraps that Istio's agent writes: read whole, and what is not supported in them is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.base.errors import ConfigError
from proxy.server.main import validate
from proxy.server.options import Options

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "istio" / "bootstrap"
FILES = sorted(FOLDER.glob("*_golden.json"))

pytestmark = pytest.mark.skipif(not FILES, reason="needs ../shared/fixtures/istio (other projects' files)")

EVERYWHERE = {f"dynamic_resources.{field}" for field in ("ads_config", "cds_config.ads", "lds_config.ads")}
CONTEXT = "static_resources.clusters[4].transport_socket.typed_config.common_tls_context"
#: what one file has more than the others
MORE = {
    "tracing_tls_golden.json": {
        f"{CONTEXT}.combined_validation_context.validation_context_sds_secret_config.sds_config.api_config_source"
    },
}


def findings(path: Path) -> list[ConfigError]:
    return validate(Options(config_path=str(path))).errors.findings


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix("_golden.json"))
def test_everything_is_read_and_what_is_unsupported_is_named(path: Path) -> None:
    found = findings(path)
    assert {one.kind for one in found} == {"unsupported"}
    lines = path.read_text().splitlines()
    for one in found:
        assert one.file == str(path)
        assert one.line is not None and one.column is not None
        last = one.path.rpartition(".")[2].partition("[")[0]
        text = lines[one.line - 1][one.column - 1 :]
        assert text.startswith((f'"{last}"', "{")), (one, text)
    paths = [one.path for one in found]
    assert len(set(paths)) == len(paths), "each is named once"
    assert set(paths) == EVERYWHERE | MORE.get(path.name, set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix("_golden.json"))
def test_warnings_name_their_line_as_well(path: Path) -> None:
    warnings = validate(Options(config_path=str(path))).errors.warnings
    assert warnings
    assert all(one.kind == "warning" and one.line is not None for one in warnings)
