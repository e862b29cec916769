"""The service that touches images and people: bytes in, a class out. No torch."""
