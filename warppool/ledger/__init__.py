"""The books: shares, workers and blocks."""
