"""The proxy as a pod's sidecar without a control plane: its own bootstrap, from what the pod says of itself."""
