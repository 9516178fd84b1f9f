"""Fan-out inside one process: from a batch of the log to the bytes of each subscriber."""
