"""What operators see: counters, metrics, log lines and the audit, with every secret left out."""
