"""The files for operators: alert rules, which promtool checks, and units, which systemd checks."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.servers import ROOT, binary

RULES = ROOT / "docs" / "alerts.yml"
DEADLINE_SECONDS = 60.0
UNITS = [
    (name, unit)
    for page in ("run.md", "outbox.md")
    for name, unit in re.findall(
        r"```ini\n# /etc/systemd/system/([\w-]+\.service)[^\n]*\n(.*?)```",
        (ROOT / "docs" / page).read_text(),
        re.DOTALL,
    )
]
ALERTS = {
    # An alert, the series that raise it, and the series that do not.
    "CarillonDown": ('up{job="carillon"}', "0x20", "1x20"),
    "CarillonTailLags": ("carillon_tail_lag_seconds", "31x20", "0x20"),
    "CarillonLogLost": ('carillon_stream_resets_total{reason="log_lost"}', "0+1x20", "5x20"),
    "CarillonPublishingFails": ('carillon_problems_total{code="unavailable"}', "0+1x20", "5x20"),
    "CarillonOutboxWaits": ('carillon_outbox_age_seconds{database="default"}', "61x20", "5x20"),
    "CarillonStreamsAreRefused": (
        *('carillon_streams_refused_total{reason="too_many_streams"}', "0+1x20", "5x20"),
    ),
}
OTHER_SERIES = {
    "carillon_window_span_seconds": "3600x20",
    "carillon_window_events": "10x20",
    "carillon_streams": "10x20",
    "carillon_streams_limit": "100x20",
}


def promtool(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [binary("promtool"), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def alert_test(series: dict[str, str], *, alert: str, raised: bool) -> dict[str, object]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                "eval_time": "15m",
                "exp_samples": [{"labels": "{}", "value": int(raised)}],
            }
        ],
    }


def test_promtool_accepts_the_rules_and_each_alert_is_raised_by_its_fault_alone(
    tmp_path: Path,
) -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES), folder=tmp_path)
    short = {**OTHER_SERIES, "carillon_window_span_seconds": "30x20"}
    full = {**OTHER_SERIES, "carillon_streams": "81x20"}
    tests = [
        alert_test({**OTHER_SERIES, name: values}, alert=alert, raised=raised)
        for alert, (name, faulty, sound) in ALERTS.items()
        for values, raised in ((faulty, True), (sound, False))
    ]
    for alert, series in (
        ("CarillonHistoryIsShort", short),
        ("CarillonStreamsNearTheirLimit", full),
    ):
        tests.append(alert_test(series, alert=alert, raised=True))
        tests.append(alert_test(OTHER_SERIES, alert=alert, raised=False))
    # JSON is YAML.
    file = tmp_path / "alerts_test.json"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": tests}))
    promtool("test", "rules", str(file), folder=tmp_path)


@pytest.mark.parametrize(("name", "unit"), UNITS, ids=[name for name, _ in UNITS])
def test_systemd_accepts_the_units(tmp_path: Path, name: str, unit: str) -> None:
    program = "/srv/carillon/.venv/bin/python"  # systemd looks whether it exists
    assert program in unit
    file = tmp_path / name
    file.write_text(unit.replace(program, sys.executable))
    assert systemd_warnings(file) == []
    file.write_text(file.read_text().replace("Restart=", "Restrt="))
    assert systemd_warnings(file)


def systemd_warnings(file: Path) -> list[str]:
    done = subprocess.run(
        [binary("systemd-analyze"), "verify", "--man=no", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return [line for line in done.stderr.splitlines() if file.name in line]
