"""envoy.config.metrics.v3.StatsConfig made runnable: which stats exist, their tags, their histogram bounds."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from proxy.stats.histogram import DEFAULT_BOUNDS
from proxy.stats.tags import DEFAULT_RULES, Rule, Tag, TagExtractor, first_word_of

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.stats.store import Store

# What Python's re does not know of ECMAScript: classes by name, within brackets.
_POSIX_CLASS: Final = r"\[:(\w+):\]"
_POSIX: Final = {
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "alpha": "a-zA-Z",
    "alnum": "0-9a-zA-Z",
    "xdigit": "0-9a-fA-F",
    "space": r"\s",
    "w": r"\w",
}

Accepts = Callable[[str], bool]


def compile_stats_config(reader: Reader | None, store: Store, fixed_tags: tuple[Tag, ...] = ()) -> None:
    """Set the store up from bootstrap.stats_config; call it before the first stat is made.

    fixed_tags: those of --stats-tag. Findings are collected by the reader.
    """
    if reader is None:
        store.tags = TagExtractor(DEFAULT_RULES, fixed_tags)
        return
    store.tags = _compile_tags(reader, fixed_tags)
    matcher = reader.sub("stats_matcher")
    if matcher is not None:
        store.matcher = _compile_stats_matcher(matcher)
    settings = [_compile_bounds(item) for item in reader.each("histogram_bucket_settings")]
    if settings:
        store.bounds_for = _BoundsFor(settings)


def _compile_tags(reader: Reader, fixed_tags: tuple[Tag, ...]) -> TagExtractor:
    all_defaults = bool(reader.wrapped("use_all_default_tags", True))
    rules = list(DEFAULT_RULES) if all_defaults else []
    fixed = list(fixed_tags)
    for specifier in reader.each("stats_tags"):
        name = specifier.text("tag_name")
        kind = specifier.which("tag_value")
        if not name:
            specifier.fail("tag_name", "cannot be empty")
        elif any(tag.name == name for tag in fixed):
            specifier.fail("tag_name", f"tag name '{name}' specified twice")
        elif kind == "fixed_value":
            fixed.append(Tag(name, specifier.text("fixed_value")))
        elif kind == "regex" and specifier.text("regex"):
            rules.extend(_compile_rule(specifier, name))
        else:
            known = [rule for rule in DEFAULT_RULES if rule.tag == name]
            if not known:
                specifier.fail(
                    "", f"no regex specified for tag specifier and no default regex for name: '{name}'"
                )
            if not all_defaults:
                rules.extend(known)
    return TagExtractor(tuple(rules), tuple(fixed))


def _compile_rule(specifier: Reader, name: str) -> list[Rule]:
    regex = specifier.text("regex")
    pattern = _compile_tag_regex(specifier, regex)
    if pattern is None:
        return []
    if not pattern.groups:
        specifier.warn("regex", "has no group around what is to be cut out of the stat name: it finds no tag")
        return []
    return [Rule(name, pattern, first_word_of(regex))]


def _compile_tag_regex(reader: Reader, regex: str) -> Any:
    """As ``_compile_regex``. Envoy reads the regex of a tag as ECMAScript, where RE2 lacks something (Istio's bootstrap
    looks ahead with "(?="): Python's re has it. It sees stat names only, which come from the configuration."""
    if "(?=" not in regex and "(?!" not in regex:
        return _compile_regex(reader, regex)
    try:
        return re.compile(re.sub(_POSIX_CLASS, lambda match: _POSIX.get(match[1], match[0]), regex))
    except re.error as error:
        reader.fail("regex", f"is no regular expression: {error}")
        return None


def _compile_regex(reader: Reader, regex: str) -> Any:
    """A re2 pattern, or None after a finding at field "regex"."""
    import re2  # type: ignore[import-untyped]  # only configurations with a regex pay for the import

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        reader.fail("regex", f"invalid re2 regex: {text}")
        return None


def _compile_stats_matcher(reader: Reader) -> Accepts | None:
    kind = reader.which("stats_matcher")
    if kind == "reject_all":
        return _accept_nothing if reader.flag("reject_all") else None
    keep_matching = kind == "inclusion_list"
    patterns = reader.sub("inclusion_list") if keep_matching else reader.sub("exclusion_list")
    if patterns is None:
        reader.fail("", "one of reject_all, exclusion_list, inclusion_list must be set")
        return None
    matchers = tuple(_compile_string_matcher(item) for item in patterns.each("patterns"))
    return _Matcher(matchers, keep_matching)


