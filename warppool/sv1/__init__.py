"""Stratum V1: lines of JSON, the pool's and the miner's side of the conversation; pure."""
