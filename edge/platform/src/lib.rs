//! The Platform contract: runs replicas somewhere.
