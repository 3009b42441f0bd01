"""The recording gateway: an OpenAI-compatible endpoint on loopback in front of another one.

An agent of any framework sets `base_url`; what it says, calls and is told lands on the log as observed sessions
(`mode=import`). Two threads share nothing but messages: `proxy` passes bytes on, `recorder` writes the log.
Invariant: nothing that happens to the log changes or delays what the agent is answered."""
