"""What `asynclog.media` is made of: classes that tell their sections, and the way of these into the ring."""
