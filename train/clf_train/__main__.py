"""`python -m clf_train` is `clf-train`."""

from clf_train.commands.train import main

main()
