#!/usr/bin/env python3
"""Launcher: `python3 warppool.py ...` is `warppool ...`, from a checkout.

This file and the package `warppool/` share a name. Python looks for a package before it looks for a module of the same
name in the same folder, so the import below finds the package even though this file stands first on the path.
"""

import sys

from warppool.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
