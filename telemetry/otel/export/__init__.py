"""How the log gets to whoever keeps telemetry: nothing is dropped, it waits, and it is said how much waits.

follower   what follows a log beside the sessions, and how far behind it is
exporter   the follower that hands out spans and records, with a cursor that moves only after success
courier    one batch until every item of it is taken or set aside
refused    what a collector will not take, by name, kept in a file
answers    what a sink says of one request
sink       where spans and records go: any exporter of OpenTelemetry
over_http, over_grpc   collectors, with what their answers say
to_files   OTLP files
wire       spans and records as protobuf
sdk        ours as the SDK's"""
