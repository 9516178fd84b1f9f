"""Trace context of events (W3C Trace Context), and the spans of publishing and of the fan-out.

OpenTelemetry is optional and never imported here: an application that has set it up has imported
its API. Without the API, or without a tracer provider, there are no spans.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, Protocol

MAX_LINKS = 128
"""The number of links that OpenTelemetry's SDK keeps of a span, unless it is told otherwise."""
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.ASCII,
)
_KNOWN_FLAGS = 0b11  # sampled, and random (Level 2)


class Traced(Protocol):
    """A draft: `trace` is a `traceparent`, or empty."""

    trace: str


def parse_traceparent(header: str) -> str:
    """The value of the header `traceparent` in version 00; an empty text if it is malformed.

    A later version may have more fields, which are dropped (W3C Trace Context §3.2.4).
    """
    match = _TRACEPARENT.fullmatch(header.strip(" \t"))
    if match is None or (match[1] == "00" and match[5] is not None):
        return ""
    return f"00-{match[2]}-{match[3]}-{int(match[4], 16) & _KNOWN_FLAGS:02x}"


def publication_span(drafts: Sequence[Traced], topic: str) -> AbstractContextManager[object]:
    """One producer span for all drafts of a call, which carry its `traceparent` into the log.

    Without a span they carry the trace that they have.
    """
    api = sys.modules.get("opentelemetry.trace")
    if api is None or not drafts or _traces_nothing(api):
        return nullcontext()
    return _publication_span(api, drafts, topic)


def _traces_nothing(api: Any) -> bool:
    """Whether only the API is installed, as by redis-py, and no trace is under way either."""
    is_set_up = not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider)
    return not is_set_up and not api.get_current_span().get_span_context().is_valid


@contextmanager
def _publication_span(api: Any, drafts: Sequence[Traced], topic: str) -> Iterator[None]:
    attributes = {
        "messaging.system": "carillon",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.batch.message_count": len(drafts),
    }
    parent = None
    if not api.get_current_span().get_span_context().is_valid and drafts[0].trace:
        span = api.NonRecordingSpan(_span_context(api, drafts[0].trace))
        parent = api.set_span_in_context(span)
    with api.get_tracer("carillon").start_as_current_span(
        "carillon publish", context=parent, kind=api.SpanKind.PRODUCER, attributes=attributes
    ) as span:
        context = span.get_span_context()
        if context.is_valid:
            flags = int(context.trace_flags) & _KNOWN_FLAGS
            trace = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
            for draft in drafts:
                draft.trace = trace
        yield


def delivery_span(traces: Iterable[bytes]) -> AbstractContextManager[object]:
    """One consumer span for the fan-out of a batch, with a link to each publication in it.

    No span if no event of the batch has a trace.
    """
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return nullcontext()
    distinct = dict.fromkeys(trace for trace in traces if trace)
    if not distinct:
        return nullcontext()
    links = [api.Link(_span_context(api, each.decode())) for each in islice(distinct, MAX_LINKS)]
    attributes = {"messaging.system": "carillon", "messaging.operation.type": "process"}
    span: AbstractContextManager[object] = api.get_tracer("carillon").start_as_current_span(
        "carillon deliver", kind=api.SpanKind.CONSUMER, links=links, attributes=attributes
    )
    return span


def _span_context(api: Any, trace: str) -> Any:
    _, trace_id, span_id, flags = trace.split("-")
    return api.SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=api.TraceFlags(int(flags, 16)),
    )
