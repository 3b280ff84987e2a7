"""Assembly: log records in; rows, journal entries, events, findings, dead letters and a watermark out. Pure."""
