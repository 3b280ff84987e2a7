"""The batch transport: Faust over whole fetches and a low watermark."""
