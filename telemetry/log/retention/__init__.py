"""What leaves a log, and how the rest stays provable.

archive    whole sessions in Parquet, verified before they get their name
prune      removing what an archive holds, and putting it back
removed    what is gone of a stream, and where the rest goes on from"""
