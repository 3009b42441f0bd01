"""A reasoner that asks language models behind OpenAI-compatible endpoints."""
