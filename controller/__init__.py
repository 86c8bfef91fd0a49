"""The controller: executes what people want (setpoints) and what an optimiser plans (schedules)."""
