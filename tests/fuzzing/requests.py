"""Hypothesis strategies for requests: valid, nearly valid and invalid ones."""

import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from notifications.log.cursors import Cursor, make_position
from tests.fuzzing.exchange import Headers, Request
from tests.harness.servers import PUBLISH_KEY

JSON, NDJSON = "application/json", "application/x-ndjson"
FORM, PARTS = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
KEY = f"Bearer {PUBLISH_KEY}"
DEEP = "[" * 100_000
HUGE = "9" * 5_000

METHODS = st.sampled_from(
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "get", "X-Y"]
)
PATHS = st.sampled_from(
    [
        *(b"/", b"/events/", b"/events", b"/publish/", b"/publish", b"/openapi.json", b"/metrics"),
        *(b"/events/history.csv", b"/events/history.ndjson", b"/events/history.json"),
        *(b"/health/live", b"/health/ready", b"/health/publish", b"/health/outbox"),
        *(b"/examples/", b"/examples/live/", b"/nowhere", b"//events/", b"/events/%00"),
        *(b"/events/%FF", b"/%ED%A0%80", b"/events%2F", b"/events/../publish/", b"*", b""),
        b"/" + b"a" * 9_000,
    ]
)
RAW_PATHS = st.binary(max_size=30).map(lambda raw: b"/" + quote(raw, safe="/%;").encode())

TOKENS = [
    *(
        "",
        "a",
        "demo.a",
        "demo.",
        "user.1",
        "+",
        "%",
        "%%",
        "%zz",
        "%00",
        "%ed%a0%80",
        "%F0%9F%94%94",
    ),
    *(
        "all",
        "earliest",
        "10m",
        "999999999d",
        "0s",
        "-1s",
        "NaN",
        "Infinity",
        "1e999",
        HUGE,
        "-" + HUGE,
    ),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "2026-02-30", "2026-W54-9"),
    *(
        "0000-00-00",
        "10000-01-01",
        "20261301",
        "24:00",
        "T",
        "2026-11-23T00:00:60",
        "２０２６-11-23",
    ),
    *("1.aaaaaaaa.1-0", "1.aaaaaaaa.99999999999999999999-0", f"1.aaaaaaaa.{HUGE}-{HUGE}", "1..-"),
    str(Cursor("0123456789ab", make_position(2**40, 3))),
    *("a:b", ":" * 2_000, ".eJw:" + "A" * 43, "eyJhbGciOiJub25lIn0.e30.", "eyJ" + "." * 500),
    "crl_aaaaaaaa_" + "a" * 43,
]
NAMES = [
    *("topic", "since", "lastEventId", "lastEventID", "last_event_id", "envelope", "limit"),
    *("link", "token", "access_token", "id", "data", "", "topic[]", "x"),
]
TEXT = st.text(max_size=20) | st.sampled_from(TOKENS)


def _quoted(text: str) -> str:
    return quote(text.encode(errors="surrogatepass"), safe="%+")


PAIRS = st.tuples(st.sampled_from(NAMES), TEXT).map(lambda pair: f"{pair[0]}={_quoted(pair[1])}")
QUERIES = (
    st.lists(PAIRS, max_size=5).map(lambda pairs: "&".join(pairs).encode())
    | st.just(b"topic=demo.a")
    # Some servers let any bytes through.
    | st.binary(max_size=30)
    | st.sampled_from([b"&" * 3_000, b"topic=a&" * 1_500, b"topic=" + b"%FF" * 50, b"topic=\xff"])
)

LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
HEADERS: dict[str, list[str]] = {
    "host": ["testserver", "localhost", "", "a b", "testserver:99999", "evil.example", "[::1", "ü"],
    "accept": ["*/*", "text/event-stream;q=0", ";q=nan", "a/b;q=" + HUGE, "text/html", ",,,", "/"],
    "accept-language": ["de", "*", "x-" * 300, ";q=1e9"],
    "accept-encoding": ["gzip", "br;q=x"],
    "authorization": [KEY, "Bearer", "Bearer ", "Basic YTpi", "Bearer \xe9", "Digest " + "x" * 500],
    "content-type": [
        *(JSON, NDJSON, FORM, PARTS, "x", "", "text/plain", "multipart/form-data", "a/b; charset"),
        *(
            f"{JSON}; charset=utf-16",
            f"{FORM}; charset=rot13",
            f"{FORM}; charset=\x80",
            FORM + ";;=",
        ),
        *("multipart/form-data; boundary=" + "b" * 500, "multipart/form-data; boundary=\xff"),
        "multipart/form-data; boundary*=utf-8''%FF",
    ],
    "content-length": ["0", "5", "-1", "", "x", "²", "1, 1", HUGE, " 7 ", "+1", "1_0"],
    "cookie": [
        *(
            "sessionid=bad",
            'sessionid="\\000aaaaaaaaaaa"',
            "=;=",
            "csrftoken=\xff",
            "messages=[[1]]",
        ),
        "sessionid=" + "a" * 4_000,
    ],
    "idempotency-key": ["", "k", "k" * 256, "\xff" * 255, "\\000"],
    "last-event-id": [*TOKENS],
    "if-none-match": ["*", '"', "W/"],
    "if-modified-since": ["Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 99 Foo 0000", "x" * 500],
    "origin": ["null", "http://testserver", "http://[", "http://evil.example:99999", "\xff"],
    "referer": ["http://[", "", "x"],
    "prefer": ["respond-async", "wait=" + HUGE],
    "range": ["bytes=0-", "bytes=x"],
    "x-forwarded-for": [
        "1.2.3.4",
        "1.2.3.4:5",
        "[::1]:x",
        "%",
        "," * 500,
        "::ffff:1.2.3.4%eth0",
        "٣",
    ],
    "x-forwarded-proto": ["https", ","],
    "x-request-id": ["a", "x" * 65, "\xff", "a b"],
    "x-csrftoken": ["x", "\xff" * 32],
    "x_underscored": ["1"],
    "expect": ["100-continue"],
    "transfer-encoding": ["chunked"],
}
VALID_HEADERS: Headers = [(b"host", b"testserver"), (b"authorization", KEY.encode())]


