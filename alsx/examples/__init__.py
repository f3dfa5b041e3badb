"""The stories of alsx, as commands: ``python -m alsx.examples`` lists them."""
