"""The configuration: every key declared once, read from TOML and the environment into frozen values."""
