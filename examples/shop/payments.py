"""Charges cards, and tells whoever asks which: just what nobody but checkout may do."""
import service

CARD = "card-4929-1312-0007-2026"

service.serve(lambda path: (200, f"charged {CARD}\n") if path == "/charge" else (404, "no such page\n"))
