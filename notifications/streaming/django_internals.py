"""Private and undocumented attributes of Django that streaming and the checks need, and why."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, cast

from django.db.models import QuerySet
from django.db.models.query import ModelIterable, NamedValuesListIterable, ValuesIterable
from django.http import StreamingHttpResponse
from django.template.base import Node, Template, Variable
from django.template.context import Context
from django.template.engine import Engine


def non_atomic_databases(view: Any) -> Collection[str]:
    """The aliases for which `transaction.non_atomic_requests` has decorated a view.

    `BaseHandler.make_view_atomic` reads the same attribute.
    """
    aliases: Collection[str] = getattr(view, "_non_atomic_requests", ())
    return aliases


def content_of(response: StreamingHttpResponse) -> Any:
    """The iterator as the view or a middleware has set it.

    `streaming_content` wraps it in `map`, so that a source could be neither closed nor recognised.
    """
    return vars(response)["_iterator"]


def closers_of(response: StreamingHttpResponse) -> list[Callable[[], object]]:
    """What `response.close()` calls: WSGI servers call it also when the client has vanished."""
    closers: list[Callable[[], object]] = vars(response)["_resource_closers"]
    return closers


@dataclass(frozen=True, slots=True)
class QueryShape:
    """What was called on a QuerySet, as far as it matters for reading it page by page."""

    is_sliced: bool
    is_combined: bool
    """By `union()` and the like, or `distinct()` with fields."""
    order: tuple[str, ...]
    """The arguments of `order_by()`; an expression is its text."""
    fields: tuple[str, ...]
    """The arguments of `values()` or `values_list()`."""
    has_named_fields: bool
    """Whether the fields of a row have names.

    They do in model instances, `values()`, and `values_list(named=True)`. Only the class that makes
    the rows shows whether `values_list()` was called without names.
    """


def query_shape(queryset: QuerySet[Any, Any]) -> QueryShape:
    """`QuerySet.query` is not documented, and no method tells these apart."""
    query = queryset.query
    row_kind = queryset._iterable_class  # noqa: SLF001
    return QueryShape(
        is_sliced=query.is_sliced,
        is_combined=bool(query.combinator or query.distinct_fields),
        order=tuple(map(str, query.order_by)),
        fields=tuple(query.values_select),
        has_named_fields=row_kind in (ModelIterable, ValuesIterable, NamedValuesListIterable),
    )


class LookupVariable(Variable):
    """A `Variable` whose lookup a subclass may replace.

    `Variable.resolve` calls `_resolve_lookup` for everything that is no literal. No documented hook
    is between an attribute's value and its use.
    """

    __slots__ = ()

    def _resolve_lookup(self, context: Any) -> Any:
        return self.look_up(context)

    def look_up(self, context: Any) -> Any:
        return super()._resolve_lookup(context)  # type: ignore[misc]


def replace_rendering(node: Node, render: Callable[[Context], str]) -> None:
    """Have a node list call `render` for this node.

    A node list calls `render_annotated` of each node, which adds the template's line to an error,
    and only then `render`. Replacing it in the instance leaves the node's class as it is, which
    other tags compare with.
    """
    node.render_annotated = render  # type: ignore[method-assign, assignment]


def render_annotated(node: Node, context: Context) -> str:
    """The node's text by its own class, whatever `replace_rendering` has set."""
    return cast(str, type(node).render_annotated(node, context))


def share_state(engine: Engine, original: Engine) -> None:
    """Give an engine everything that another one has, its loaders and their caches included.

    `Engine.__init__` would make new loaders, which read and compile every template once more.
    """
    assert original.template_loaders is not None  # a cached property: it is there from now on
    vars(engine).update(vars(original))


def partial_name(template: Template) -> str | None:
    """`page.html#part` if the template is a partial (since Django 6.0), else None.

    A `PartialTemplate` is no `Template` and has no source of its own.
    """
    if type(template).__name__ != "PartialTemplate":
        return None
    return f"{template.origin.template_name!s}#{template.name}"
