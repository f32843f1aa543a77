"""What a campaign measures: one class per quantity, and the plan that all of them share."""
