"""Noise_NX, from the paper, on PyNaCl's X25519 and ChaCha20-Poly1305; pure."""