def _header(name: str) -> st.SearchStrategy[tuple[bytes, bytes]]:
    values = st.sampled_from(HEADERS[name]) | LATIN
    encoded = values.map(lambda value: value.encode("latin1", errors="replace"))
    return st.tuples(st.just(name.encode()), encoded)


HEADER = st.sampled_from(sorted(HEADERS)).flatmap(_header)
HEADER_LISTS = st.lists(HEADER, max_size=6)

SCALARS: Any = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=10)  # lone surrogates, too
    | st.sampled_from([*TOKENS, 2**70, -(2**70)])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)
EVENTS = st.fixed_dictionaries(
    {"topic": TEXT | st.lists(TEXT, max_size=3) | st.just("demo.a") | VALUES, "data": VALUES},
    optional={
        "type": st.just("x") | TEXT | VALUES,
        "id": TEXT | VALUES,
        "retry": st.integers() | VALUES,
        "idempotency_key": TEXT | VALUES,
        "more": VALUES,
    },
)
LITERALS = [
    *(DEEP, '{"topic":"demo.a","data":' + DEEP + "]" * len(DEEP) + "}", '{"a":' * 5_000),
    *('{"topic":"demo.a","data":' + HUGE + "}", '{"topic":"demo.a","data":1e999}'),
    *('{"topic":"demo.a","retry":' + HUGE + ',"data":1}', '{"topic":"demo.a","data":NaN}'),
    *('{"topic":"demo.a","data":"\\ud800"}', '{"topic":"\\udfff","data":1}', '{"\\ud800":1}'),
    *('{"topic":"demo.a","id":"\\ud800","data":1}', '{"topic":"demo.a","type":"\\ud800","data":1}'),
    *(
        '{"topic":"demo.a","idempotency_key":"\\ud800","data":1}',
        '{"topic":"demo.a","data":"\\u0000"}',
    ),
    *('{"topic":"a","topic":"demo.b","data":1,"data":2}', '{"topic":"demo.a","data":-0.0}'),
    *('"', "", " ", "null", "[]", "[[]]", "[null]", "\ufeff{}", '{"topic":"demo.a","data":"\t"}'),
    *(
        "topic=demo.a&data=b",
        "topic=demo.a&data=%FF",
        "topic=%ED%A0%80&data=",
        "&=&=;",
        "data=" + "&" * 2_000,
    ),
    "&".join(f"x{number}=1" for number in range(1_100)),
]
PART = 'Content-Disposition: form-data; name="{}"{}\r\n\r\n{}'
PART_LISTS = st.lists(
    st.builds(
        PART.format,
        st.sampled_from(NAMES) | LATIN,
        st.sampled_from(
            [
                "",
                '; filename="x"',
                "; filename*=utf-8''%FF",
                "\r\nContent-Transfer-Encoding: base64",
            ]
        ),
        TEXT,
    ),
    max_size=4,
)
MULTIPART = PART_LISTS.map(lambda parts: "--b\r\n" + "\r\n--b\r\n".join(parts) + "\r\n--b--\r\n")
DUMPED = (EVENTS | st.lists(EVENTS, max_size=3) | VALUES).map(json.dumps)
LINES = st.lists(EVENTS.map(json.dumps) | st.sampled_from(LITERALS[5:]), max_size=4).map("\n".join)
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=8)), max_size=5).map(urlencode)
BODIES = st.binary(max_size=60) | (
    (st.sampled_from(LITERALS) | DUMPED | LINES | FIELDS | MULTIPART).map(
        lambda text: text.encode(errors="surrogatepass")
    )
)


@st.composite
def bodies_with_headers(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """A body in one or two chunks, with its true length, and a content type that may be wrong."""
    body = draw(BODIES)
    cut = draw(st.integers(0, len(body)) | st.none())
    content_type = draw(st.sampled_from([JSON, JSON, NDJSON, FORM, PARTS]))
    headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
    return ([body] if cut is None else [body[:cut], body[cut:]]), headers


PUBLICATIONS = st.builds(
    lambda body, more, query: Request(
        "POST", b"/publish/" + query, [*VALID_HEADERS, *body[1], *more], body[0]
    ),
    bodies_with_headers(),
    st.lists(HEADER.filter(lambda pair: pair[0] not in (b"host", b"authorization")), max_size=1),
    st.just(b"") | QUERIES.map(lambda query: b"?" + query),
)
READS = st.builds(
    lambda method, path, query, more: Request(
        method, path + b"?" + query, [*VALID_HEADERS[:1], *more]
    ),
    st.sampled_from(["GET", "GET", "HEAD", "OPTIONS"]),
    st.sampled_from(
        [b"/events/", b"/events/history.csv", b"/events/history.ndjson", b"/events/history.json"]
    ),
    st.lists(PAIRS, max_size=3).map(lambda pairs: "&".join(["topic=demo.a", *pairs]).encode())
    | QUERIES,
    HEADER_LISTS,
)
ANYTHING = st.builds(
    lambda method, path, query, headers, body: Request(
        method, path + b"?" + query, headers, body[0]
    ),
    METHODS,
    PATHS | RAW_PATHS,
    QUERIES,
    HEADER_LISTS | HEADER_LISTS.map(lambda more: [*VALID_HEADERS, *more]),
    bodies_with_headers(),
)
