"""Stratum V2: wire types, messages, framing, profiles and sessions; pure."""
