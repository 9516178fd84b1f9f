"""Security headers of every page: only files of this site run, and no site may frame it."""

from django.http.response import HttpResponseBase

# Inline scripts and files of other sites are blocked, so the content of an event is only text.
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
    """Set the headers here, because Django has a middleware for this policy only since 6.0."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response
