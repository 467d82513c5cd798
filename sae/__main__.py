"""`python -m sae train ...` is `workbench sae train ...`."""

import sys

from workbench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["sae", *sys.argv[1:]]))
