"""What `optimus train` runs: in process, fused, or a Launchpad program."""
