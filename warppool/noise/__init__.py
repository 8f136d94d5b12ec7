"""Noise_NX, written from the Noise paper, on PyNaCl's X25519 and ChaCha20-Poly1305; pure."""
