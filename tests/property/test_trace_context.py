"""The trace header: what was written is read, and nothing that anybody writes makes a record fail."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from alphapulse.tracing import HEADER, TraceContext, context_of, kept
from tests.fixtures.examples import examples

CONTEXTS = st.builds(
    TraceContext, st.integers(min_value=1, max_value=2**128 - 1), st.integers(min_value=1, max_value=2**64 - 1)
)
PIECES = st.sampled_from([b"-", b"0", b"00", b"ff", b"01", b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"])
VALUES = st.one_of(st.none(), st.binary(), st.lists(PIECES, max_size=12).map(b"".join))
HEADERS = st.lists(st.tuples(st.one_of(st.just(HEADER), st.text(max_size=12)), VALUES), max_size=4)


@given(CONTEXTS, HEADERS.map(lambda headers: [(name, value) for name, value in headers if name != HEADER]))
def test_what_is_written_is_read(context: TraceContext, others: list[tuple[str, bytes | None]]) -> None:
    assert context_of([*others, *context.headers, *others]) == context


@given(HEADERS)
@example([(HEADER, b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")])
@settings(max_examples=examples(300))
def test_any_header_is_a_context_or_none(headers: list[tuple[str, bytes | None]]) -> None:
    context = context_of(headers)
    assert kept(headers) == (None if context is None else context.headers)
    if context is not None:
        assert 0 < context.trace_id < 2**128
        assert 0 < context.span_id < 2**64
        assert context_of(context.headers) == context
