"""From a call to a decision and its run; policies, claims, costs, explanations."""
