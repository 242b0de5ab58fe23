//! The loop through its public API: inputs in, actions out.

mod bench;
mod random_run;
mod world;

mod allowed_sizes;
mod draining;
mod explanations;
mod failed_requests;
mod forecasting;
mod found_by_swarm;
mod healing;
mod laws;
mod metric_sources;
mod outcomes;
mod pausing;
mod resizing;
mod restarting;
mod rollout;
mod scale_in_blockers;
mod scale_to_zero;
mod schedules;
mod shadows;
mod sizing;
mod slo;
mod slo_forecast;
mod slo_steady_load;
mod spares;
mod starting;
mod stuck_rollout;
mod unstable_replicas;
mod vertical;
mod victims;
