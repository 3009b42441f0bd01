"""What follows from the log and can be thrown away: rows, and places that subscribers keep.

project    rows that follow from events, and the position that they are true of
place      where such rows lie, whatever keeps them
cursor     a subscriber's place, kept under a name"""
