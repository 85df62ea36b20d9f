"""What goes beside a model file to where it is used."""
