"""`python -m wattbus.cli`."""

import sys

from wattbus.cli import main

sys.exit(main())
