"""Sites of the mobile ion, its stays and jumps, and the network that they make."""