def _accept_nothing(name: str) -> bool:
    return False


class _Matcher:
    """inclusion_list keeps what matches, exclusion_list drops it."""

    __slots__ = ("keep_matching", "matchers")

    def __init__(self, matchers: tuple[Accepts, ...], keep_matching: bool) -> None:
        self.matchers = matchers
        self.keep_matching = keep_matching

    def __call__(self, name: str) -> bool:
        return any(matches(name) for matches in self.matchers) is self.keep_matching


class _BoundsFor:
    """The bounds of the first setting whose match fits; Envoy's defaults otherwise."""

    __slots__ = ("settings",)

    def __init__(self, settings: list[tuple[Accepts, tuple[float, ...]]]) -> None:
        self.settings = settings

    def __call__(self, name: str) -> tuple[float, ...]:
        return next((bounds for matches, bounds in self.settings if matches(name)), DEFAULT_BOUNDS)


def _compile_bounds(reader: Reader) -> tuple[Accepts, tuple[float, ...]]:
    match = reader.sub("match")
    bounds: list[float] = []
    for bound in reader.values("buckets"):
        at = bisect_left(bounds, float(bound))
        if not bound > 0:
            reader.fail("buckets", "value must be greater than 0")
        elif at < len(bounds) and bounds[at] == bound:
            reader.fail("buckets", "repeated value must contain unique items")
        else:
            bounds.insert(at, float(bound))
    if match is None:
        reader.fail("match", "value is required")
        return _accept_nothing, ()
    return _compile_string_matcher(match), tuple(bounds)


def _compile_string_matcher(reader: Reader) -> Accepts:
    """envoy.type.matcher.v3.StringMatcher over stat names."""
    kind = reader.which("match_pattern") or ""
    if kind == "safe_regex":
        regex = reader.sub("safe_regex")
        pattern = _compile_matcher_regex(regex) if regex is not None else None
        return _RegexMatcher(pattern) if pattern is not None else _accept_nothing
    ignore_case = reader.flag("ignore_case")
    if kind == "exact":
        return _TextMatcher(str.__eq__, reader.text("exact"), ignore_case)
    if kind == "prefix":
        return _TextMatcher(str.startswith, reader.text("prefix"), ignore_case)
    if kind == "suffix":
        return _TextMatcher(str.endswith, reader.text("suffix"), ignore_case)
    if kind == "contains":
        return _TextMatcher(str.__contains__, reader.text("contains"), ignore_case)
    if not kind:
        reader.fail("", "one of exact, prefix, suffix, contains or safe_regex is required")
    reader.unsupported("custom", "is not supported for stat names")
    return _accept_nothing


def _compile_matcher_regex(reader: Reader) -> Any:
    """envoy.type.matcher.v3.RegexMatcher: a re2 pattern within the bound of google_re2 (deprecated), or None."""
    pattern = _compile_regex(reader, reader.text("regex"))
    engine = reader.sub("google_re2")
    limit = engine.wrapped("max_program_size", None) if engine is not None else None
    size = _program_size(reader.text("regex")) if pattern is not None and limit is not None else 0
    if limit is not None and size > limit:
        message = f"the regex has an RE2 program size of {size}, more than the {limit} allowed"
        reader.fail("google_re2.max_program_size", message)
        return None
    return pattern


def _program_size(regex: str) -> int:
    """As Envoy counts: over bytes, not characters."""
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    size: int = re2.compile(regex.encode(), options).programsize
    return size


class _TextMatcher:
    __slots__ = ("ignore_case", "test", "text")

    def __init__(self, test: Callable[[str, str], bool], text: str, ignore_case: bool) -> None:
        self.test = test
        self.ignore_case = ignore_case
        self.text = text.lower() if ignore_case else text

    def __call__(self, name: str) -> bool:
        return self.test(name.lower() if self.ignore_case else name, self.text)


class _RegexMatcher:
    __slots__ = ("pattern",)

    def __init__(self, pattern: Any) -> None:
        self.pattern = pattern

    def __call__(self, name: str) -> bool:
        return self.pattern.fullmatch(name) is not None
