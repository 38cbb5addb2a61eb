"""`python -m fastck.cli` is `fastck`."""

from fastck.cli import main

main()
