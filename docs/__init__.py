"""The site: its pages, and what makes one of them and of the code. `python -m docs` builds it."""
