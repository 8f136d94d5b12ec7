"""Sockets and threads: the reactor, the workers and what they tell each other."""
