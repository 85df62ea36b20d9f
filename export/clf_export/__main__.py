"""`python -m clf_export` is `clf-export`."""

from clf_export.commands.export import main

main()
