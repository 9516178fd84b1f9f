"""Subjects: the names under which a control entry finds streams. They tell no secret."""

from django.utils.crypto import salted_hmac


def user_subject(pk: object) -> str:
    return f"user:{pk}"


def session_subject(session_key: str) -> str:
    digest = salted_hmac("carillon.session", session_key, algorithm="sha256")
    return f"session:{digest.hexdigest()[:32]}"


def topic_subject(topic: str) -> str:
    return f"topic:{topic}"
