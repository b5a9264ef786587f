"""`python -m seqnlp` is the command `seqnlp`."""

from .cli.main import main


if __name__ == "__main__":
    main()
