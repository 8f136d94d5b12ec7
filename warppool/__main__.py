"""`python3 -m warppool ...` is `warppool ...`."""

import sys

from warppool.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
