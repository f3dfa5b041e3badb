"""The longer examples of alsx, as commands: ``python -m alsx.examples`` lists them.

Short scripts to read and to change are in the folder ``examples/`` of the sources.
"""
