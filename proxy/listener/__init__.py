"""Accept, and which filter chain? Listeners are added, warmed, drained and removed here."""
