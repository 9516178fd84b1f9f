"""Web Push: messages to the devices of a person (RFC 8030, 8291, 8292, W3C Push API)."""
