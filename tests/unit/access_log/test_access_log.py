from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.access_log.access_log import compile_access_logs
from proxy.api.reader import Reader, unread
from proxy.base.stream_info import StreamInfo
from proxy.http.context import FactoryContext

Read = Callable[[str, dict[str, Any]], Reader]
LOG = "envoy.config.accesslog.v3.AccessLog"
FILE = {"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/x"}
OTHER = {"@type": "type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog"}


def test_filtered_and_unfiltered(read: Read, context: FactoryContext, stream: StreamInfo) -> None:
    flagged = {"name": "a", "filter": {"response_flag_filter": {}}, "typed_config": FILE}
    readers = [read(LOG, flagged), read(LOG, {"name": "b", "typed_config": FILE})]
    some, every = compile_access_logs(readers, context)
    for access_log in (some, every):
        access_log.log(stream)
    stream.flags = 1
    for access_log in (some, every):
        access_log.log(stream)
    assert [len(access_log.logger.streams) for access_log in (some, every)] == [1, 2]  # type: ignore[attr-defined]
    assert not any(reader.errors.findings or unread(reader) for reader in readers)


def test_unknown_loggers_are_refused_and_the_others_stand(read: Read, context: FactoryContext) -> None:
    readers = [read(LOG, {"typed_config": OTHER}), read(LOG, {"typed_config": FILE})]
    assert len(compile_access_logs(readers, context)) == 1
    (finding,) = readers[0].errors.findings
    assert finding.kind == "unsupported" and "WasmAccessLog" in finding.message


def test_a_logger_must_be_given(read: Read, context: FactoryContext) -> None:
    reader = read(LOG, {"name": "a"})
    assert compile_access_logs([reader], context) == ()
    assert [finding.path for finding in reader.errors.findings] == ["x.typed_config"]
