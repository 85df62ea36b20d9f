"""`python -m clf_runtime` is `clf-predict`."""

from clf_runtime.commands.predict import program

program()
