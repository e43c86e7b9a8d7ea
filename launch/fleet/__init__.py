"""One run on many hosts, placed by tools that operators already trust: Ansible over SSH with
supervisord on each host, Slurm, Kubernetes. docs/fleets.md takes a reader through them."""
