//! A simulated world with faults, determined by one seed.
//!
//! It has a node with its platform, its agent and its proxy; the load of its services; the network between the agent and the loop;
//! the store; and the orchestrator that owns the loop, which may be killed at any time and restarted. Time is virtual: a
//! simulated day takes about a second. Random numbers are drawn from streams named after their purpose, so the same seed gives
//! the same world, and one more draw in one place changes nothing in another.
//!
//! It keeps the contracts of the real world, and breaks what they do not guarantee: messages are lost, delayed, duplicated and
//! reordered; outcomes are unknown, whether the action was done or not; replicas crash, hang and ignore their stop signal; wall clocks
//! step; the orchestrator is killed between any two steps and in the middle of one; an earlier one continues to send
//! actions. The world decides nothing: where a fault occurs is random, and the loop is the real code.
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
pub use site::{OFFERED_LOAD_METRIC, Site, Tally};

mod life;
pub use life::{Life, LifeState};

mod traffic;
pub use traffic::TICK;

mod display;
pub use display::{clock, readable};

mod orchestrator;

mod disk;
pub use disk::Disk;

mod environment;

mod queue;
