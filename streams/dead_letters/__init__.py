"""Dead letters: how they are written, delivered, read, shown and sent back; never why a record became one."""
