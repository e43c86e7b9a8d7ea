"""`optimus report`: a run as one HTML page that needs no network."""

MINE = "this_checkpoint"  # the method of a comparison that is judged
BASELINES = ("adam", "momentum", "l_bfgs_b")
METHODS = (MINE, *BASELINES)
