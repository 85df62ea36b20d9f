"""`python -m clf_train` is `clf-train`."""

from clf_train.cli import main

main()
