"""Topic patterns: what rules, keys and tokens are about.

Segments are parted by dots. `*` is any one segment and `{name}` one that is captured. A pattern
covers what is beneath it too: `orders.{pk}` covers `orders.42` and `orders.42.items`; with a dot at
the end it covers only what is beneath. `*` alone covers everything.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from notifications.errors import Invalid
from notifications.topics import topic as check_topic

MAX_PATTERNS = 100

_PIECE = re.compile(r"\{([a-z_][a-z0-9_]*)\}|(\*)|([^.{}*]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Raises `Invalid` for what is no pattern."""

    text: str
    _form: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_topic(self.text)
        beneath = self.text.endswith(".")
        names: set[str] = set()
        pieces = [self._piece(each, names) for each in self.text.removesuffix(".").split(".")]
        end = r"\..*" if beneath else r"(?:\..*)?"
        form = re.compile(r"\.".join(pieces) + end, re.DOTALL)
        object.__setattr__(self, "_form", form)

    def _piece(self, text: str, names: set[str]) -> str:
        piece = _PIECE.fullmatch(text)
        if piece is None:
            raise Invalid(
                f"The pattern {self.text!r} has the segment {text!r}: a segment is text, '*' or "
                "'{name}'.",
                field="pattern",
            )
        name, star, literal = piece.groups()
        if name is None:
            return r"[^.]*" if star else re.escape(literal)
        if name in names:
            raise Invalid(f"The pattern {self.text!r} has {{{name}}} twice.", field="pattern")
        names.add(name)
        return rf"(?P<{name}>[^.]+)"

    def match(self, topic: str) -> dict[str, str] | None:
        """What the pattern captures from a topic that it covers, None for any other."""
        found = self._form.fullmatch(topic)
        return None if found is None else found.groupdict()

    def covers(self, topic: str) -> bool:
        return self._form.fullmatch(topic) is not None

    def __str__(self) -> str:
        return self.text


def patterns(values: object) -> tuple[Pattern, ...]:
    """A list of texts as at most 100 patterns. Raises `Invalid`."""
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
        raise Invalid("Patterns are a list of texts.", field="pattern")
    if len(values) > MAX_PATTERNS:
        raise Invalid(
            f"At most {MAX_PATTERNS} patterns go together; these are {len(values)}.",
            field="pattern",
        )
    return tuple(_pattern(each) for each in values)


# Keys and tokens bring the same ones with every request, and each costs a regular expression.
_pattern = lru_cache(maxsize=4096)(Pattern)
