"""CompressorPerRoute: the filter on some routes only, or with another library there."""

from __future__ import annotations

from proxy.api.reader import Reader, reads
from proxy.http.compression import CompressorLibrary, compile_library
from proxy.http.context import FactoryContext
from proxy.http.filter import PerRouteConfig

V3 = "envoy.extensions.filters.http.compressor.v3"


class CompressorPerRoute(PerRouteConfig):
    """None: as the filter's own configuration says. enabled: responses are compressed; removes: accept-encoding does not
    go on; library: another one."""

    __slots__ = ("enabled", "library", "removes")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self.enabled: bool | None = None
        self.removes: bool | None = None
        self.library: CompressorLibrary | None = None
        if config.which("override") == "disabled":
            config.flag("disabled")
            self.enabled = False
            return
        overrides = config.sub("overrides")
        if overrides is not None:
            self._compile(overrides, context)

    @reads(f"{V3}.CompressorOverrides")
    def _compile(self, overrides: Reader, context: FactoryContext) -> None:
        library = overrides.sub("compressor_library")
        if library is not None:
            self.library = compile_library(library, context)
        direction = overrides.sub("response_direction_config")
        if direction is not None:
            self.enabled = True
            if direction.has("remove_accept_encoding_header"):
                self.removes = bool(direction.wrapped("remove_accept_encoding_header", False))
