"""OpenTelemetry: imported only where it is on, since its SDK is an extra."""
