"""Networks that run inside flows: subnets, condition and summary networks."""
