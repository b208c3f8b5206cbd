"""String, header and path matchers, compiled once from Envoy's messages into plain callables on bytes.

    compile_regex(reader)           type.matcher.v3.RegexMatcher            -> bytes -> bool   (whole value)
    compile_string_matcher(reader)  type.matcher.v3.StringMatcher           -> bytes -> bool
    compile_path_matcher(reader)    type.matcher.v3.PathMatcher             -> bytes -> bool   (query cut off)
    compile_header_matcher(reader)  config.route.v3.HeaderMatcher           -> HeaderMap -> bool
    compile_rewrite(reader)         type.matcher.v3.RegexMatchAndSubstitute -> bytes -> bytes

A finding goes to the reader (``reader.fail``) and the function still returns a matcher that never matches, so that
every other finding is reported too. Regular expressions are RE2 on single bytes (Latin-1), as in Envoy; patterns that
are only a literal, or a literal followed by ``.*``, never reach RE2, which is imported when a real pattern is met.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from proxy.api.reader import Reader, reads
from proxy.base.headers import HeaderMap

BytesMatcher = Callable[[bytes], bool]
HeadersMatcher = Callable[[HeaderMap], bool]

_META = re.compile(rb"[\\.+*?()|\[\]{}^$]")
_ANY = b".*"
_QUERY_OR_FRAGMENT = re.compile(rb"[?#]")
# absl::SimpleAtoi: blanks around, one sign, digits.
_INTEGER = rb"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*"
_INT64 = 1 << 63


def never(value: object) -> bool:
    """Matches nothing: the stand-in for a matcher whose configuration was refused."""
    return False


class Pattern(NamedTuple):
    """A compiled expression: ``text`` as written and the RE2 object."""

    text: bytes
    regexp: Any


@reads("envoy.type.matcher.v3.RegexMatcher")
def compile_pattern(reader: Reader) -> Pattern | None:
    """type.matcher.v3.RegexMatcher as RE2; None (and a finding) when Envoy would refuse it."""
    text = reader.text("regex")
    limit = None
    engine = reader.sub("google_re2")
    if engine is not None and engine.has("max_program_size"):
        limit = engine.wrapped("max_program_size", 0)
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        regexp = re2.compile(text.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        reader.fail("regex", reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason))
        return None
    if limit is not None and regexp.programsize > limit:
        reader.fail(
            "google_re2.max_program_size",
            f"regex '{text}' has an RE2 program size of {regexp.programsize}, more than the {limit} allowed",
        )
        return None
    return Pattern(text.encode(), regexp)


@reads("envoy.type.matcher.v3.RegexMatcher")
def compile_regex(reader: Reader) -> BytesMatcher:
    """A whole-value match of a type.matcher.v3.RegexMatcher."""
    if not reader.has("google_re2"):
        literal = reader.text("regex").encode()
        if not _META.search(literal):
            return literal.__eq__
    pattern = compile_pattern(reader)
    if pattern is None:
        return never
    return fast_lane(pattern.text) or _full_match(pattern)


def fast_lane(text: bytes) -> BytesMatcher | None:
    """The plain bytes test that says exactly what RE2 would say of ``text``, or None when there is none."""
    if not _META.search(text):
        return text.__eq__
    stem = text[:-2]
    if not text.endswith(_ANY) or _META.search(stem):
        return None
    # "." is any byte but a line feed.
    return lambda value: value.startswith(stem) and b"\n" not in value[len(stem) :]


def literal_stem(text: bytes) -> bytes:
    """What every match of ``text`` begins with: a cheap test before RE2. b"" when that is not plain to see."""
    if b"|" in text:
        return b""
    text = text.removeprefix(b"^")
    found = _META.search(text)
    if found is None:
        return text
    # A quantifier may take the character before it away.
    return text[: max(found.start() - (found.group() in b"?*{"), 0)]


def _full_match(pattern: Pattern) -> BytesMatcher:
    whole = pattern.regexp.fullmatch
    stem = literal_stem(pattern.text)
    if stem:
        return lambda value: value.startswith(stem) and whole(value) is not None
    return lambda value: whole(value) is not None


@reads("envoy.type.matcher.v3.RegexMatchAndSubstitute")
def compile_rewrite(reader: Reader) -> Callable[[bytes], bytes]:
    """type.matcher.v3.RegexMatchAndSubstitute: every match of ``pattern`` replaced by ``substitution``."""
    inner = reader.sub("pattern")
    substitution = reader.text("substitution").encode()
    if inner is None:
        reader.fail("pattern", "value is required")
        return bytes
    pattern = compile_pattern(inner)
    if pattern is None:
        return bytes
    parts = _substitution_parts(reader, substitution)
    groups = pattern.regexp.groups
    if any(type(part) is int and part > groups for part in parts):
        reader.warn("substitution", "names a group that the pattern does not have: nothing is ever replaced")
        return bytes
    find = pattern.regexp.search
    return lambda value: _replace_all(find, parts, value)


def _replace_all(find: Callable[[bytes, int], Any], parts: list[bytes | int], value: bytes) -> bytes:
    """RE2::GlobalReplace: no empty match directly behind another match."""
    result: list[bytes] = []
    at = 0
    last_end = -1
    while at <= len(value):
        match = find(value, at)
        if match is None:
            break
        start, end = match.span()
        result.append(value[at:start])
        if start == end == last_end:
            # Passed over: one byte on, unreplaced.
            result.append(value[start : start + 1])
            at = start + 1
            continue
        result += (part if isinstance(part, bytes) else (match.group(part) or b"") for part in parts)
        at = last_end = end
    result.append(value[at:])
    return b"".join(result)


@reads("envoy.type.matcher.v3.RegexMatchAndSubstitute")
def _substitution_parts(reader: Reader, text: bytes) -> list[bytes | int]:
    """The pieces of an RE2 rewrite string: literal bytes and group numbers.

    As in RE2, a backslash before anything but a digit or a backslash ends the replacement there.
    """
    parts: list[bytes | int] = []
    at = 0
    while at < len(text):
        end = text.find(b"\\", at)
        if end < 0:
            parts.append(text[at:])
            break
        parts.append(text[at:end])
        follower = text[end + 1 : end + 2]
        if follower.isdigit():
            parts.append(int(follower))
        elif follower == b"\\":
            parts.append(follower)
        else:
            reader.warn(
                "substitution", "has a backslash before neither a digit nor a backslash: it is cut there"
            )
            break
        at = end + 2
    return parts


@reads("envoy.type.matcher.v3.StringMatcher")
def compile_string_matcher(reader: Reader) -> BytesMatcher:
    """type.matcher.v3.StringMatcher: exact, prefix, suffix, contains or safe_regex, with ignore_case."""
    kind = reader.which("match_pattern")
    ignore_case = reader.flag("ignore_case")
    if kind == "safe_regex":
        if ignore_case:
            reader.fail("ignore_case", "ignore_case has no effect for safe_regex")
            return never
        inner = reader.sub("safe_regex")
        return compile_regex(inner) if inner is not None else never
    for plain in ("exact", "prefix", "suffix", "contains"):
        if kind == plain:
            return plain_matcher(plain, reader.text(plain).encode(), ignore_case)
    if kind is None:
        reader.fail("", "one of exact, prefix, suffix, contains or safe_regex is required")
    reader.unsupported("custom")
    return never


def plain_matcher(kind: str, text: bytes, ignore_case: bool = False) -> BytesMatcher:
    """exact, prefix, suffix or contains; ``ignore_case`` folds ASCII letters only, as Envoy."""
    if ignore_case:
        text = text.lower()
        if kind == "exact":
            return lambda value: value.lower() == text
        if kind == "prefix":
            return lambda value: value.lower().startswith(text)
        if kind == "suffix":
            return lambda value: value.lower().endswith(text)
        return lambda value: text in value.lower()
    if kind == "exact":
        return text.__eq__
    if kind == "prefix":
        return lambda value: value.startswith(text)
    if kind == "suffix":
        return lambda value: value.endswith(text)
    return lambda value: text in value


def without_query(path: bytes) -> bytes:
    """``path`` up to its first ``?`` or ``#``."""
    if b"?" not in path and b"#" not in path:
        return path
    found = _QUERY_OR_FRAGMENT.search(path)
    return path if found is None else path[: found.start()]


