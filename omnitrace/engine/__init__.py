"""One request on its way through the model: prepare, run, assemble, finish."""
