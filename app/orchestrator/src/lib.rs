//! Runs the control loop: inputs from the doors, actions to them, journal in between.
