//! The world that lies, grown from one seed.
//!
//! A node with its platform, its agent and its proxy; the load of its services; the wires between the agent and the loop;
//! the store; and the orchestrator that holds the loop, which may die at any moment and come back. Time is virtual: a
//! simulated day takes about a second. Everything that happens by chance is drawn from streams named after their purpose, so
//! one seed gives one world, and one more draw in one place changes nothing in another.
//!
//! It keeps the contract of the real world and breaks every promise that the real world does not make: messages are lost,
//! late, doubled and overtaken; outcomes are unknown both ways; replicas crash, hang and ignore their stop signal; wall clocks
//! step; the orchestrator is killed between any two steps and in the middle of one; an earlier one wakes up and goes on
//! talking. It decides nothing: what a fault hits is chance, what the loop does is the loop's own code.
//!
//! ```
//! use model::time::Time;
//! use sim::{Simulation, Turn};
//!
//! let mut sim = Simulation::new(7, model::settings::Settings::default());
//! let end = sim.now() + std::time::Duration::from_secs(60);
//! while sim.turn(end) != Turn::Over {}
//! assert!(sim.steps() > 0, "the loop has been fed");
//! ```

mod simulation;
pub use simulation::{Simulation, Turn};

mod effect;
pub use effect::{Cause, Effect};

mod fault;
pub use fault::{Fault, Faults};

mod load;
pub use load::Load;

mod gauge;
pub use gauge::Gauge;

mod program;
pub use program::{Defect, Program};

mod node;
pub use node::Node;

mod site;
pub use site::{ASKED_METRIC, Site, Tally};

mod life;
pub use life::{Life, LifeState};

mod traffic;
pub use traffic::TICK;

mod words;
pub use words::{clock, readable};

mod orchestrator;

mod disk;
pub use disk::Disk;

mod fabric;

mod queue;
