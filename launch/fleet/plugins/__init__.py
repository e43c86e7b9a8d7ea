"""Ansible finds its callback here; never imported by us."""
