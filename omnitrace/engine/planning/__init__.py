"""What a request costs, predicted before any weight is loaded."""
