"""`optimus bench runtime`: the paper's Fig. 1, time of a step against N."""
