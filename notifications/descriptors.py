"""How many descriptors this process may open. Each stream is one, and not every one is a stream."""

LEAST_SPARE = 64


def limit() -> int | None:
    """None where there is none, or nobody can tell."""
    try:
        import resource
    except ImportError:  # not Unix
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def for_streams() -> int | None:
    """What is left for streams, beside logs, databases, and requests that are under way."""
    most = limit()
    return None if most is None else max(1, most - max(LEAST_SPARE, most // 20))