@reads("envoy.type.matcher.v3.PathMatcher")
def compile_path_matcher(reader: Reader) -> BytesMatcher:
    """type.matcher.v3.PathMatcher: a string matcher on the path without query and fragment."""
    inner = reader.sub("path")
    if inner is None:
        reader.fail("path", "value is required")
        return never
    matches = compile_string_matcher(inner)
    return lambda path: matches(without_query(path))


def header_values(headers: HeaderMap, name: bytes) -> list[bytes]:
    """What a matcher sees under ``name``: every value, pseudo-headers too."""
    values = [value for key, value in headers.fields if key == name]
    if not values and (name[:1] == b":" or name == b"host"):
        pseudo = getattr(headers, "pseudo", None)
        found = pseudo(name) if pseudo is not None else None
        # An absent authority is b"" in RequestHeaders.
        return [found] if found else []
    return values


@reads("envoy.config.route.v3.HeaderMatcher")
def compile_header_matcher(reader: Reader) -> HeadersMatcher:
    """config.route.v3.HeaderMatcher, with its deprecated forms.

    A repeated header matches when one of its values does (seen in Envoy 1.40). A missing header never matches, not
    even inverted, unless treat_missing_header_as_empty; with no specifier the header must be present.
    """
    name = reader.text("name").lower().encode()
    invert = reader.flag("invert_match")
    when_missing = [b""] if reader.flag("treat_missing_header_as_empty") else []
    kind = reader.which("header_match_specifier")
    if kind is None or kind == "present_match":
        present = True if kind is None else reader.flag("present_match")
        return _presence_matcher(name, present != invert, bool(when_missing))
    matches = _value_matcher(reader, kind)

    def value_matches(headers: HeaderMap) -> bool:
        values = header_values(headers, name) or when_missing
        if not values:
            return False
        return any(map(matches, values)) is not invert

    return value_matches


