"""The HTTP/2 engine: our own binding over libnghttp2 where it was built, else the package ngh2.

Both have the same names and do the same; what differs stands at the top of nghttp2.pyx. Interpreted, because which one
there is shows at run time.

UNUSABLE: why ours, which was built, is not used; "" where it is, or was not built
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ngh2 import (
        Configuration,
        Connection,
        ConnectionClosed,
        DataReceived,
        GoAwayReceived,
        InformationalResponseReceived,
        NGH2Error,
        PingAcknowledged,
        RequestReceived,
        ResponseReceived,
        Role,
        SettingsReceived,
        StreamClosed,
        StreamReset,
        StreamUnavailableError,
        TrailersReceived,
    )

    IS_OUR_OWN: Final[bool] = True
    UNUSABLE: Final[str] = ""
else:
    UNUSABLE = ""
    try:
        import proxy.codec.nghttp2 as _engine
    except ModuleNotFoundError:  # not built
        import ngh2 as _engine
    except ImportError as error:
        import ngh2 as _engine

        UNUSABLE = str(error)
    IS_OUR_OWN = _engine.__name__ != "ngh2"
    Configuration = _engine.Configuration
    Connection = _engine.Connection
    ConnectionClosed = _engine.ConnectionClosed
    DataReceived = _engine.DataReceived
    GoAwayReceived = _engine.GoAwayReceived
    InformationalResponseReceived = _engine.InformationalResponseReceived
    NGH2Error = _engine.NGH2Error
    PingAcknowledged = _engine.PingAcknowledged
    RequestReceived = _engine.RequestReceived
    ResponseReceived = _engine.ResponseReceived
    Role = _engine.Role
    SettingsReceived = _engine.SettingsReceived
    StreamClosed = _engine.StreamClosed
    StreamReset = _engine.StreamReset
    StreamUnavailableError = _engine.StreamUnavailableError
    TrailersReceived = _engine.TrailersReceived

__all__ = [
    "IS_OUR_OWN",
    "UNUSABLE",
    "Configuration",
    "Connection",
    "ConnectionClosed",
    "DataReceived",
    "GoAwayReceived",
    "InformationalResponseReceived",
    "NGH2Error",
    "PingAcknowledged",
    "RequestReceived",
    "ResponseReceived",
    "Role",
    "SettingsReceived",
    "StreamClosed",
    "StreamReset",
    "StreamUnavailableError",
    "TrailersReceived",
]
