"""`python -m millstream`, where the command itself is not on the path."""

import sys

from millstream.cli import main

sys.exit(main())
