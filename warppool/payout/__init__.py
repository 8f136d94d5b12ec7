"""Who gets what of a block in the modes that share it, and what is owed afterwards; no protocol, no socket; pure."""
