"""A small CPU miner and what it knows of a pool, for trying things out."""
