"""`python -m quantalpha`."""

from quantalpha.cli import main

main()
