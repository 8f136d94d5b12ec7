"""The page that people look at: one view in, HTML out. No socket, no thread, no clock; readable without a script."""
