"""Questions to all processes, from any thread of any process that reaches the log."""

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from notifications.conf import get_settings
from notifications.hub.reports import Question
from notifications.log.factory import open_sync_log

ANSWER_SECONDS = 0.7
"""How long a question waits for processes that do not answer. Others take a few milliseconds."""
PAUSE_SECONDS = 0.02
ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Answers:
    """`reports`: of the processes that answered. `silent`: the last ones of the others."""

    reports: list[dict[str, Any]]
    silent: list[dict[str, Any]]


def ask(subject: str = "", *, seconds: float = ANSWER_SECONDS) -> Answers:
    """What all processes report now, and which streams of this subject they know.

    Blocks the thread, for `seconds` if a process does not answer. Raises `Unavailable`.
    """
    log = open_sync_log(get_settings())
    question = Question(secrets.token_hex(ID_BYTES), subject)
    log.append_control(question.control())
    deadline = time.monotonic() + seconds
    while True:
        reports: list[dict[str, Any]] = sorted(
            map(json.loads, log.reports()), key=lambda report: str(report["process"])
        )
        answers = Answers([], [])
        for report in reports:
            is_answer = report["answers"] == question.id
            (answers.reports if is_answer else answers.silent).append(report)
        if (reports and not answers.silent) or time.monotonic() > deadline:
            return answers
        time.sleep(PAUSE_SECONDS)
