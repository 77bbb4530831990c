"""What a run found: outcomes, waivers, the report and what follows from it."""
