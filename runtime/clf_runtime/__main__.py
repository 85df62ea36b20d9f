"""`python -m clf_runtime` is `clf-predict`."""

from clf_runtime.cli import main

main()
