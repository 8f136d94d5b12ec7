"""Faces of this machine alone: the status files in ckpool's form, and the status socket with what asks it."""
