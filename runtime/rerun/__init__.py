"""Rerun: what another policy would have done in the situations that were recorded.

    values      what is reported: a session's coverage, its differences, the table over many
    policy      which organs are replaced, and the phases that result
    think       one cycle's phases from feeling to decision, recorded answers served for equal requests
    compare     a recorded decision and the policy's own: the same, allowed, refused, asked about, chosen otherwise
    follow      one session, event by event
    many        any number of sessions

No tool, simulator or recorded model is called; what was observed and what came of equal actions is the log's."""
