"""Row systems, sweeps and what they need: arrays in and out, no ids and no data frames."""

SIDES = ("user", "item")
