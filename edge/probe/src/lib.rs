//! Asks replicas how they are: HTTP, TCP and command probes.
