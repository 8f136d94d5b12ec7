"""How Sphinx builds these pages: `tox -e docs`, with warnings as errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from warppool import __version__

project = "warppool"
version = release = __version__
project_copyright = "the warppool developers"

html_theme = "furo"
html_title = f"warppool {release}"
html_show_copyright = False

exclude_patterns = ["_build", "man"]
nitpicky = True                         # a reference that leads nowhere is a warning, and so an error
default_role = None
smartquotes = False                     # what is quoted here is often code
