"""Against labels and against causal effects: how far an attribution can be trusted."""
