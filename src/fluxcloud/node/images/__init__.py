"""Images on a node: unpacked once, shared by all copies that run them."""
