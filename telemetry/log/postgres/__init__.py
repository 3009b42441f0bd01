"""The shared store: tables in a PostgreSQL database, written by several hosts at once.

database   what is opened and closed together
connect    where the server is, its words without a password, connections that are patient
writer     how a group is committed under the log's lock
standing   what a group rests on, remembered or read under the lock
notify     word of commits between hosts
blobs      large contents in a table
snapshots  where sessions stood, in a table
place      where the rows of a projection lie"""
