"""`python -m` starts the command line."""

from .cli import main

main()
