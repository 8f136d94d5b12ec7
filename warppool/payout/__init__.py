"""Who gets what of a block in the modes that share it, and what is owed afterwards; pure.

Weights, the window, how a block's value is divided, and how it is settled: arithmetic in ints, with no protocol, no
socket, no SQL, and no float but the difficulty that a share comes with.
"""
