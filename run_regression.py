"""Distil a regression: Teacher, Student and Person on California Housing. See nkd/runners.py."""

import sys

from nkd.command_line import main
from nkd.runners import REGRESSION

if __name__ == "__main__":
    sys.exit(main(REGRESSION))
