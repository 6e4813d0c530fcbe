"""Networks in keras.ops, their costs, and weight files."""
