"""`python -m clf_export` is `clf-export`."""

from clf_export.cli import main

main()
