"""`python -m postmortem`."""

from postmortem.cli.main import main

main()