def _presence_matcher(name: bytes, wanted: bool, missing_is_present: bool) -> HeadersMatcher:
    if missing_is_present:
        return lambda headers: wanted
    if name[:1] == b":" or name == b"host":
        return lambda headers: bool(header_values(headers, name)) is wanted
    return lambda headers: (name in headers) is wanted


@reads("envoy.config.route.v3.HeaderMatcher")
def _value_matcher(reader: Reader, kind: str) -> BytesMatcher:
    if kind == "string_match":
        inner = reader.sub("string_match")
        return compile_string_matcher(inner) if inner is not None else never
    if kind == "safe_regex_match":
        inner = reader.sub("safe_regex_match")
        return compile_regex(inner) if inner is not None else never
    if kind == "range_match":
        inner = reader.sub("range_match")
        return _range_matcher(inner) if inner is not None else never
    for field in ("exact_match", "prefix_match", "suffix_match", "contains_match"):
        if kind == field:
            return plain_matcher(field.removesuffix("_match"), reader.text(field).encode())
    return never


@reads("envoy.type.v3.Int64Range")
def _range_matcher(reader: Reader) -> BytesMatcher:
    """type.v3.Int64Range: start <= value < end."""
    start, end = reader.number("start"), reader.number("end")
    is_integer = re.compile(_INTEGER).fullmatch

    def in_range(value: bytes) -> bool:
        if is_integer(value) is None or len(value) > 64:
            return False
        number = int(value)
        return -_INT64 <= number < _INT64 and start <= number < end

    return in_range
