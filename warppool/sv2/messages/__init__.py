"""The Stratum V2 messages, one module a subprotocol."""
