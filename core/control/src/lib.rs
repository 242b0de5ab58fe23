//! The control loop: one deterministic state machine over all phases.
