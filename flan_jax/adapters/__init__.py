"""What trains when not everything does: low-rank adapters, soft prompts, a frozen rest."""
