"""A running fleet that learns by itself: when, beside its sessions, one at a time, a canary first."""
