//! Runs replicas as processes of this machine.
