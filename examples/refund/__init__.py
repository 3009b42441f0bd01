"""A small shop whose agent looks orders up, refunds them and writes to people.

shop      the tools, over a SQLite file
policy    what a model would say, as a function of the messages it is sent
endpoint  an OpenAI-compatible server that answers by a policy, and fails on demand
demo      plays the scenario `examples/refund.toml` and kills its host between the refund and its outcome"""
