"""Metrics as they follow from events.

totals    series and what they have come to, to be kept and taken up again
fold      which events count for what
standing  how far followers of the log are, and what they account for
points    totals as OpenTelemetry's metrics"""
