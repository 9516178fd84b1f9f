"""Counters, metrics, log lines and the audit, for operators. None of them contains a secret."""
