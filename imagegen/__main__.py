"""`python -m imagegen`: the same program as the `imagegen` command."""

from imagegen.cli import main

main()
