"""Metrics as they follow from events.

totals    series and what they have come to, to be kept and taken up again
fold      which events count for what
points    totals as OpenTelemetry's metrics"""
