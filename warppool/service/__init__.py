"""The pool and the translator as services: their objects, their threads, their start and stop."""
