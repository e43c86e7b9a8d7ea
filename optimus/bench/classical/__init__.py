"""`optimus bench classical`: the paper's Table 4 and the fair presets."""
