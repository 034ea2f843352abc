"""An engine under test and the books that prove what it did: what the demo and the soak have in common."""
