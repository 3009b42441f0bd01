"""Training spread over a Ray cluster. Beside `runtime` only this imports ray; nothing else of `loops` imports this."""
