"""`optimus report`: a run as one HTML page that needs no network."""

MINE = "this_checkpoint"  # the method of a comparison that is judged
