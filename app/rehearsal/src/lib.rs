//! Runs the control loop of production over a simulated machine: what `homeostat rehearse` does, without its output.
//!
//! A [`Script`] defines the declared services, the behaviour of their programs, their load and the faults. [`rehearse`] runs it in
//! simulated time and returns a [`Rehearsal`], the result in machine-readable form. No process is started and no server is needed;
//! the same script with the same seed gives the same result on every machine.

mod script;
pub use script::{FaultKind, RehearsedService, SPAN_MAX, ScheduledFault, Script, ScriptError, ServiceLoad};

mod stage;
pub use stage::rehearse;

mod report;
pub use report::{
    EVENTS_MAX, LoopEvent, MissedFault, Rehearsal, Requests, SAMPLES_MAX, Sample, ServiceReport,
};
