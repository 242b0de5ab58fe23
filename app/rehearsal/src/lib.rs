//! The whole loop over a simulated machine: what `homeostat rehearse` does, without its output.
//!
//! A [`Script`] says which services are declared, how their programs behave, what is asked of them and what goes wrong; [`rehearse`] lets
//! the control loop of production run them in simulated time, and a [`Rehearsal`] is the result, in the form that scripts read.
//! Nothing is started, no server is needed, and the same script with the same seed has the same end on every machine.

mod script;
pub use script::{FaultKind, Part, SPAN_MAX, ScheduledFault, Script, ScriptError, ServiceLoad};

mod stage;
pub use stage::rehearse;

mod report;
pub use report::{EVENTS_MAX, LoopEvent, Rehearsal, Requests, SAMPLES_MAX, Sample, ServiceReport};
