//! Runs replicas for the orchestrator: platform, probes and routing of one node.
