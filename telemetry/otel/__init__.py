"""What goes out to OpenTelemetry."""
