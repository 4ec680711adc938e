"""Model adapters: one file a family, and how a model is found, loaded and checked."""
