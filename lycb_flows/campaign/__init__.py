"""A campaign as plans and facts: submission, stages, rounds, measurement, results, cost."""
