"""What every AlphaPulse service stands on."""
