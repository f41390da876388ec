"""Distil a classifier of digits: Teacher, Student and Person on MNIST. See nkd/runners.py."""

import sys

from nkd.command_line import main
from nkd.runners import CLASSIFICATION

if __name__ == "__main__":
    sys.exit(main(CLASSIFICATION))
