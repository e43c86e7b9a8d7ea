"""The learned optimizer: configuration, features, network, preconditioner, and its step."""
