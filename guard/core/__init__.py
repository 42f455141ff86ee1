"""Values and rules, no I/O: everything here can be read and tested without a network, a disk or a clock."""
