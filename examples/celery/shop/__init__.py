"""A shop, loaded by as many machines as there are."""
