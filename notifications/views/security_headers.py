"""What browsers are told of every page: run only files of this site, and let nobody frame it."""

from django.http.response import HttpResponseBase

# Nothing inline and nothing from elsewhere: whatever an event contains, it can only be text.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def protect[Response: HttpResponseBase](response: Response) -> Response:
    """By ourselves: Django has a middleware for this policy only since 6.0."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response
