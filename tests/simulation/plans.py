"""Plans as text, which stay the same when the planner changes."""

import json
from pathlib import Path

from tests.simulation.plan import Plan, Step

FOUND = Path(__file__).parent / "found"
"""A file for each fault of the code that a simulation found."""


def dumps(plan: Plan) -> str:
    head = {
        "seed": plan.seed,
        "slowness": plan.slowness,
        "browsers": plan.browsers,
        "history_events": plan.history_events,
        "max_stream_age": plan.max_stream_age,
        "relays": plan.relays,
    }
    steps = ",\n  ".join(json.dumps([step.at, step.act, step.arguments]) for step in plan.steps)
    return f'{json.dumps(head)[:-1]},\n "steps": [\n  {steps}\n]}}\n'


def loads(text: str) -> Plan:
    value = json.loads(text)
    return Plan(
        seed=value["seed"],
        slowness=tuple(value["slowness"]),
        browsers=tuple((tuple(topics), user) for topics, user in value["browsers"]),
        history_events=value["history_events"],
        max_stream_age=value["max_stream_age"],
        relays=value.get("relays", 0),
        steps=tuple(
            Step(at, act, tuple(map(_frozen, arguments))) for at, act, arguments in value["steps"]
        ),
    )


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
