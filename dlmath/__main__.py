"""`python -m dlmath` is the command `dlmath`."""

import sys

from dlmath.cli import main

sys.exit(main())
