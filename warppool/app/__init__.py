"""The only place that knows all: configuration, commands, logs and wiring."""
