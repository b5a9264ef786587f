"""`python -m docs`: build the site into `site/`, offline."""

import argparse
import sys

from docs.build import build


parser = argparse.ArgumentParser(prog="python -m docs", description=__doc__)
parser.parse_args()
sys.exit(build())
