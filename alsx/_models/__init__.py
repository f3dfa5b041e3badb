"""The estimators and their parts: fitted sides, training, lists, fold-in, files."""
