"""warppool: a Bitcoin mining pool server for Stratum V1 and V2."""

__version__ = "0.1.0"
