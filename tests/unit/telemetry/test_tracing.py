"""The trace context of events: what is accepted, and what reaches the readers of envelopes."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from notifications.telemetry.tracing import parse_traceparent, publication_span

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("header", "carried"),
    [
        (VALID, VALID),
        (f" {VALID}\t", VALID),
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        # Flags that no version knows are cleared, and a later version is carried as version 00.
        (f"00-{TRACE}-{PARENT}-ff", f"00-{TRACE}-{PARENT}-03"),
        (f"cc-{TRACE}-{PARENT}-01", VALID),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", VALID),
    ],
)
def test_a_valid_traceparent_is_carried(header: str, carried: str) -> None:
    assert parse_traceparent(header) == carried


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"{VALID}-more",
        f"{VALID},{VALID}",
        f"cc-{TRACE}-{PARENT}-01.what",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0x",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{'٤' * 32}-{PARENT}-01",
    ],
)
def test_a_malformed_traceparent_is_dropped(header: str) -> None:
    assert parse_traceparent(header) == ""


@pytest.mark.parametrize("carried", ["", VALID])
def test_without_a_tracer_provider_there_is_no_span(carried: str) -> None:
    pytest.importorskip("opentelemetry.trace")
    draft = SimpleNamespace(trace=carried)
    span = publication_span([draft], "news")
    assert isinstance(span, nullcontext)
    with span:
        assert draft.trace == carried


def test_a_trace_under_way_is_carried_without_a_tracer_provider() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(int(TRACE, 16), int(PARENT, 16), True, trace.TraceFlags(1))
    draft = SimpleNamespace(trace="")
    with (
        trace.use_span(trace.NonRecordingSpan(context)),
        publication_span([draft], "news"),
    ):
        assert draft.trace == VALID
