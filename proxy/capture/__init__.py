"""Traffic captured in the kernel: iptables or nftables rules that send a pod's connections to the proxy."""
