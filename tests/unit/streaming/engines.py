"""Template engines for the tests, whose templates are in a dictionary."""

from typing import Any

from django.http import HttpRequest

SOURCES: dict[str, str] = {}
NAME = "corpus.html"


def engine(name: str, **options: Any) -> dict[str, Any]:
    return {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "NAME": name,
        "OPTIONS": {
            "loaders": [("django.template.loaders.locmem.Loader", SOURCES)],
            "libraries": {"corpus": "tests.harness.template_values"},
            "builtins": ["tests.harness.template_values"],
            "context_processors": [
                "django.template.context_processors.request",
                f"{__name__}.user_name",
            ],
            **options,
        },
    }


ENGINES = [
    engine("plain"),
    engine("debug", debug=True),
    engine("marked", string_if_invalid="!%s!"),
    engine("raw", autoescape=False),
]


def user_name(request: HttpRequest) -> dict[str, Any]:
    return {"text": "overridden", "user_name": request.GET.get("user_name", "anonymous")}
