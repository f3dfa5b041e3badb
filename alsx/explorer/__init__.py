"""The explorer: one HTML file of a fitted model's items as a map, to be opened from disk.

===================  =======================================================================================
`write`              writes the page of a model with latent factors
===================  =======================================================================================

The page needs nothing but a browser: map, search, similar items and recommendations to whoever rates a few items in it are
computed in it, from the model's own numbers. It asks nobody for anything, and its Content-Security-Policy forbids it to.
"""

from __future__ import annotations

from alsx.explorer._write import write

__all__ = ["write"]
